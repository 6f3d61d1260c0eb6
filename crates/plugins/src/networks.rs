//! Sets of networks that are asked about an address for each request: read from texts, laid out
//! as sorted ranges that do not overlap, found by halving.
//!
//! An IPv4 address written as IPv6 (`::ffff:192.0.2.1`) is that IPv4 address, in a list and in a
//! question. `::/0` is every IPv6 address, and no IPv4 one.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What a list says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Listed {
    /// Nothing.
    #[default]
    No,
    /// To let it in.
    Allow,
    /// To keep it out.
    Deny,
}

/// Networks, each with what holds for it. Where several have an address, the most specific one
/// speaks; of two that are the same, the one that denies.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// Where what holds begins to be another, in ascending order: 5 bytes for IPv4, 17 for IPv6, and
/// at most two of them for a network.
#[derive(Debug, Default)]
struct Ranges<T> {
    begins: Box<[T]>,
    holds: Box<[Listed]>,
}

/// A network's first and last address, and what holds in it.
type Span = (u128, u128, Listed);

impl Networks {
    /// Lays the networks out.
    pub(crate) fn new(networks: impl IntoIterator<Item = (IpNet, Listed)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (network, holds) in networks {
            match network {
                IpNet::V4(net) => {
                    let first = u128::from(u32::from(net.network()));
                    v4.push((first, u128::from(u32::from(net.broadcast())), holds));
                }
                IpNet::V6(net) => {
                    v6.push((net.network().into(), net.broadcast().into(), holds));
                }
            }
        }
        Self { v4: Ranges::new(v4), v6: Ranges::new(v6) }
    }

    /// What is said of an address.
    pub(crate) fn get(&self, ip: IpAddr) -> Listed {
        match ip.to_canonical() {
            IpAddr::V4(ip) => self.v4.get(ip.into()),
            IpAddr::V6(ip) => self.v6.get(ip.into()),
        }
    }

    /// The bytes on the heap.
    #[cfg(test)]
    fn memory(&self) -> usize {
        self.v4.begins.len() * 5 + self.v6.begins.len() * 17
    }
}

impl<T: Copy + Ord + TryFrom<u128>> Ranges<T> {
    /// Networks lie in one another or apart, so one walk in their order with a stack of those that
    /// are open finds every change.
    fn new(mut spans: Vec<Span>) -> Self {
        // Of one begin the widest first; of the same network the one that is to speak last.
        spans.sort_unstable_by_key(|&(first, last, holds)| {
            (first, std::cmp::Reverse(last), holds == Listed::Deny)
        });
        let mut changes: Vec<(u128, Listed)> = Vec::new();
        let mut open: Vec<(u128, Listed)> = Vec::new();
        for (first, last, holds) in spans {
            close(&mut open, &mut changes, Some(first));
            change(&mut changes, first, holds);
            open.push((last, holds));
        }
        close(&mut open, &mut changes, None);
        let mut ranges: (Vec<T>, Vec<Listed>) = Default::default();
        for (begin, holds) in changes {
            // A begin past the last address of the family has nobody to speak of.
            if let Ok(begin) = T::try_from(begin)
                && ranges.1.last().copied().unwrap_or_default() != holds
            {
                ranges.0.push(begin);
                ranges.1.push(holds);
            }
        }
        Self { begins: ranges.0.into(), holds: ranges.1.into() }
    }

    fn get(&self, address: T) -> Listed {
        let after = self.begins.partition_point(|begin| *begin <= address);
        after.checked_sub(1).and_then(|at| self.holds.get(at)).copied().unwrap_or_default()
    }
}

/// Ends the open networks that lie before an address; all of them before none.
fn close(open: &mut Vec<(u128, Listed)>, changes: &mut Vec<(u128, Listed)>, before: Option<u128>) {
    while let Some(&(last, _)) = open.last() {
        if before.is_some_and(|first| first <= last) {
            return;
        }
        open.pop();
        if let Some(next) = last.checked_add(1) {
            change(changes, next, open.last().map_or(Listed::No, |&(_, holds)| holds));
        }
    }
}

