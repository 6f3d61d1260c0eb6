//! What a seed says: the movements that are asked for, and what is broken after how many of them.

/// The accounts, few enough that requests meet, and what each begins with.
pub(super) const ACCOUNTS: usize = 6;
pub(super) const OPENING: i64 = 200;

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    Debit {
        from: usize,
        amount: i64,
    },
    Credit {
        to: usize,
        amount: i64,
    },
    /// A debit, and when it was accepted a credit: two movements, never under two locks.
    Transfer {
        from: usize,
        to: usize,
        amount: i64,
    },
}

/// One round of one client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub(super) number: usize,
    pub(super) what: What,
    /// How many clients send it at once under one key.
    pub(super) twins: usize,
    /// Whether the first try is given up at once, as by a client that lost its connection.
    pub(super) hasty: bool,
    /// Which gateway is asked first.
    pub(super) first: usize,
}

/// What can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A gateway is killed and started again.
    Kill,
    /// A gateway stands still for twice the time that its leases live.
    Pause,
    /// Redis is killed and started again; where it has replicas, one takes over first.
    Redis,
}

pub(super) const ALL: [Kind; 3] = [Kind::Kill, Kind::Pause, Kind::Redis];

/// What is broken, after how many rounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blow {
    pub(super) after: usize,
    pub(super) kind: Kind,
    pub(super) gateway: usize,
}

/// Everything that a seed says.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) rounds: Vec<Round>,
    pub(super) blows: Vec<Blow>,
}

impl Plan {
    /// The plan of a seed: so many rounds, and one blow of these kinds for every forty of them.
    pub(super) fn from_seed(seed: u64, count: usize, kinds: &[Kind]) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let rounds = (0..count).map(|number| round(&mut random, number)).collect();
        let mut blows = Vec::new();
        let strikes = if kinds.is_empty() { 0 } else { (count / 40).max(kinds.len()) };
        for place in 0..strikes {
            let after = count * (place + 1) / (strikes + 1);
            // Each kind once at least, then any.
            let kind = kinds.get(place).copied().or_else(|| random.choice(kinds.iter().copied()));
            let gateway = random.usize(..super::bank::GATEWAYS);
            blows.extend(kind.map(|kind| Blow { after, kind, gateway }));
        }
        Self { seed, rounds, blows }
    }
}

fn round(random: &mut fastrand::Rng, number: usize) -> Round {
    let (from, amount) = (random.usize(..ACCOUNTS), random.i64(1..=90));
    let to = (from + random.usize(1..ACCOUNTS)) % ACCOUNTS;
    let what = match random.u8(..10) {
        0..4 => What::Debit { from, amount },
        4..7 => What::Credit { to, amount: amount / 2 + 1 },
        _ => What::Transfer { from, to, amount },
    };
    let twins = if random.u8(..4) == 0 { random.usize(2..=3) } else { 1 };
    let (hasty, first) = (random.u8(..8) == 0, random.usize(..super::bank::GATEWAYS));
    Round { number, what, twins, hasty, first }
}
