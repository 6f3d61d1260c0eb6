//! Every kind of error, with its exact place and its help; and many at once.

use crate::fake::{errors, read, read_as};

/// A document around one upstream named `u`.
fn upstream(settings: &str) -> String {
    format!("upstreams:\n  u:\n    {settings}\nroutes:\n  /*: {{ to: u }}\n")
}

/// A document around one route.
fn route(settings: &str) -> String {
    format!(
        "upstreams: {{ users: {{ endpoints: [\"10.0.0.1:80\"] }} }}\nroutes:\n  /a/{{id}}/*:\n    {settings}\n"
    )
}

fn one(text: &str, expected: &str) {
    assert_eq!(errors(text), [expected], "for\n{text}");
}

#[test]
fn what_is_not_a_document() {
    one(
        "routes: [",
        "2:1 not valid YAML: while parsing a node, did not find expected node content",
    );
    one(
        "- a\n- b\n",
        "1:1 a configuration is a map of sections [for example `routes: { /*: { to: http://10.0.0.1:80 } }`]",
    );
    one(
        "a: &x 1\nb: *x\n",
        "2:4 aliases are not read [write the value out, or put what is shared in `defaults`]",
    );
    one(
        "a: !!str 1\n",
        "1:4 tags such as `tag:yaml.org,2002:!str` are not read [quotes make a text of anything]",
    );
    one(
        "workers: 1\n---\nworkers: 2\n",
        "2:1 a second document begins here [one file is one document: take `---` out, or `include`]",
    );
    one(
        "workers: 1\nhttp: {}\nworkers: 2\n",
        "3:1 `workers` stands here a second time [the first one is at tests/data/lockgate.yaml:1:1]",
    );
    one("[a]: b\n", "1:1 a key is a word, not a map or a list");
    let deep = format!("alerts: {}{}", "[".repeat(40), "]".repeat(40));
    one(&deep, "1:40 nested more than 32 deep");
    let many = format!("routes:\n{}", "  /x: { to: http://h:1 }\n".repeat(40));
    assert_eq!(errors(&many).len(), 39);
}

#[test]
fn toml_errors_have_their_place() {
    let report = read_as("x.toml", "workers = 1\nroutes = {\n").unwrap_err();
    assert_eq!((report.problems[0].line, report.problems.len()), (2, 1));
    let report = read_as("x.toml", "workers = 1\n[http]\nmax_header = 3\n[routes]\n").unwrap_err();
    let problem = &report.problems[0];
    assert_eq!((problem.line, problem.column), (3, 1));
    assert_eq!(problem.help.as_deref(), Some("did you mean `max_headers`?"));
}

