//! Routes: targets that exist, weights that add up, captures that the pattern has, conditions
//! that can hold. Patterns and their conflicts are the router's business.

use std::collections::HashSet;

use lockgate_core::{Expression, KeyPart, Scope};

use super::{Findings, upstreams};
use crate::decode::suggest;
use crate::model::{Balance, Document, Match, Route, RouteSet, Target};
use crate::same::Same;

pub(super) fn check(document: &Document, same: Option<&Same<'_>>, findings: &mut Findings<'_>) {
    let source = findings.source;
    // An upstream that could not be decoded is not unknown.
    let section = source.tree.get(source.root, "upstreams");
    let written = section.map(|node| source.tree.pairs(node)).unwrap_or_default();
    let mut known: HashSet<&str> = document.upstreams.keys().map(String::as_str).collect();
    known.extend(written.iter().filter_map(|pair| source.tree.written(pair.0)));
    let before = same.map(Same::routes);
    for (first, piece) in document.routes.pieces_beside(before) {
        for (place, (pattern, set)) in piece.iter().enumerate() {
            let place = first + place;
            if !same.is_some_and(|same| same.has(place, pattern, set)) {
                under_pattern(document, &known, place, (pattern, set), findings);
            }
        }
    }
    if document.routes.is_empty() && source.tree.get(source.root, "routes").is_none() {
        findings.warning(&["routes"], "there are no routes: every request is answered 404");
    }
}

/// The routes under one pattern.
fn under_pattern(
    document: &Document,
    known: &HashSet<&str>,
    place: usize,
    (pattern, set): (&str, &RouteSet),
    findings: &mut Findings<'_>,
) {
    if !findings.source.is_list_of_routes(place, pattern) {
        for route in &set.routes {
            let path = &["routes", pattern];
            Checker { document, known, pattern, path, findings }.check(route);
        }
        return;
    }
    // One of the list could not be decoded, so the numbers of the others are not theirs.
    if findings.source.items(&["routes", pattern]) != set.routes.len() {
        return;
    }
    for (number, route) in set.routes.iter().enumerate() {
        let number = number.to_string();
        let path = &["routes", pattern, &number];
        Checker { document, known, pattern, path, findings }.check(route);
    }
    order(pattern, set, findings);
}

/// A route after one that always holds is never reached.
fn order(pattern: &str, set: &RouteSet, findings: &mut Findings<'_>) {
    for (place, route) in set.routes.iter().enumerate().skip(1) {
        let before = set.routes.iter().take(place);
        let place = place.to_string();
        let path = ["routes", pattern, &place];
        for (earlier, other) in before.enumerate() {
            let always = *other.when == Default::default();
            if !always && other.when != route.when {
                continue;
            }
            let earlier = earlier.to_string();
            let first = findings.source.nearest(&["routes", pattern, &earlier]);
            let message = if always {
                "this route can never match: an earlier one without `when` takes all requests"
            } else {
                "this route can never match: an earlier one has the same `when`"
            };
            findings.error(&path, message).first = Some(first);
            break;
        }
    }
}

struct Checker<'a, 's> {
    document: &'a Document,
    known: &'a HashSet<&'a str>,
    pattern: &'a str,
    path: &'a [&'a str],
    findings: &'a mut Findings<'s>,
}

