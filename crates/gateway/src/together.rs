//! Changes that were asked for while another was put in force: they are read, checked and put in
//! force together, in the time of one, and each is answered. When they are refused together, each
//! is tried for itself, so that nobody pays for what another has asked for; what else is due, an
//! end of the process above all, comes between.

use lockgate_admin::{Change, Order, Outcome as Came, What};
use serde_json::Value;
use tokio::time::Instant;

use crate::change::Cause;
use crate::kept;
use crate::orders::{Asker, Given};
use crate::running::Running;
use crate::source::Source;

/// Most changes that are put in force together.
const MOST: usize = 32;

impl Running {
    /// Carries an order out, and with a change those that wait behind it.
    pub(crate) async fn take_on(&mut self, given: Given, source: &mut Option<Source>) {
        self.take_over(source).await;
        self.rest.work_begins();
        let mut all = Vec::new();
        let mut next = Some(given.take());
        while let Some((order, asker)) = next.take() {
            match order {
                Order::Change(change) if all.len() < MOST && joins(&change, &all) => {
                    all.push((*change, asker));
                    next = self.ordered.work.try_recv().ok().map(Given::take);
                }
                order => {
                    next = Some((order, asker));
                    break;
                }
            }
        }
        let is_alone = all.len() < 2;
        if !is_alone && let Some(done) = self.together(&all, source).await {
            all.into_iter().for_each(|(_, asker)| asker.answer(Ok(done.clone())));
        } else {
            let each = all.into_iter().map(|(change, asker)| (Order::Change(change.into()), asker));
            self.apart.extend(each);
        }
        self.apart.extend(next);
        self.rest.work_ends();
        // Otherwise there has been work, and the first of them waits as well.
        if is_alone {
            self.take_apart(source).await;
        }
    }

    /// Carries out one of the orders that are carried out one by one, with a rest after each.
    pub(crate) async fn take_apart(&mut self, source: &mut Option<Source>) {
        let Some((order, asker)) = self.apart.pop_front() else { return };
        self.rest.work_begins();
        asker.answer(self.obey(order, source).await);
        self.rest.work_ends();
    }

    /// All of them at once; `None` when that cannot be, and nothing has changed.
    async fn together(
        &mut self,
        all: &[(Change, Asker)],
        source: &mut Option<Source>,
    ) -> Option<Value> {
        let source = source.as_mut()?;
        let begun = Instant::now();
        let mut wanted = self.kept.changes().clone();
        for (change, _) in all {
            self.may_change(change).ok()?;
            self.may_refer(&change.what).ok()?;
            let What::Set { section, name, to } = &change.what else { return None };
            wanted.set(section, name, to.clone()).ok()?;
        }
        let text = kept::text_of(&wanted);
        let before = self.gateway.before();
        let given = self.kept.given_instead(&wanted, &text);
        let checked = source.look(given, &before).ok()?;
        self.rest.let_others().await;
        let told: Vec<_> =
            all.iter().map(|(change, _)| self.told(&change.what, &checked)).collect();
        let mut who: Vec<&str> = all.iter().map(|(change, _)| change.who.as_str()).collect();
        who.sort_unstable();
        who.dedup();
        let first = all.first().map(|(change, _)| &change.what)?;
        if let Some(done) = self.nothing_to_do(first, &checked, &wanted, begun) {
            let same = self.gateway.read();
            for ((change, _), told) in all.iter().zip(told) {
                told.audit(Came::Unchanged, &change.who, &same);
            }
            return Some(done);
        }
        let cause = Cause { via: "admin", who: &who.join(", ") };
        let done = Box::pin(self.put_in_force(checked, wanted, cause, source, begun)).await.ok()?;
        let after = self.gateway.read();
        for ((change, _), told) in all.iter().zip(told) {
            told.audit(Came::Changed, &change.who, &after);
        }
        Some(done)
    }
}

/// Whether a change can be put in force with others: it sets something that none of them does, and
/// does not depend on what is in force.
fn joins(change: &Change, others: &[(Change, Asker)]) -> bool {
    let What::Set { section, name, to: Some(_) } = &change.what else { return false };
    let is_same = |other: &Change| match &other.what {
        What::Set { section: one, name: own, .. } => one == section && own == name,
        _ => false,
    };
    let is_free = change.only.is_open() && !change.dry_run;
    is_free && !others.iter().any(|(other, _)| is_same(other))
}