#[test]
fn sections_and_keys() {
    one("routs: {}\n", "1:1 unknown key `routs` [did you mean `routes`?]");
    one(
        "http: { max_headrs: 5 }\nroutes: {}\n",
        "1:9 unknown key `max_headrs` [did you mean `max_headers`?]",
    );
    one(
        "http: { http2: { streams: 5 } }\nroutes: {}\n",
        "1:18 unknown key `streams` [known here: `max_concurrent_streams`, `max_pending_resets`, `max_streams_per_second`, `stream_window`, `connection_window`]",
    );
    one(
        "http: { max_headers: many }\nroutes: {}\n",
        "1:22 expected a whole number, found the text `many`",
    );
    one(
        "http: { max_headers: \"5\" }\nroutes: {}\n",
        "1:22 expected a whole number, found the text `5`",
    );
    one(
        "http: { max_headers: -1 }\nroutes: {}\n",
        "1:22 expected a whole number, found the number -1",
    );
    one(
        "http: { idle_timeout: 5 }\nroutes: {}\n",
        "1:23 `5` is not a duration such as 250ms, 5s, 2m, 24h or 7d",
    );
    one(
        "http: { idle_timeout: [] }\nroutes: {}\n",
        "1:23 expected a duration such as 250ms, 5s, 2m or 24h, found a list",
    );
    one("http: { idle_timeout: 0s }\nroutes: {}\n", "1:23 `idle_timeout` cannot be zero");
    one(
        "http: { max_header_size: 1B }\nroutes: {}\n",
        "1:26 `max_header_size` is from 512B to 1MiB",
    );
    one("workers: 0\nroutes: {}\n", "1:10 expected `cores`, or a number from 1 to 1024");
    one("workers: all\nroutes: {}\n", "1:10 expected a whole number, found the text `all`");
    one(
        "trusted_proxies: [10.0.0.0/8, here]\nroutes: {}\n",
        "1:31 `here` is not a network such as `10.0.0.0/8`, or an address",
    );
    one(
        "identity: { idp: { jwtt: {} } }\nroutes: {}\n",
        "1:20 unknown key `jwtt` [did you mean `jwt`?]",
    );
    one(
        "identity: { m: { mtls: {} } }\nroutes: {}\n",
        "1:18 this version has no identity of the kind `mtls`",
    );
    one(
        "identity: { idp: { jwt: { audience: nobody } } }\nroutes: {}\n",
        "1:37 nobody is no audience",
    );
    one(
        "identity: { idp: {} }\nroutes: {}\n",
        "1:13 `idp` needs exactly one kind of proof [known here: `jwt`, `api_key`, `introspection`, `basic`, `mtls`, `hmac`, `oidc`, `forward`]",
    );
    one(
        "upstreams: 5\nroutes: {}\n",
        "1:12 expected a map from names to upstreams, found the number 5",
    );
    one(
        "telemetry: { access_log: { format: xml } }\nroutes: {}\n",
        "1:36 `xml` is not known here [known here: `auto`, `json`, `text`, `ecs`]",
    );
    one(
        "telemetry: { traces: { to: x } }\nroutes: {}\n",
        "1:28 expected the collector's URL, such as `http://127.0.0.1:4318` or `https://otel.example`",
    );
    one(
        "telemetry: { traces: { to: http://c, sample: { per_second: 0 } } }\nroutes: {}\n",
        "1:60 expected from 1 to 1000000; `off` is no limit",
    );
    one(
        "telemetry: { traces: { to: http://c, read: zipkin } }\nroutes: {}\n",
        "1:44 `zipkin` is not `b3` or `jaeger`",
    );
    one(
        "telemetry: { otlp: { to: http://c, headers: { Host: x } } }\nroutes: {}\n",
        "1:36 at most 64, and none of those that the gateway sets itself: content-type, host, user-agent and the like",
    );
    assert!(errors("telemetry: { traces: off }\nroutes: {}\n").is_empty());
}

