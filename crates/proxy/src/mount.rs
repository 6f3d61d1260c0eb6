//! The admin pages on a public listener (`admin.also_on`): `/admin` always behind `auth` with the
//! role `admin`, and what `admin.public` names open to GET and HEAD. There they come before the
//! configuration's routes, but for a public page whose path a route has as its own.

use std::sync::Arc;

use http::Method;
use lockgate_config::model::{Document, PolicyEntry};
use lockgate_core::{Exchange, Handler};
use serde_json::{Value, json};

use crate::build::{BuildError, Builder, Given};
use crate::route::Condition;
use crate::snapshot::{Route, RouteSet, Sets};
use crate::target::Target;

/// The role that whoever asks must have.
const ROLE: &str = "admin";
/// Failures from one address: guessing is slow.
const FAILURES: &str = "30/min";

/// What is public is asked for by load balancers and scrapers, and costs something to tell.
const PUBLIC: &str = "20/s";

/// Where the admin pages stand in a snapshot.
pub(crate) struct Mount {
    listener: Box<str>,
    /// The places of their sets of routes.
    guarded: usize,
    open: usize,
    /// The paths that are open.
    public: Vec<String>,
}

impl Mount {
    /// The set of routes that an exchange goes by, if it goes to an admin page.
    pub(crate) fn set(&self, exchange: &Exchange) -> Option<usize> {
        if *exchange.connection.listener != *self.listener {
            return None;
        }
        self.of(&exchange.head.method, exchange.head.uri.path())
    }

    fn of(&self, method: &Method, path: &str) -> Option<usize> {
        let is_public = self.public.iter().any(|public| public == path);
        match is_public && matches!(*method, Method::GET | Method::HEAD) {
            true => Some(self.open),
            // What is public is only looked at by anybody.
            false => (is_public || is_admin(path)).then_some(self.guarded),
        }
    }

    /// What is answered to a request on one of these listeners, in a sentence.
    pub(crate) fn explain(
        &self,
        listeners: &[&str],
        method: &Method,
        path: &str,
    ) -> Option<String> {
        let set = self.of(method, path).filter(|_| listeners.contains(&&*self.listener))?;
        let who = match set == self.open {
            true => "open to all (`admin.public`)".to_owned(),
            false => format!("behind `admin.auth` with the role `{ROLE}`"),
        };
        Some(format!("the admin pages, by `admin.also_on: {}`, {who}", self.listener))
    }
}

fn is_admin(path: &str) -> bool {
    path == "/admin" || path.starts_with("/admin/")
}

impl Builder<'_> {
    /// Adds the admin pages' routes to the sets, where they are shown on a public listener.
    pub(crate) fn mount(
        &self,
        document: &Document,
        given: &mut Given<'_>,
        sets: &mut Sets,
    ) -> Result<Option<Mount>, BuildError> {
        let admin = &document.admin;
        let Some(listener) = &admin.also_on else { return Ok(None) };
        let auth = with_role(&admin.auth);
        let limit = json!({ "limit": FAILURES, "by": "ip", "count": { "status": [401, 403] }, "name": "admin" });
        let policies = [entry("rate_limit", limit), entry("auth", auth)];
        let guarded = sets.len();
        sets.own.push(self.pages("/admin/*", &policies, given)?);
        let limit = json!({ "limit": PUBLIC, "by": "ip", "name": "admin_public" });
        sets.own.push(self.pages("/admin/* (public)", &[entry("rate_limit", limit)], given)?);
        let path_of =
            |pattern: &str| pattern.find('/').and_then(|at| pattern.get(at..)).map(str::to_owned);
        let own = |path: &str| {
            let mut patterns = document.routes.keys();
            patterns.any(|pattern| path_of(pattern).as_deref() == Some(path))
        };
        let public = admin.public.iter().filter(|path| is_admin(path) || !own(path));
        let public = public.cloned().collect();
        let listener = listener.as_str().into();
        Ok(Some(Mount { listener, guarded, open: guarded + 1, public }))
    }

    fn pages(
        &self,
        pattern: &str,
        policies: &[Arc<PolicyEntry>],
        given: &mut Given<'_>,
    ) -> Result<Arc<RouteSet>, BuildError> {
        let pattern: Arc<str> = pattern.into();
        let entries = self.all_entries(&pattern, policies, given)?;
        let handler: Box<dyn Handler> = self.provide.admin_pages().ok_or_else(|| {
            BuildError::new(&["admin", "also_on"], "there are no admin pages to be shown here")
        })?;
        let route = Route {
            pattern: Arc::clone(&pattern),
            when: Condition::default(),
            reads_origin: false,
            entries,
            target: Target::Handler("admin", handler),
            rewrite: None,
            written: None,
            timeout: None,
            retry: None,
            series: self.metrics.route(Arc::clone(&pattern), None),
            tags: Arc::default(),
        };
        Ok(Arc::new(RouteSet { pattern, captures: Arc::new([]), routes: Box::new([route]) }))
    }
}

/// `auth` as it is written, with the role that it must ask for.
fn with_role(auth: &Value) -> Value {
    let mut auth = match auth {
        Value::Object(_) => auth.clone(),
        names => json!({ "any_of": names }),
    };
    if let Some(auth) = auth.as_object_mut() {
        auth.insert("roles".to_owned(), json!([ROLE]));
    }
    auth
}

fn entry(name: &str, config: Value) -> Arc<PolicyEntry> {
    let path = ["admin".into(), "auth".into()];
    Arc::new(PolicyEntry { name: name.into(), config: config.into(), path: Arc::new(path) })
}