fn change(changes: &mut Vec<(u128, Listed)>, begin: u128, holds: Listed) {
    match changes.last_mut() {
        Some(last) if last.0 == begin => last.1 = holds,
        _ => changes.push((begin, holds)),
    }
}

/// Reads `10.0.0.0/8`, `2001:db8::/32`, or one address.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(text: &str) -> Result<IpNet, String> {
    let wrong = || format!("`{text}` is neither an address nor a network such as 10.0.0.0/8");
    let net = match text.contains('/') {
        true => text.parse::<IpNet>().map_err(|_| wrong())?,
        false => text.parse::<IpAddr>().map_err(|_| wrong())?.into(),
    };
    if net.trunc() != net {
        return Err(format!("`{text}` has bits beyond its prefix: the network is {}", net.trunc()));
    }
    Ok(canonical(net))
}

/// An IPv4 network that is written as IPv6, in its own form (RFC 4291 §2.5.5.2).
fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    canonical_v6(v6).map_or(net, IpNet::V4)
}

fn canonical_v6(net: Ipv6Net) -> Option<Ipv4Net> {
    let len = net.prefix_len().checked_sub(96)?;
    Ipv4Net::new(net.network().to_ipv4_mapped()?, len).ok()
}

/// Reads a file's lines: one network each; what follows `#` is a comment.
///
/// # Errors
/// The first line that is wrong, by its number.
pub(crate) fn lines(text: &[u8]) -> Result<Vec<IpNet>, String> {
    let mut all = Vec::new();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = std::str::from_utf8(line)
            .map_err(|_| format!("line {} is not UTF-8 text", number + 1))?;
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            all.push(read(line).map_err(|why| format!("line {}: {why}", number + 1))?);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn listed(allow: &[&str], deny: &[&str]) -> Networks {
        let nets = |texts: &[&str], holds| {
            texts.iter().map(|text| (read(text).unwrap(), holds)).collect::<Vec<_>>()
        };
        Networks::new(nets(allow, Listed::Allow).into_iter().chain(nets(deny, Listed::Deny)))
    }

    fn says(networks: &Networks, ip: &str) -> Listed {
        networks.get(ip.parse().unwrap())
    }

    #[test]
    fn the_most_specific_speaks() {
        let networks = listed(
            &["10.0.0.0/8", "10.1.2.3", "2001:db8::/32", "192.0.2.7"],
            &["10.1.0.0/16", "2001:db8:1::/48", "192.0.2.7", "255.255.255.255", "0.0.0.0"],
        );
        for (ip, expected) in [
            ("9.255.255.255", Listed::No),
            ("10.0.0.0", Listed::Allow),
            ("10.1.0.0", Listed::Deny),
            ("10.1.2.2", Listed::Deny),
            ("10.1.2.3", Listed::Allow),
            ("::ffff:10.1.2.3", Listed::Allow),
            ("10.1.2.4", Listed::Deny),
            ("10.2.0.0", Listed::Allow),
            ("11.0.0.0", Listed::No),
            ("192.0.2.7", Listed::Deny),
            ("255.255.255.255", Listed::Deny),
            ("0.0.0.0", Listed::Deny),
            ("0.0.0.1", Listed::No),
            ("2001:db8::1", Listed::Allow),
            ("2001:db8:1::1", Listed::Deny),
            ("2001:db9::", Listed::No),
            ("::", Listed::No),
        ] {
            assert_eq!(says(&networks, ip), expected, "{ip}");
        }
    }

    #[test]
    fn each_family_has_its_own_whole() {
        let networks = listed(&["::/0"], &["0.0.0.0/0"]);
        assert_eq!(says(&networks, "ffff::"), Listed::Allow);
        assert_eq!(says(&networks, "1.2.3.4"), Listed::Deny);
        assert_eq!(says(&networks, "::ffff:1.2.3.4"), Listed::Deny);
        let mapped = listed(&["::ffff:1.2.3.0/120"], &[]);
        assert_eq!(says(&mapped, "1.2.3.255"), Listed::Allow);
        assert_eq!(says(&mapped, "1.2.4.0"), Listed::No);
    }

    #[test]
    fn lines_are_networks_and_comments() {
        let text = b"# a list\n10.0.0.0/8\r\n\n  ::1 # the loopback\n192.0.2.1";
        assert_eq!(lines(text).unwrap().len(), 3);
        for (text, says) in [
            (&b"10.0.0.0/8\nx"[..], "line 2: `x` is neither"),
            (b"10.0.0.0/33", "line 1"),
            (
                b"\n10.0.0.1/8",
                "line 2: `10.0.0.1/8` has bits beyond its prefix: the network is 10.0.0.0/8",
            ),
            (b"10.0.0.1,10.0.0.2", "line 1"),
            (b"1\n\xff", "line 1"),
            (b"::1\n\xff", "line 2 is not UTF-8"),
        ] {
            let error = lines(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    fn many(count: u32) -> Networks {
        let nth = |n: u32| n.wrapping_mul(2_654_435_761);
        let v4 = (0..count).map(|n| {
            let net = Ipv4Net::new(Ipv4Addr::from(nth(n)), 16 + (n % 17) as u8).unwrap();
            (IpNet::V4(net.trunc()), Listed::Deny)
        });
        let v6 = (0..count).map(|n| {
            let address = Ipv6Addr::from(u128::from(nth(n)) << 93);
            let net = Ipv6Net::new(address, 32 + (n % 33) as u8).unwrap();
            (IpNet::V6(net.trunc()), Listed::Allow)
        });
        Networks::new(v4.chain(v6))
    }

    #[test]
    fn a_hundred_thousand_of_each_family_stay_small() {
        let networks = many(100_000);
        assert!(networks.memory() <= 100_000 * (2 * 5 + 2 * 17), "{}", networks.memory());
        assert_eq!(networks.get(IpAddr::V4(Ipv4Addr::from(0))), Listed::Deny);
    }

    #[test]
    #[ignore = "a measurement: cargo test --release -p lockgate-plugins measure -- --ignored"]
    fn measure_a_look_up() {
        let networks = many(100_000);
        let asked = 10_000_000_u32;
        let mut found = 0_u32;
        let begun = std::time::SystemTime::now();
        for n in 0..asked {
            let ip = IpAddr::V4(Ipv4Addr::from(n.wrapping_mul(2_246_822_519)));
            found += u32::from(networks.get(std::hint::black_box(ip)) == Listed::Deny);
        }
        let took = begun.elapsed().unwrap().as_nanos();
        println!("{} ns, {found} found, {} bytes", took / u128::from(asked), networks.memory());
    }

    proptest! {
        #[test]
        fn the_layout_says_what_the_list_says(
            nets in proptest::collection::vec((0u32..64, 26u8..=32, any::<bool>()), 0..12),
            asked in 0u32..64,
        ) {
            let base = 0xffff_ffc0_u32;
            let nets: Vec<(IpNet, Listed)> = nets
                .into_iter()
                .map(|(host, len, deny)| {
                    let net = Ipv4Net::new(Ipv4Addr::from(base + host), len).unwrap().trunc();
                    (IpNet::V4(net), if deny { Listed::Deny } else { Listed::Allow })
                })
                .collect();
            let ip = IpAddr::V4(Ipv4Addr::from(base + asked));
            let expected = nets
                .iter()
                .filter(|(net, _)| net.contains(&ip))
                .max_by_key(|(net, holds)| (net.prefix_len(), *holds == Listed::Deny))
                .map_or(Listed::No, |(_, holds)| *holds);
            prop_assert_eq!(Networks::new(nets).get(ip), expected);
        }
    }
}