#[test]
fn listeners_and_admin() {
    one(
        "listeners: { web: \"8080\" }\nroutes: {}\n",
        "1:19 `8080` is not an address such as `:8080` or `127.0.0.1:8080`",
    );
    one("listeners: { web: {} }\nroutes: {}\n", "1:19 `address` is missing");
    one(
        "listeners: {}\nroutes: {}\n",
        "1:1 there is no listener [leave `listeners` out for `{ web: \":8080\" }`]",
    );
    one(
        "listeners:\n  a: \":80\"\n  b: { address: \"127.0.0.1:80\" }\nroutes: {}\n",
        "3:17 `127.0.0.1:80` is taken by `a` already",
    );
    one(
        "listeners: { a: \":9901\" }\nroutes: {}\n",
        "1:1 `127.0.0.1:9901` is taken by `a` already",
    );
    one(
        "listeners: { a: { address: \":80\", http3: true } }\nroutes: {}\n",
        "1:35 this version has no `http3` yet [listeners speak HTTP/1.1 and HTTP/2]",
    );
    one(
        "listeners: { a: { address: \":80\", protocol: tcp, to: x } }\nroutes: {}\n",
        "1:45 this version listens for HTTP alone",
    );
    one(
        "listeners: { a: { address: \":80\", to: x } }\nroutes: {}\n",
        "1:35 `to` is for `tcp` and `udp`; HTTP goes by `routes`",
    );
    one(
        "listeners: { a: { address: \":80\", tls: { cert: x.pem } } }\nroutes: {}\n",
        "1:40 `cert` needs its `key`",
    );
    one(
        "listeners: { a: { address: \":80\", tls: {} } }\nroutes: {}\n",
        "1:40 TLS needs a certificate: `certificates: [{ cert, key }]`",
    );
    one(
        "listeners: { a: { address: \":80\", tls: { cert: no.pem, key: c.key } } }\nroutes: {}\n",
        "1:48 cannot read `tests/data/no.pem`: No such file or directory (os error 2)",
    );
    one(
        "listeners: { a: { address: \":80\", tls: { certificates: [{ cert: c.pem, key: no.key }] } } }\nroutes: {}\n",
        "1:77 cannot read `tests/data/no.key`: No such file or directory (os error 2)",
    );
    one(
        "listeners: { a: { address: \":80\", tls: { cert: c.pem, key: c.key, client_auth: require } } }\nroutes: {}\n",
        "1:40 `client_auth` needs a `client_ca` to check certificates against",
    );
    one(
        "listeners: { a: { address: \":80\", redirect_https: 0 } }\nroutes: {}\n",
        "1:51 `0` is not a port",
    );
    one(
        "admin: \":9901\"\nroutes: {}\n",
        "1:8 the admin listener is open beyond this machine, and has no `token` [`token: ${env:ADMIN_TOKEN}`, or an address on 127.0.0.1]",
    );
    one(
        "admin: { adress: \":9901\" }\nroutes: {}\n",
        "1:10 unknown key `adress` [did you mean `address`?]",
    );
    one(
        "admin: { also_on: wbe, auth: keys }\nidentity: { keys: { api_key: {} } }\nroutes: {}\n",
        "1:19 there is no listener `wbe` [did you mean `web`?]",
    );
    one("admin: { public: [health] }\nroutes: {}\n", "1:19 a public path begins with `/`");
}

#[test]
fn upstream_settings() {
    one(&upstream("balance: random"), "2:3 an upstream needs at least one endpoint");
    one(
        &upstream("endpoints: [\"10.0.0.1\"]"),
        "3:17 `10.0.0.1` is not an endpoint such as `10.0.0.1:8080` or `orders.local:80`",
    );
    one(
        &upstream("endpoints: { \"https://a:1\": 1 }"),
        "3:18 `https://a:1`: endpoints are `host:port`, without a scheme; `tls: true` beside them speaks TLS",
    );
    one(
        &upstream("endpoints: [\"a:1\", \"a:1\"]"),
        "3:5 `a:1` stands here twice".replace("3:5", "3:16").as_str(),
    );
    one(
        &upstream("endpoints: { \"a:1\": 0 }"),
        "3:5 all endpoints have weight 0, so none would be used",
    );
    one(
        &upstream("endpoints: { \"a:1\": { wieght: 1 } }"),
        "3:27 unknown key `wieght` [did you mean `weight`?]",
    );
    let with = |more: &str| upstream(&format!("endpoints: [\"a:1\"]\n    {more}"));
    one(&with("balance: rondom"), "4:14 `rondom` is not known here [did you mean `random`?]");
    one(&with("balance: maglev"), "4:14 `maglev` needs a value: `{ maglev: … }`");
    one(
        &with("balance: { maglev: \"herder:X\" }"),
        "4:24 `herder:X` is none of ip, consumer, route, host, header:NAME, cookie:NAME, query:NAME, path:NAME, claim:NAME",
    );
    one(
        &with("balance: { maglev: \"path:nr\" }"),
        "6:13 the upstream balances by `path:nr`, which this pattern has not [a pattern with `{nr}` in its path]",
    );
    one(&with("health: { path: health }"), "4:21 a health path begins with `/`");
    one(&with("health: { interval: 1ms }"), "4:25 health checks are at least 100ms apart");
    one(
        &with("health: { status: [2000] }"),
        "4:24 `2000` is not a status such as `200`, or a range such as `200-299`",
    );
    one(
        &with("retry: { on: [500, never] }"),
        "4:24 `never` is not `connect`, `timeout` or a status such as `503`",
    );
    one(&with("retry: 50"), "4:12 `attempts` is at most 10");
    one(&with("retry: { budget: 200% }"), "4:22 `200%` is not a percentage from 0% to 100%");
    one(&with("tls: { cert: c.pem }"), "4:5 `cert` and `key` belong together");
    one(
        &with("tls: { ca: nowhere.pem }"),
        "4:16 cannot read `tests/data/nowhere.pem`: No such file or directory (os error 2)",
    );
    one(
        &with("discover: { consul: x }"),
        "4:5 this version has no `discover` yet [name the `endpoints`; host names are resolved by DNS, and again in time]",
    );
    one(&with("http2: maybe"), "4:12 expected `true` or `false`, found the text `maybe`");
    one(&with("sticky: { cookie: { nam: x } }"), "4:25 unknown key `nam` [did you mean `name`?]");
    one(&with("sticky: \"a b\""), "4:13 `a b` is not known here [known here: `cookie`, `header`]");
}

