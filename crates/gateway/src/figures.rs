//! The figures that plugins show in the metrics, for as long as they live. Of several with the same
//! labels the last that lives is shown: a route that stays as it is over a reload shows nothing
//! anew, and what others have shown since may go before it does.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use lockgate_core::{Figure, Metric};
use lockgate_telemetry::Encoder;

/// All that are shown.
#[derive(Default)]
pub(crate) struct Figures(Mutex<All>);

/// By the metric's name and the labels.
type All = BTreeMap<(&'static str, Vec<String>), Shown>;

struct Shown {
    metric: &'static Metric,
    figures: Vec<Weak<dyn Figure>>,
}

impl Shown {
    fn last(&self) -> Option<Arc<dyn Figure>> {
        self.figures.iter().rev().find_map(Weak::upgrade)
    }
}

impl Figures {
    /// Shows one.
    pub(crate) fn expose(
        &self,
        metric: &'static Metric,
        labels: &[&str],
        figure: Weak<dyn Figure>,
    ) {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        let mut all = self.all();
        let shown = all.entry((metric.name, labels));
        let figures = &mut shown.or_insert(Shown { metric, figures: Vec::new() }).figures;
        if figures.last().is_some_and(|last| address(last) == address(&figure)) {
            return;
        }
        // Before there is more room, what is gone or stands further back too makes some.
        if figures.len() == figures.capacity() {
            let mut seen = HashSet::new();
            figures.reverse();
            figures.retain(|one| one.strong_count() > 0 && seen.insert(address(one)));
            figures.reverse();
        }
        figures.push(figure);
    }

    /// A metric's labels and values.
    pub(crate) fn of(&self, metric: &str) -> Vec<(Vec<String>, u64)> {
        let all = self.all();
        let own = all.iter().filter(|((name, _), _)| *name == metric);
        own.filter_map(|((_, labels), shown)| Some((labels.clone(), shown.last()?.value())))
            .collect()
    }

    /// All of them at a scrape. What is gone by then is forgotten.
    pub(crate) fn collect(&self, out: &mut Encoder) {
        self.all().retain(|(_, labels), shown| {
            shown.figures.retain(|figure| figure.strong_count() > 0);
            let Some(figure) = shown.last() else { return false };
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            out.count(shown.metric, &labels, figure.value());
            true
        });
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Two of one address are one: what has been let go keeps its place for as long as it is listed.
fn address(figure: &Weak<dyn Figure>) -> usize {
    figure.as_ptr().addr()
}

#[cfg(test)]
mod tests {
    use lockgate_telemetry::names;

    use super::*;

    fn figure(value: u64) -> Arc<dyn Figure> {
        Arc::new(move || value)
    }

    #[test]
    fn the_last_that_lives_is_shown() {
        let figures = Figures::default();
        let show = |one: &Arc<dyn Figure>| {
            figures.expose(&names::COUNTER_KEYS, &["x"], Arc::downgrade(one));
        };
        let now = || figures.of(names::COUNTER_KEYS.name).first().map(|one| one.1);
        let first = figure(1);
        show(&first);
        let later: Vec<_> = (2..100).map(figure).collect();
        later.iter().for_each(show);
        assert_eq!(now(), Some(99));
        drop(later);
        assert_eq!(now(), Some(1));
        drop(first);
        assert_eq!(now(), None);
    }

    #[test]
    fn what_is_shown_again_and_again_takes_no_room() {
        let figures = Figures::default();
        let (one, other) = (figure(1), figure(2));
        let show = |one: &Arc<dyn Figure>| {
            figures.expose(&names::COUNTER_KEYS, &[], Arc::downgrade(one));
        };
        for _ in 0..10_000 {
            show(&one);
        }
        assert!(figures.all().values().all(|shown| shown.figures.len() == 1));
        for _ in 0..10_000 {
            show(&other);
            show(&one);
        }
        assert!(figures.all().values().all(|shown| shown.figures.capacity() < 64));
        let now = || figures.of(names::COUNTER_KEYS.name).first().map(|one| one.1);
        assert_eq!(now(), Some(1));
        drop(one);
        assert_eq!(now(), Some(2));
    }

    #[test]
    fn what_is_gone_takes_no_room() {
        let figures = Figures::default();
        let stays = figure(1);
        figures.expose(&names::COUNTER_KEYS, &[], Arc::downgrade(&stays));
        for _ in 0..10_000 {
            figures.expose(&names::COUNTER_KEYS, &[], Arc::downgrade(&figure(2)));
        }
        let all = figures.all();
        assert!(all.values().all(|shown| shown.figures.capacity() < 64));
    }
}
