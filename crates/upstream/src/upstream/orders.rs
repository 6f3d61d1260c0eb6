//! What operators have said of an upstream's endpoints, kept beside them: an address that a name
//! resolves to later is told too, and so is the next process.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Upstream, named};
use crate::discover::Host;
use crate::endpoint::{Endpoint, Override};
use crate::set::MOST_ENDPOINTS;

/// Most overrides of one upstream; beyond it the oldest is dropped.
const MOST: usize = 2 * MOST_ENDPOINTS;

/// An operator's word on an endpoint, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    pub upstream: String,
    /// `host:port` as configured.
    pub endpoint: String,
    /// The one of its addresses that is meant; all of them when it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    #[serde(rename = "override")]
    pub word: Override,
}

/// The orders of one upstream, shared by all that follow it under its name.
#[derive(Debug, Default)]
pub(super) struct Orders(Mutex<Vec<Order>>);

#[derive(Debug)]
struct Order {
    name: Arc<str>,
    address: Option<SocketAddr>,
    word: Override,
}

impl Orders {
    /// What holds for an address of a name: what was said of the address, or else of the name.
    fn of(&self, name: &str, address: SocketAddr) -> Override {
        let all = self.all();
        let said = |address| all.iter().find(|one| *one.name == *name && one.address == address);
        said(Some(address)).or_else(|| said(None)).map_or(Override::None, |one| one.word)
    }

    /// Notes a word on one address of a name, or on all of them, whatever was said of each before.
    fn say(&self, name: &Arc<str>, address: Option<SocketAddr>, word: Override) {
        let mut all = self.all();
        all.retain(|one| one.name != *name || (address.is_some() && one.address != address));
        let whole = all.iter().find(|one| one.name == *name && one.address.is_none());
        // No word on an address is a word where there is one on its name.
        if word == whole.map_or(Override::None, |one| one.word) {
            return;
        }
        if all.len() >= MOST {
            let oldest = all.iter().position(|one| one.address.is_some()).unwrap_or_default();
            let dropped = all.remove(oldest);
            tracing::warn!(endpoint = %dropped.name, "too many overrides: the oldest is dropped");
        }
        all.push(Order { name: Arc::clone(name), address, word });
    }

    /// Drops what is said of names that are no more.
    fn keep_only(&self, upstream: &str, hosts: &[Host]) {
        self.all().retain(|one| {
            let stays = hosts.iter().any(|host| host.name == one.name);
            if !stays {
                dropped(upstream, &one.name, one.word);
            }
            stays
        });
    }

    fn all(&self) -> MutexGuard<'_, Vec<Order>> {
        // Each change leaves a list that can be used.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upstream {
    /// Orders an override for the endpoint of this name (all addresses of it) or address.
    /// Returns how many it was given to.
    pub fn order(&self, endpoint: &str, order: Override) -> usize {
        // No set is built meanwhile, which would not know of it.
        let _state = self.state();
        let set = self.set.load();
        let named = set.endpoints().iter().filter(|e| named(e, endpoint));
        let given = named
            .inspect(|found| {
                let one = (&**found.name() != endpoint).then(|| found.address());
                self.orders.say(found.name(), one, order);
                found.order(order);
                let upstream = &self.name;
                tracing::warn!(%upstream, endpoint = %found.label(), ?order, "override set");
            })
            .count();
        if given > 0 {
            return given;
        }
        // A name that has no address now may have one later.
        let Some(host) = self.hosts.iter().find(|host| *host.name == *endpoint) else { return 0 };
        self.orders.say(&host.name, None, order);
        tracing::warn!(upstream = %self.name, endpoint, ?order, "override set");
        1
    }

    /// The names of its endpoints, as they are configured.
    pub fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.hosts.iter().map(|host| Arc::clone(&host.name)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// All that operators have said of its endpoints and not taken back.
    pub fn ordered(&self) -> Vec<Ordered> {
        let all = self.orders.all();
        let told = all.iter().map(|one| Ordered {
            upstream: self.name.to_string(),
            endpoint: one.name.to_string(),
            address: one.address,
            word: one.word,
        });
        told.collect()
    }

    /// Takes what was kept in place of all that is known, and says what it has no endpoint for.
    pub fn order_again<'o>(&self, kept: impl Iterator<Item = &'o Ordered>) {
        let _state = self.state();
        self.orders.all().clear();
        for one in kept {
            match self.hosts.iter().find(|host| *host.name == *one.endpoint) {
                Some(host) => self.orders.say(&host.name, one.address, one.word),
                None => dropped(&self.name, &one.endpoint, one.word),
            }
        }
        self.set.load().endpoints().iter().for_each(|endpoint| self.tell(endpoint));
    }

    /// Tells an endpoint what was ordered of it.
    pub(super) fn tell(&self, endpoint: &Endpoint) {
        let word = self.orders.of(endpoint.name(), endpoint.address());
        if endpoint.ordered() != word {
            endpoint.order(word);
        }
    }

    /// Drops what was said of endpoints that it does not have any more.
    pub(super) fn forget_orders(&self) {
        self.orders.keep_only(&self.name, &self.hosts);
    }