#[test]
fn routes_and_targets() {
    one(
        &route("cors: {}"),
        "3:3 this route has no `to` [an upstream's name, a URL, weights, or a handler]",
    );
    one(
        "routes: { /x: users }\n",
        "1:15 expected a route: a map with `to`, such as `{ to: orders }`",
    );
    one("routes:\n  /x:\n", "2:3 expected a route: a map with `to`, such as `{ to: orders }`");
    one("routes: { /x: [] }\n", "1:11 a list of routes needs at least one");
    one(&route("to: usres"), "4:9 there is no upstream `usres` [did you mean `users`?]");
    one(
        "routes: { /x: { to: users } }\n",
        "1:21 there is no upstream `users` [`upstreams` names none; a URL such as `http://10.0.0.1:80` needs none]",
    );
    one(
        &route("to: { users: 1, usres: 2 }"),
        "4:21 there is no upstream `usres` [did you mean `users`?]",
    );
    one(&route("to: { users: 0 }"), "4:5 all weights are 0, so no request could go anywhere");
    one(
        &route("to: { respnd: {} }"),
        "4:11 there is no handler `respnd` [did you mean `respond`?]",
    );
    one(
        &route("to: { graphql: {} }"),
        "4:11 this version has no handler `graphql` [`graphql` is a handler of a later version]",
    );
    one(
        &route("to: { respond: {}, users: 1 }"),
        "4:24 `users` beside the handler `respond` [a route has one handler, or weights that are numbers]",
    );
    for bad in [
        "ftp://a",
        "http://",
        "http://a:0",
        "http://u:p@a",
        "http://a/x?y",
        "http://a/../b",
        "http://a b",
    ] {
        let found = errors(&route(&format!("to: \"{bad}\"")));
        assert_eq!(found.len(), 1, "{bad}: {found:?}");
        assert!(found[0].starts_with("4:9 ") && !found[0].contains("u:p"), "{found:?}");
    }
    one(
        &route("to: users\n    timeout: soon"),
        "5:14 `soon` is not a duration such as 250ms, 5s, 2m, 24h or 7d",
    );
    one(
        &route("to: users\n    priority: hihg"),
        "5:15 `hihg` is not a priority [did you mean `high`?]",
    );
    one(
        &route("to: users\n    rewrite: { path: \"/x/{nr}\" }"),
        "5:22 the pattern has no capture `{nr}` [captures here: id]",
    );
    one(
        &route("to: users\n    rewrite: { path: \"/x/{id\" }"),
        "5:22 a `{` without its `}` [captures here: id]",
    );
    one(&route("to: users\n    rewrite: { add_prefix: x }"), "5:28 `add_prefix` begins with `/`");
    one(
        &route("to: users\n    rewrite: { host: \"a b\" }"),
        "5:22 this is no host, with or without a port",
    );
    one(
        &route("to: users\n    when: { header: { X-A: { regex: \"(\" } } }"),
        "5:37 not a regular expression: unclosed group",
    );
    one(
        &route("to: users\n    when: { header: { \"X A\": y } }"),
        "5:23 `X A` is not a header's name",
    );
    one(
        &route("to: users\n    when: { cookie: { a: { suffix: y } } }"),
        "5:28 unknown key `suffix` [known here: `prefix`, `regex`, `exact`]",
    );
    one(
        &route("to: users\n    when: { method: get }"),
        "5:21 `get` is not a method such as `GET`, in capitals",
    );
    one(
        &route("to: users\n    when: { cel: \"request.metod == 'GET'\" }"),
        "5:18 this expression cannot be used: `request` has no `metod`: did you mean `method`?",
    );
}

