//! What policies cost: Lockgate bare, and with more and more of them on, under the same load.

use super::Scenario;
use super::load::Load;
use super::rivals::{Make, NGINX, RESILIENT, Setup};

/// Every request bears what the policies look at, also where none is on.
pub(super) const SCENARIOS: [Scenario; 1] = [Scenario {
    name: "tax-1k-64",
    load: Load::wrk_with(
        "/1k",
        64,
        &[
            (
                "Authorization",
                concat!(
                    "Bearer ",
                    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
                    "eyJzdWIiOiJiZW5jaCIsInJvbGVzIjpbInVzZXIiXSwiZXhwIjo0MTAyNDQ0ODAwfQ.",
                    "PyF4tuhSJPpZUawOtljVybRrBMCWS1vUBkbg3cDAoh0"
                ),
            ),
            ("Origin", "https://app.example"),
        ],
    ),
}];

const SECTIONS: &str =
    "identity: { own: { jwt: { secret: a-secret-of-the-bench-and-of-nothing-else } } }
";

const BARE: Setup = Setup { name: "tax-bare", ..Setup::BARE };
const LOG: Setup = Setup { name: "tax-log", log: true, ..Setup::BARE };

/// What is measured, in the order of the table. nginx gives the ratio.
pub(super) const RIVALS: &[(&str, Make)] = &[
    NGINX,
    ("bare", |lockgate, dir, ports| BARE.command(lockgate, dir, ports)),
    ("log, metrics", |lockgate, dir, ports| LOG.command(lockgate, dir, ports)),
    ("+ rate limit", |lockgate, dir, ports| {
        let policies = "    rate_limit: { limit: 1000000000/min, by: ip }\n";
        Setup { name: "tax-limit", policies, ..LOG }.command(lockgate, dir, ports)
    }),
    ("+ jwt", |lockgate, dir, ports| {
        let (sections, policies) = (SECTIONS, "    auth: own\n");
        Setup { name: "tax-jwt", sections, policies, ..LOG }.command(lockgate, dir, ports)
    }),
    ("all", ALL),
    ("cache hit", CACHE),
];

/// Every policy that most routes have.
pub(super) const ALL: Make = |lockgate, dir, ports| {
    let policies = "    auth: own
    rate_limit: [{ limit: 1000000000/min, by: ip }, { limit: 1000000000/min, by: consumer }]
    cors: { origins: [\"https://app.example\"] }
    headers: { request: { set: { X-A: b } }, response: { set: { X-C: d } } }
";
    let (sections, upstream) = (SECTIONS, RESILIENT);
    Setup { name: "tax-all", sections, policies, upstream, ..LOG }.command(lockgate, dir, ports)
};

/// Answers from memory.
pub(super) const CACHE: Make = |lockgate, dir, ports| {
    let policies = "    cache: { ttl: 60s, shared: true }\n";
    Setup { name: "tax-cache", policies, ..BARE }.command(lockgate, dir, ports)
};
