//! The methods that a pattern may name, each with a small number, so that a set of them is one
//! word. Patterns name known methods only: `GTE /x` is a mistake, not an extension.

use http::Method;

/// A known method; [`ANY`](MethodId::ANY) in a pattern without one. The order is the order in
/// which patterns of one path are tried: HEAD before GET, which takes HEAD too, and ANY last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct MethodId(u8);

/// Those of HTTP first, then those of the IANA registry and a few that caches and UPnP use.
const NAMES: [&str; 43] = [
    "HEAD",
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "NOTIFY",
    "ORDERPATCH",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SUBSCRIBE",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

impl MethodId {
    pub(super) const HEAD: Self = Self(0);
    pub(super) const GET: Self = Self(1);
    const OPTIONS: Self = Self(6);
    /// A request's method that no pattern names.
    const OTHER: Self = Self(62);
    /// In a pattern: every method.
    pub(super) const ANY: Self = Self(63);

    /// The number of a method that a pattern may name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let place = NAMES.iter().position(|known| *known == name)?;
        u8::try_from(place).ok().map(Self)
    }

    /// The number of a request's method.
    pub(super) fn of(method: &Method) -> Self {
        match *method {
            Method::GET => Self::GET,
            Method::HEAD => Self::HEAD,
            _ => Self::named(method.as_str()).unwrap_or(Self::OTHER),
        }
    }

    pub(super) fn name(self) -> Option<&'static str> {
        NAMES.get(usize::from(self.0)).copied()
    }

    pub(super) fn names() -> &'static [&'static str] {
        &NAMES
    }

    /// Whether a pattern of this method takes all requests that one of `other` takes.
    pub(super) fn takes(self, other: Self) -> bool {
        self == other || self == Self::ANY || (self == Self::GET && other == Self::HEAD)
    }

    /// Whether there is a request that both take.
    pub(super) fn meets(self, other: Self) -> bool {
        self.takes(other) || other.takes(self)
    }
}

/// A set of methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct MethodSet(u64);

impl MethodSet {
    pub(super) fn add(&mut self, method: MethodId) {
        self.0 |= 1 << method.0;
    }

    pub(super) fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) fn has(self, method: MethodId) -> bool {
        self.0 & (1 << method.0) != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether one of them takes a request that `method` takes too.
    pub(super) fn meets(self, method: MethodId) -> bool {
        match method {
            MethodId::ANY => !self.is_empty(),
            MethodId::GET | MethodId::HEAD => {
                [MethodId::GET, MethodId::HEAD, MethodId::ANY].iter().any(|m| self.has(*m))
            }
            _ => self.has(method) || self.has(MethodId::ANY),
        }
    }

    /// Whether one of them takes more than `method`, and all of it.
    pub(super) fn exceeds(self, method: MethodId) -> bool {
        (method != MethodId::ANY && self.has(MethodId::ANY))
            || (method == MethodId::HEAD && self.has(MethodId::GET))
    }

    /// Whether two sets have a request in common.
    pub(super) fn overlaps(self, other: Self) -> bool {
        let any = 1 << MethodId::ANY.0;
        let read = 1 << MethodId::GET.0 | 1 << MethodId::HEAD.0;
        self.0 & other.0 != 0
            || (self.0 & any != 0 && other.0 != 0)
            || (other.0 & any != 0 && self.0 != 0)
            || (self.0 & read != 0 && other.0 & read != 0)
    }

    /// The list for an `Allow` header, sorted. HEAD comes with GET; OPTIONS is always in it, as
    /// the gateway itself answers that. ANY stands for the usual ones.
    pub(super) fn allow(mut self) -> String {
        if self.has(MethodId::GET) {
            self.add(MethodId::HEAD);
        }
        if self.has(MethodId::ANY) {
            self.0 |= 0b111_1111;
        }
        self.add(MethodId::OPTIONS);
        let mut names: Vec<&str> =
            (0..64).map(MethodId).filter(|m| self.has(*m)).filter_map(MethodId::name).collect();
        names.sort_unstable();
        names.join(", ")
    }
}