#[test]
fn routes_that_can_never_match() {
    let text =
        "routes:\n  /x:\n    - to: http://a:1\n    - { when: { method: GET }, to: http://b:1 }\n";
    one(
        text,
        "4:7 this route can never match: an earlier one without `when` takes all requests [the first one is at tests/data/lockgate.yaml:3:7]",
    );
    let text = "routes:\n  /x:\n    - { when: { method: GET }, to: http://a:1 }\n    - { when: { method: GET }, to: http://b:1 }\n    - { to: http://b:1 }\n";
    one(
        text,
        "4:7 this route can never match: an earlier one has the same `when` [the first one is at tests/data/lockgate.yaml:3:7]",
    );
}

#[test]
fn methods_that_the_pattern_excludes() {
    let text = |pattern: &str, methods: &str| {
        let when = format!("when: {{ method: {methods} }}");
        format!("routes:\n  {pattern}:\n    - {{ {when}, to: http://a:1 }}\n")
    };
    one(
        &text("POST /x", "[GET, PUT]"),
        "3:17 this route can never match: its pattern takes `POST` alone [the pattern is at tests/data/lockgate.yaml:2:3]",
    );
    for (pattern, methods) in [("POST /x", "[GET, POST]"), ("GET /x", "HEAD"), ("/x", "PUT")] {
        assert!(errors(&text(pattern, methods)).is_empty(), "{pattern} {methods}");
    }
}

#[test]
fn a_broken_route_of_a_list_does_not_blame_its_neighbours() {
    let text = "routes:\n  /x:\n    - { when: { method: GET } }\n    - { to: nowhere }\n";
    assert_eq!(
        errors(text),
        ["3:7 this route has no `to` [an upstream's name, a URL, weights, or a handler]"]
    );
}

#[test]
fn policies_and_their_settings() {
    one(
        &route("to: users\n    strikt: {}"),
        "5:5 `strikt` is neither a key of a route nor a policy [did you mean `strict`?]",
    );
    one(
        &route("to: users\n    waf: {}"),
        "5:5 this version has no policy `waf` [`waf` is a policy of a later version]",
    );
    assert!(errors(&route("to: users\n    waf: off")).is_empty());
    one(
        "defaults: { waf: {} }\nroutes: {}\n",
        "1:13 this version has no policy `waf` [`waf` is a policy of a later version]",
    );
    one(
        "defaults: { strikt: {} }\nroutes: { /x: { to: http://a:1 } }\n",
        "1:13 `strikt` is neither a key of a route nor a policy [did you mean `strict`?]",
    );
    one(&route("to: users\n    strict: { limit: 11 }"), "5:22 at most 10");
    one(&route("to: users\n    strict: [{ limit: 1 }, { limit: 11 }]"), "5:37 at most 10");
    one(
        &route("to: users\n    strict: { limt: 1 }"),
        "5:15 unknown key `limt` [did you mean `limit`?]",
    );
    one(
        &route("to: users\n    strict: { more: [{}, { nam: x }] }"),
        "5:28 unknown key `nam` [did you mean `name`?]",
    );
    one(
        &route("to: users\n    strict: { limit: [] }"),
        "5:15 invalid type: sequence, expected u32",
    );
    // What is inherited is reported once, where it stands.
    one(
        "defaults: { strict: { limit: 11 } }\nroutes: { /x: { to: http://a:1 }, /y: { to: http://a:1 } }\n",
        "1:30 at most 10",
    );
}