    /// Drops all, as nothing follows it.
    pub(super) fn drop_orders(&self) {
        self.orders.keep_only(&self.name, &[]);
    }
}

impl Ordered {
    /// Says that there is nothing any more that it is about.
    pub fn dropped(&self) {
        dropped(&self.upstream, &self.endpoint, self.word);
    }
}

fn dropped(upstream: &str, endpoint: &str, order: Override) {
    tracing::warn!(upstream, endpoint, ?order, "override dropped: its endpoint is no more");
}

#[cfg(test)]
mod tests {
    use lockgate_config::model::Balance;

    use super::*;
    use crate::testing::{after, endpoint, idle, settings};

    fn of(orders: &Orders, address: u8) -> Override {
        orders.of("svc:80", at(address))
    }

    fn at(address: u8) -> SocketAddr {
        ([10, 0, 0, address], 80).into()
    }

    #[test]
    fn the_last_word_holds_for_a_name_and_for_each_of_its_addresses() {
        let (orders, name) = (Orders::default(), Arc::from("svc:80"));
        orders.say(&name, Some(at(1)), Override::Up);
        orders.say(&name, None, Override::Drain);
        assert_eq!((of(&orders, 1), of(&orders, 2)), (Override::Drain, Override::Drain));
        assert_eq!(orders.all().len(), 1, "what was said of its addresses is over");
        orders.say(&name, Some(at(1)), Override::None);
        orders.say(&name, Some(at(2)), Override::Down);
        assert_eq!((of(&orders, 1), of(&orders, 2)), (Override::None, Override::Down));
        assert_eq!(of(&orders, 3), Override::Drain, "one that comes later");
        orders.say(&name, Some(at(2)), Override::Drain);
        assert_eq!(orders.all().len(), 2, "the same as of the name is nothing of its own");
        orders.say(&name, None, Override::None);
        assert!(orders.all().is_empty());
        assert_eq!(orders.of("other:80", at(1)), Override::None);
    }

    #[test]
    fn they_are_bounded_and_a_name_outlasts_an_address() {
        let (orders, name) = (Orders::default(), Arc::from("svc:80"));
        orders.say(&Arc::from("whole:80"), None, Override::Drain);
        let many = u16::try_from(MOST).unwrap();
        let address = |port: u16| Some(SocketAddr::from(([10, 0, 0, 1], port)));
        let fill = (1..many).map(|port| Order {
            name: Arc::clone(&name),
            address: address(port),
            word: Override::Down,
        });
        orders.all().extend(fill);
        orders.say(&name, address(many), Override::Down);
        assert_eq!(orders.all().len(), MOST);
        assert_eq!(orders.of("whole:80", at(1)), Override::Drain);
        let down = |port| orders.of("svc:80", address(port).unwrap());
        assert_eq!((down(1), down(2)), (Override::None, Override::Down));
        assert_eq!(down(many), Override::Down);
    }

    #[test]
    fn what_is_kept_holds_in_the_next_process_for_endpoints_that_are_there() {
        let (one, two) = ("10.0.0.1:80", "10.0.0.2:80");
        let both = settings(&[(one, 1), (two, 1)], Balance::RoundRobin);
        let first = idle(&both);
        assert_eq!((first.order(one, Override::Drain), first.order(two, Override::Up)), (1, 1));
        let kept = first.ordered();

        let next = idle(&settings(&[(one, 1)], Balance::RoundRobin));
        next.order_again(kept.iter());
        assert_eq!(endpoint(&next, 0).ordered(), Override::Drain);
        assert_eq!(next.ordered(), [kept[0].clone()]);
        next.order_again([].iter());
        assert_eq!(endpoint(&next, 0).ordered(), Override::None, "it is all there is");
    }

    #[test]
    fn a_name_without_an_address_is_ordered_and_cleared_as_well() {
        let name = "svc.test:80";
        let upstream = idle(&settings(&[(name, 1)], Balance::RoundRobin));
        assert!(upstream.set().endpoints().is_empty());
        assert_eq!(upstream.names(), [Arc::from(name)]);
        assert_eq!(upstream.order(name, Override::Drain), 1);
        assert_eq!(upstream.ordered().len(), 1);
        assert_eq!(upstream.order("other.test:80", Override::Drain), 0);
        assert_eq!(upstream.order(name, Override::None), 1);
        assert!(upstream.ordered().is_empty());
    }

    #[test]
    fn a_reload_keeps_them_and_drops_those_whose_endpoint_went() {
        let (one, two) = ("10.0.0.1:80", "10.0.0.2:80");
        let both = settings(&[(one, 1), (two, 1)], Balance::RoundRobin);
        let first = idle(&both);
        first.order(one, Override::Down);
        first.order(two, Override::Down);
        let second = after(&settings(&[(one, 1)], Balance::P2c), Some(&first));
        assert_eq!(endpoint(&second, 0).ordered(), Override::Down);
        let third = after(&both, Some(&second));
        assert_eq!(endpoint(&third, 0).ordered(), Override::Down);
        assert_eq!(endpoint(&third, 1).ordered(), Override::None, "it is another one");
        third.retire(None);
        assert!(third.ordered().is_empty());
    }
}