impl<'s> Checker<'_, 's> {
    fn at<'b>(&'b self, keys: &[&'b str]) -> Vec<&'b str> {
        [self.path, keys].concat()
    }

    fn check(&mut self, route: &Route) {
        match &route.to {
            Target::Upstream(name) => {
                if !self.known.contains(&**name) {
                    let at = [self.path, &["to"]].concat();
                    let written = self.findings.written(&at, name).to_owned();
                    let help = self.help(&written);
                    let message = format!("there is no upstream `{written}`");
                    self.findings.error(&at, message).help = Some(help);
                }
                self.keys(name);
            }
            Target::Split(parts) => {
                if parts.values().all(|weight| *weight == 0) {
                    let at = [self.path, &["to"]].concat();
                    let message = "all weights are 0, so no request could go anywhere";
                    self.findings.error(&at, message);
                }
                for name in parts.keys() {
                    if !self.known.contains(name.as_str()) {
                        let at = [self.path, &["to", name]].concat();
                        let help = self.help(name);
                        let message = format!("there is no upstream `{name}`");
                        self.findings.error_at_key(&at, message).help = Some(help);
                    }
                    self.keys(name);
                }
            }
            Target::Handler { .. } => {}
        }
        self.rewrite(route);
        self.when(route);
        self.methods(route);
        if let Some(message) = route.retry.as_deref().and_then(upstreams::retry) {
            let at = [self.path, &["retry"]].concat();
            self.findings.error(&at, message);
        }
    }

    fn help(&self, name: &str) -> String {
        let mut known: Vec<&str> =
            self.known.iter().copied().filter(|name| !name.contains("://")).collect();
        known.sort_unstable();
        if known.is_empty() {
            return "`upstreams` names none; a URL such as `http://10.0.0.1:80` needs none".into();
        }
        suggest(name, &known)
    }

    /// An upstream that balances by a capture needs routes that have it.
    fn keys(&mut self, upstream: &str) {
        let Some(upstream) = self.document.upstreams.get(upstream) else { return };
        let Balance::Maglev(key) = &upstream.balance else { return };
        for part in key.parts() {
            if let KeyPart::Path(name) = part
                && !captures(self.pattern).any(|capture| capture == &**name)
            {
                let message =
                    format!("the upstream balances by `{part}`, which this pattern has not");
                let at = [self.path, &["to"]].concat();
                self.findings.error(&at, message).help =
                    Some(format!("a pattern with `{{{name}}}` in its path"));
            }
        }
    }

    fn rewrite(&mut self, route: &Route) {
        let rewrite = &route.rewrite;
        for (key, path) in [
            ("strip_prefix", &rewrite.strip_prefix),
            ("add_prefix", &rewrite.add_prefix),
            ("path", &rewrite.path),
        ] {
            if path.as_ref().is_some_and(|path| !path.starts_with('/')) {
                let at = self.at(&["rewrite", key]);
                let message = format!("`{key}` begins with `/`");
                let fail = crate::source::Fail::new(self.findings.source.nearest(&at), message);
                self.findings.push(fail);
            }
        }
        let mut wrong = Vec::new();
        for name in rewrite.path.as_deref().map(braces).unwrap_or_default() {
            match name {
                None => wrong.push("a `{` without its `}`".to_owned()),
                Some(name) if !captures(self.pattern).any(|capture| capture == name) => {
                    wrong.push(format!("the pattern has no capture `{{{name}}}`"));
                }
                Some(_) => {}
            }
        }
        let known: Vec<&str> = captures(self.pattern).collect();
        for message in wrong {
            let at = [self.path, &["rewrite", "path"]].concat();
            self.findings.error(&at, message).help = Some(match known.as_slice() {
                [] => "the pattern has no captures".into(),
                names => format!("captures here: {}", names.join(", ")),
            });
        }
        if rewrite
            .host
            .as_ref()
            .is_some_and(|host| http::uri::Authority::try_from(host.as_str()).is_err())
        {
            let at = [self.path, &["rewrite", "host"]].concat();
            self.findings.error(&at, "this is no host, with or without a port");
        }
    }

    fn written_name<'b>(&self, kind: &str, name: &'b str) -> &'b str
    where
        's: 'b,
    {
        let source = self.findings.source;
        let Some(map) = source.node(&[self.path, &["when", kind]].concat()) else { return name };
        let names = source.tree.pairs(map).iter().filter_map(|pair| source.tree.written(pair.0));
        names.into_iter().find(|written| written.eq_ignore_ascii_case(name)).unwrap_or(name)
    }

    /// A condition on the method must leave something of what the pattern takes.
    fn methods(&mut self, route: &Route) {
        let Some(own) = method(self.pattern) else { return };
        let wanted = &route.when.method;
        // A pattern for GET takes HEAD too.
        let fits = |word: &String| word == own || (own == "GET" && word == "HEAD");
        if wanted.is_empty() || wanted.iter().any(fits) {
            return;
        }
        let message = format!("this route can never match: its pattern takes `{own}` alone");
        let pattern = self.findings.source.key(&["routes", self.pattern]);
        let place = self.findings.source.place(pattern);
        let at = [self.path, &["when", "method"]].concat();
        self.findings.error(&at, message).help = Some(format!("the pattern is at {place}"));
    }

    fn when(&mut self, route: &Route) {
        let when = &route.when;
        if let Some(text) = &when.cel
            && let Err(why) = Expression::new(text, Scope::Request)
        {
            let at = [self.path, &["when", "cel"]].concat();
            self.findings.error(&at, format!("this expression cannot be used: {why}"));
        }
        for (kind, map) in
            [("header", &when.header), ("query", &when.query), ("cookie", &when.cookie)]
        {
            for (name, value) in map {
                let Match::Regex(pattern) = value else { continue };
                let Err(why) = Match::compile(pattern) else { continue };
                // Header names are in lower case here, and in any case in the file.
                let written = self.written_name(kind, name);
                let at = [self.path, &["when", kind, written, "regex"]].concat();
                self.findings.error(&at, format!("not a regular expression: {why}"));
            }
        }
    }
}

/// The method that a pattern begins with.
fn method(pattern: &str) -> Option<&str> {
    let (method, _) = pattern.split_once([' ', '\t'])?;
    (!method.contains('/')).then_some(method)
}

/// The names of a pattern's captures: `{id}`, `{rest...}`.
fn captures(pattern: &str) -> impl Iterator<Item = &str> {
    braces(pattern).into_iter().flatten().map(|name| name.strip_suffix("...").unwrap_or(name))
}

/// What stands in each pair of braces; `None` for one that is not closed.
fn braces(text: &str) -> Vec<Option<&str>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('{') {
        let Some((name, next)) = after.split_once('}') else {
            found.push(None);
            break;
        };
        found.push(Some(name));
        rest = next;
    }
    found
}