#[test]
fn references_that_lead_nowhere() {
    one(
        "admin: { token: \"${env:NOT_SET_HERE}\" }\nroutes: {}\n",
        "1:17 the environment variable `NOT_SET_HERE` is not set [set it before starting, or use `${file:path}`]",
    );
    one(
        "admin: { token: \"${file:no.txt}\" }\nroutes: {}\n",
        "1:17 cannot read `tests/data/no.txt`: No such file or directory (os error 2) [the file's path, from this file]",
    );
    one(
        "admin: { token: \"${ENV:X}\" }\nroutes: {}\n",
        "1:17 `${ENV:X}` is not a reference that is known [`${env:NAME}` or `${file:path}`; a literal `${` is written `$${`]",
    );
    one(
        "admin: { token: \"${env:X\" }\nroutes: {}\n",
        "1:17 `${` without its `}` [`${env:NAME}` or `${file:path}`; a literal `${` is written `$${`]",
    );
    one(
        "routes: { \"${env:HOST}/x\": { to: http://a:1 } }\n",
        "1:11 a key cannot be a reference [references stand in values]",
    );
}

#[test]
fn all_errors_come_at_once_in_the_order_of_the_file() {
    let text = "workers: none\nlisteners: { web: nowhere }\nhttp: { max_uri: 5 }\nupstreams:\n  \
                a: { endpoints: [x], balance: bad, healht: {} }\nroutes:\n  /x: { to: b, rewrite: \
                { pth: y } }\n  /y: { to: a, timeout: 5 }\n";
    let found = errors(text);
    let places: Vec<_> = found.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(places, ["1:10", "2:19", "3:18", "5:20", "5:33", "5:38", "7:13", "7:27", "8:25"]);
}

#[test]
fn a_flood_of_errors_is_cut() {
    let keys: String = (0..500).map(|n| format!("key{n}: 1\n")).collect();
    let found = errors(&keys).len();
    assert!((10..=100).contains(&found), "{found}");
}

#[test]
fn a_missing_field_that_follows_from_a_wrong_one_is_not_reported() {
    one(
        "listeners: { a: { adress: \":80\" } }\nroutes: {}\n",
        "1:19 unknown key `adress` [did you mean `address`?]",
    );
    one(
        "listeners: { a: { address: 5 } }\nroutes: {}\n",
        "1:28 `5` is not an address such as `:8080` or `127.0.0.1:8080`",
    );
    one(&route("to: [users]"), "4:9 expected an upstream's name, a URL, weights, or a handler");
}

#[test]
fn a_place_is_found_by_its_path() {
    let loaded = read(&route("to: users\n    tags: [a, b]")).unwrap();
    let at = |path: &[&str]| loaded.source.locate(path).map(|place| (place.line, place.column));
    assert_eq!(at(&["routes", "/a/{id}/*"]), Some((3, 3)));
    assert_eq!(at(&["routes", "/a/{id}/*", "tags", "1"]), Some((5, 15)));
    assert_eq!(at(&["routes", "/nowhere"]), None);
    let problem = loaded.source.problem(
        &["routes", "/a/{id}/*", "nowhere", "deeper"],
        lockgate_config::Severity::Warning,
        "told by another",
    );
    assert_eq!((problem.line, problem.column), (3, 3));
    assert_eq!(problem.excerpt.as_deref(), Some("  /a/{id}/*:"));
}

#[test]
fn one_mistake_is_one_complaint() {
    let found = errors("upstreams: { u: { endpoint: \"a:1\" } }\nroutes: { /a: { to: u } }\n");
    assert_eq!(found, ["1:19 unknown key `endpoint` [did you mean `endpoints`?]"]);
    let found =
        errors("upstreams: { users: { endpoints: \"a:1\" } }\nroutes: { /a: { to: userz } }\n");
    assert_eq!(found, ["2:21 there is no upstream `userz` [did you mean `users`?]"]);
}

