//! The power of two choices: draw two by weight, take the less loaded one.

use super::Ask;
use super::alias::Alias;

/// What an endpoint without a measurement costs for each request it already has: one answer is
/// awaited before it gets more than the others.
const UNMEASURED_MICROS: f64 = 1e6;

/// Chooses between two draws. A tie goes to the first, so that weights hold when all is idle.
pub(super) fn choose(
    ask: &Ask<'_>,
    alias: &Alias,
    lighter: fn(&Ask<'_>, usize, usize) -> bool,
) -> Option<usize> {
    let Some(first) = alias.draw_taking(ask) else { return ask.scan() };
    let members = ask.level.members.len();
    let mut second = alias.draw();
    if second == first && members > 1 {
        second = (first + 1 + fastrand::usize(..members - 1)) % members;
    }
    let switch = second != first && lighter(ask, second, first) && ask.takes(second);
    Some(if switch { second } else { first })
}

/// Fewer requests in flight, for its weight.
pub(super) fn by_requests(ask: &Ask<'_>, one: usize, other: usize) -> bool {
    let load = |place, against| u128::from(ask.in_flight(place)) * u128::from(ask.weight(against));
    load(one, other) < load(other, one)
}

/// A lower peak latency, times the requests that would wait for it.
pub(super) fn by_latency(ask: &Ask<'_>, one: usize, other: usize) -> bool {
    cost(ask, one) < cost(ask, other)
}

fn cost(ask: &Ask<'_>, place: usize) -> f64 {
    let Some(endpoint) = ask.level.members.get(place) else { return f64::MAX };
    let waiting = f64::from(endpoint.in_flight());
    match endpoint.latency.read(endpoint.clock(ask.now)) {
        Some(latency) => latency.as_secs_f64() * 1e6 * (waiting + 1.0),
        None => UNMEASURED_MICROS * waiting,
    }
}