#[test]
fn the_memory_of_blobs_is_a_size() {
    let with = |settings: &str| format!("stores: {{ memory: {settings} }}\n{}", route("to: users"));
    assert!(errors(&with("{ max_size: 256MiB }")).is_empty());
    assert!(errors(&with("memory")).is_empty());
    for (settings, says) in [
        ("{ max_size: much }", "`much` is not a size such as 512B, 64KB or 1MiB"),
        ("{ max_size: 64KB }", "the store `memory` takes at least 1MiB"),
        ("{ maxsize: 2MiB }", "unknown key `maxsize` [did you mean `max_size`?]"),
        ("[1]", "expected a map, found a list"),
        ("{ prefix: x }", "a store in memory has no setting but `max_size`"),
        ("redis://h", "`memory` is this process's own: a Redis needs another name"),
    ] {
        let found = errors(&with(settings));
        assert!(found.len() == 1 && found[0].ends_with(says), "{settings}: {found:?}");
    }
}

#[test]
fn what_is_wrong_with_a_redis_is_told_where_it_stands_and_never_with_its_password() {
    let with = |settings: &str| format!("stores:\n  s: {settings}\n{}", route("to: users"));
    for good in [
        "redis://h",
        "rediss://u:hunter2@h:7000/2",
        "{ url: \"redis://h\", username: u, password: hunter2, prefix: a:b, timeout: 20ms }",
        "{ redis_cluster: [\"redis://a:1\", \"b:2\"], password: hunter2 }",
        "{ redis_sentinel: { master: m, sentinels: [\"a\", \"b:2\"], password: x }, password: y }",
        "{ url: \"rediss://h\", sni: n }",
        "memory",
    ] {
        assert_eq!(errors(&with(good)), [""; 0], "{good}");
    }
    for (settings, says) in [
        ("ftp://hunter2@h", "2:6 expected `memory`, `redis://HOST:PORT/DATABASE`, or `rediss://`"),
        ("redis://:hunter2@h:0", "2:6 the port is no number from 1 to 65535"),
        ("{ url: \"redis://:hunter2@h\", password: x }", "2:13 the password stands in the URL and"),
        ("{ url: \"redis://h\", redis_cluster: [a] }", "2:3 `url`, `redis_cluster` and"),
        ("{ redis_cluster: [\"redis://h/3\"] }", "2:8 a Cluster has only the database 0"),
        ("{ redis_cluster: [\"redis://a\", \"rediss://b\"] }", "2:8 all servers need the same"),
        ("{ redis_sentinel: { sentinels: [a] } }", "2:8 needs the name of the `master`"),
        ("{ redis_sentinel: { master: m } }", "2:8 expected from 1 to 64 of `HOST:PORT`"),
        ("{ url: \"redis://h\", prefix: \"a{b}\" }", "2:34 expected up to 64 letters, digits"),
        ("{ url: \"redis://h\", timeout: 0s }", "2:35 expected more than no time at all"),
        ("{ url: \"redis://h\", timeout: soon }", "2:35 `soon` is not a duration"),
        ("{ url: \"redis://h\", sni: n }", "2:31 is for TLS: say `rediss://`"),
        ("{ url: \"redis://h\", username: u }", "2:36 needs a `password` too"),
        ("{ url: \"redis://h\", max_size: 1GiB }", "2:36 only `memory` has a `max_size`"),
        ("{ url: \"rediss://h\", ca: gone.pem }", "2:31 cannot read `"),
        ("{ urll: \"redis://h\" }", "2:8 unknown key `urll` [did you mean `url`?]"),
    ] {
        let found = errors(&with(settings));
        assert!(found.len() == 1 && found[0].starts_with(says), "{settings}: {found:?}");
        assert!(!found[0].contains("hunter2"), "{found:?}");
    }
}
