//! Changes of the configuration while the gateway works: what is asked for becomes changes over the
//! files, is checked whole, kept on the disk, put in force, and remembered as a version.

use std::sync::Arc;

use lockgate_admin::{Change, Outcome as Came, Refused, What, audit};
use lockgate_config::{
    Change as Differs, Changes, FILES_ALONE, InForce, Laid, Outcome, Report, between, differing,
    read_value, shown, write_value,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::gateway::{self, Checked};
use crate::kept::{self, Kept, Seen};
use crate::running::Running;
use crate::source::Source;

/// Most things of one change of the whole of which the audit log tells.
const MOST_TOLD: usize = 100;

/// Who wants a configuration in force, and by what way.
pub(crate) struct Cause<'c> {
    pub(crate) via: &'c str,
    pub(crate) who: &'c str,
}

impl Running {
    /// Carries a change out, or tells what it would do.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub(crate) async fn change(
        &mut self,
        change: Change,
        source: &mut Option<Source>,
    ) -> Result<Value, Refused> {
        let done = self.try_change(&change, source).await;
        if let Err(refused) = &done
            && !change.dry_run
        {
            let why = refused.reason.into();
            audit(Came::Refused, &change.who, &name_of(&change.what), &Value::Null, &why);
        }
        done
    }

    async fn try_change(
        &mut self,
        change: &Change,
        source: &mut Option<Source>,
    ) -> Result<Value, Refused> {
        let Some(source) = source else {
            let text = "this configuration is built in, and cannot be changed";
            return Err(Refused::new(409, "no_file", text));
        };
        self.may_change(change)?;
        self.may_refer(&change.what)?;
        let begun = Instant::now();
        let wanted = self.wanted(source, &change.what)?;
        let text = kept::text_of(&wanted);
        let given = self.kept.given_instead(&wanted, &text);
        // A change of the files meanwhile is noticed afterwards, whatever becomes of this one.
        let before = self.gateway.before();
        let checked = source.look(given, &before).map_err(|report| refused(&report))?;
        self.rest.let_others().await;
        if let What::Set { section, name, to: None } = &change.what
            && self.is_nowhere(&checked, section, name)
        {
            let text = format!("`{section}` has no `{name}`");
            return Err(Refused::new(404, "no_such_thing", text));
        }
        if change.dry_run {
            let would = self.gateway.would_change(&checked);
            let resolved = resolved(checked.loaded.source.laid());
            return Ok(self.answer(true, &would, resolved, begun));
        }
        let told = self.told(&change.what, &checked);
        if let Some(done) = self.nothing_to_do(&change.what, &checked, &wanted, begun) {
            told.audit(Came::Unchanged, &change.who, &self.gateway.read());
            return Ok(done);
        }
        let via = if matches!(change.what, What::Version(_)) { "rollback" } else { "admin" };
        let cause = Cause { via, who: &change.who };
        let done = Box::pin(self.put_in_force(checked, wanted, cause, source, begun)).await?;
        told.audit(Came::Changed, &change.who, &self.gateway.read());
        Ok(done)
    }

    pub(crate) fn may_change(&self, change: &Change) -> Result<(), Refused> {
        if !self.kept.is_anywhere() {
            let text = "there is no place to keep changes in: say `admin: { state_dir: PATH }`";
            return Err(Refused::new(409, "no_state_dir", text));
        }
        if self.successor.is_some() {
            let text = "an upgrade is under way: try again when it is over";
            return Err(Refused::new(503, "upgrading", text));
        }
        if let Some(why) = self.kept.right().why_not() {
            let reason = if why.is_taken { "state_dir_taken" } else { "state_dir_unusable" };
            let text = format!("changes are not kept here: {why}");
            return Err(Refused::new(409, reason, text));
        }
        let generation = self.gateway.snapshot().generation;
        if !change.only.holds(generation) {
            let text = format!("generation {generation} is in force: look at it first");
            return Err(Refused::new(412, "changed_meanwhile", text));
        }
        let Some(wanted) = change.only.there else { return Ok(()) };
        let is_there = match &change.what {
            What::Set { section, name, .. } => {
                self.gateway.read().source.locate(&[section, name]).is_some()
            }
            What::Whole(_) | What::Files | What::Version(_) => true,
        };
        match (wanted, is_there) {
            (true, false) => {
                let text = "there is none yet, and `If-Match: *` asks for one";
                Err(Refused::new(412, "is_not_there", text))
            }
            (false, true) => {
                let text = "there is one already, and `If-None-Match: *` asks for none";
                Err(Refused::new(412, "is_there", text))
            }
            _ => Ok(()),
        }
    }

    /// What is answered to a change by which nothing changes: what it wants lies over the files
    /// already. Nobody else's look at the configuration is outdated by that. Of a whole one, what
    /// means the same as what is in force stays as it is written.
    pub(crate) fn nothing_to_do(
        &self,
        what: &What,
        checked: &Checked,
        wanted: &Changes,
        begun: Instant,
    ) -> Option<Value> {
        let laid = checked.loaded.source.laid();
        let mut wanted = wanted.clone();
        wanted.settle(laid);
        let kept = self.kept.changes();
        let is_same = match what {
            What::Set { .. } => wanted.say_the_same_as(kept),
            What::Whole(_) | What::Files | What::Version(_) => wanted.are_about_the_same_as(kept),
        };
        let is_same = is_same && self.gateway.would_change(checked).is_empty();
        is_same.then(|| self.answer(false, &[], resolved(laid), begun))
    }

    /// What is answered to whoever changes something, or has it read again.
    pub(crate) fn answer(
        &self,
        dry_run: bool,
        changes: &[Differs],
        resolved: Vec<String>,
        begun: Instant,
    ) -> Value {
        let what: Vec<String> = changes.iter().map(ToString::to_string).collect();
        let needs = changes.iter().filter(|change| change.needs_restart.is_some());
        let needs: Vec<String> = needs.map(ToString::to_string).collect();
        json!({
            "dryRun": dry_run, "generation": self.gateway.snapshot().generation,
            "tookMs": took_ms(begun), "changes": changes.len(), "what": what,
            "needsRestart": needs, "resolved": resolved,
        })
    }

    /// Whoever may change routes shall not read the files and the environment of the gateway by
    /// that: what is referred to must be referred to in the files already. A version was in force
    /// before, and is let be.
    pub(crate) fn may_refer(&self, what: &What) -> Result<(), Refused> {
        let text = match what {
            What::Set { to: Some(to), .. } => to.to_string(),
            What::Whole(text) => text.clone(),
            _ => return Ok(()),
        };
        let files = self.gateway.read();
        let new = references(&text).find(|reference| !files.source.files_say(reference));
        match new {
            None => Ok(()),
            Some(reference) => Err(Refused::new(
                422,
                "new_reference",
                format!(
                    "`{reference}` does not stand in the files: a reference is put there first, \
                     so that nobody reads secrets by changing routes"
                ),
            )),
        }
    }

    /// The changes over the files that are wanted.
    fn wanted(&self, source: &Source, what: &What) -> Result<Changes, Refused> {
        match what {
            What::Set { section, name, to } => {
                let mut changes = self.kept.changes().clone();
                let set = changes.set(section, name, to.clone());
                set.map_err(|why| Refused::new(409, "too_many_changes", why))?;
                Ok(changes)
            }
            What::Files => Ok(Changes::default()),
            What::Whole(text) => {
                // What is no map at all is told where it is sent.
                if let Err(why) = read_value(text) {
                    return Err(Refused::new(
                        400,
                        "bad_body",
                        format!("not a configuration: {why}"),
                    ));
                }
                whole(source, text)
            }
            What::Version(number) => {
                let old = self.kept.versions.whole(*number);
                let mut old = old.map_err(|why| Refused::new(404, "no_version", why))?;
                if let Some(old) = old.as_object_mut() {
                    old.retain(|section, _| !FILES_ALONE.contains(&section.as_str()));
                }
                whole(source, &write_value(&old))
            }
        }
    }

    /// Whether a thing that is to be removed has not been there.
    fn is_nowhere(&self, checked: &Checked, section: &str, name: &str) -> bool {
        let in_files = checked.loaded.source.in_files(&[section, name]).is_some();
        let entries = self.kept.changes().entries();
        match entries.iter().find(|entry| entry.section == section && entry.name == name) {
            Some(entry) => entry.to.is_none(),
            None => !in_files,
        }
    }

    /// What the audit log will say of a change: what is changed, what it was, what it is.
    pub(crate) fn told(&self, what: &What, checked: &Checked) -> Told {
        match what {
            What::Set { section, name, to } => {
                let mut own = self.kept.changes().entries().iter();
                let own = own.find(|entry| entry.section == *section && entry.name == *name);
                let was = match own {
                    Some(entry) => entry.to.clone(),
                    None => checked.loaded.source.in_files(&[section, name]),
                };
                let bare = |value: Option<&Value>| shown(&[section, name], value);
                let (was, is) = (bare(was.as_ref()), bare(to.as_ref()));
                Told::Thing { name: name_of(what), was, is }
            }
            _ => Told::Whole { name: name_of(what), before: self.gateway.read() },
        }
    }

    /// Puts in force what has been read, with the changes that were laid over it.
    ///
    /// # Errors
    /// What kept it from that; everything is as before then.
    pub(crate) async fn put_in_force(
        &mut self,
        checked: Checked,
        mut changes: Changes,
        cause: Cause<'_>,
        source: &mut Source,
        begun: Instant,
    ) -> Result<Value, Refused> {
        if !checked.loaded.warnings.is_empty() {
            let report = Report::new(checked.loaded.warnings.clone());
            tracing::warn!("the new configuration is doubtful:\n{}", report.render(false));
        }
        let files = checked.loaded.files.clone();
        let unfit =
            |error: anyhow::Error| Refused::new(422, "config_refused", format!("{error:#}"));
        let prepared = self.listeners.prepare(&checked.loaded.document).map_err(unfit)?;
        let resolved = resolved(checked.loaded.source.laid());
        changes.settle(checked.loaded.source.laid());
        let before = self.kept.changes().clone();
        let kept = self.kept.keep(changes).map_err(|error| {
            Refused::new(500, "cannot_keep", format!("the changes cannot be kept: {error}"))
        });
        let applied = match kept {
            Ok(()) => self.gateway.apply(checked).await.map_err(unfit),
            Err(refused) => Err(refused),
        };
        let applied = match applied {
            Ok(applied) => applied,
            Err(refused) => {
                // What is on the disk is what is in force.
                if let Err(error) = self.kept.keep_again(before) {
                    tracing::error!(%error, "changes that were refused stay on the disk");
                }
                return Err(refused);
            }
        };
        self.kept.overrides.settle(&self.gateway.snapshot().upstreams);
        let at = Instant::now();
        self.listeners.commit(prepared, &self.workers).await;
        self.rest.has_waited(applied.waited + at.elapsed());
        source.in_force(&files);
        let (generation, changes) = (applied.generation, applied.changes());
        let took_ms = took_ms(begun);
        tracing::info!(generation, took_ms, changes = changes.len(), "reloaded");
        for change in changes.iter().filter(|change| change.needs_restart.is_some()) {
            tracing::warn!("{change}");
        }
        let answer = self.answer(false, &changes, resolved, begun);
        let what: Vec<String> = changes.iter().map(ToString::to_string).collect();
        if !what.is_empty() {
            self.remember(generation, cause, what);
        }
        Ok(answer)
    }

    /// Keeps what is in force as a version.
    pub(crate) fn remember(&self, generation: u64, cause: Cause<'_>, what: Vec<String>) {
        let read = self.gateway.read();
        let source = &read.source;
        let changes = self.kept.text();
        let Cause { via, who } = cause;
        self.kept.versions.keep(Seen { generation, via, who, what, source, changes });
    }
}

/// What the audit log will say of a change.
pub(crate) enum Told {
    /// What a single thing was, and is.
    Thing { name: String, was: Value, is: Value },
    /// What all of it was.
    Whole { name: String, before: Arc<InForce> },
}

impl Told {
    /// Says it, once it is in force: `after` is then all of it.
    pub(crate) fn audit(&self, came: Came, who: &str, after: &InForce) {
        let (name, before) = match self {
            Self::Thing { name, was, is } => return audit(came, who, name, was, is),
            Self::Whole { name, before } => (name, before),
        };
        let all = differing(&before.source, &after.source);
        let things: Vec<&str> = all.iter().map(|one| one.thing.as_str()).collect();
        audit(came, who, name, &Value::Null, &things.into());
        for one in all.iter().take(MOST_TOLD) {
            let secret = if one.is_secret { " (only in what is secret)" } else { "" };
            audit(came, who, &format!("{}{secret}", one.thing), &one.before, &one.after);
        }
        if let Some(rest) = all.len().checked_sub(MOST_TOLD).filter(|rest| *rest > 0) {
            let text = format!("{rest} more things: `lockgate config diff` shows them");
            audit(came, who, name, &Value::Null, &text.into());
        }
    }
}

/// What the audit log calls what is changed.
fn name_of(what: &What) -> String {
    match what {
        What::Set { section, name, .. } => format!("{section}.{name}"),
        What::Whole(_) => "config".to_owned(),
        What::Files => "config, as the files say".to_owned(),
        What::Version(number) => format!("config, as in version {number}"),
    }
}

fn took_ms(begun: Instant) -> f64 {
    (begun.elapsed().as_secs_f64() * 1e6).round() / 1e3
}

/// The changes that make the files say what a text does.
fn whole(source: &Source, text: &str) -> Result<Changes, Refused> {
    between(source.begin(), "the configuration sent", text, gateway::PLUGINS)
        .map_err(|report| refused(&report))
}

/// A report as the refusal of what was sent.
pub(crate) fn refused(report: &Report) -> Refused {
    Refused {
        problems: Some(report.to_json()),
        ..Refused::new(422, "config_refused", report.render(false))
    }
}

/// The references to the environment and to files in a text.
fn references(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("${").filter_map(|(at, _)| {
        let rest = text.get(at..)?;
        let is_one = rest.starts_with("${env:") || rest.starts_with("${file:");
        rest.find('}').filter(|_| is_one).and_then(|end| rest.get(..=end))
    })
}

/// Settles, at the start, what has become of changes while no gateway looked: a file may have taken
/// one over since, or say something newer.
pub(crate) fn settle_at_start(kept: &mut Kept, checked: &Checked) {
    let laid = checked.loaded.source.laid();
    if resolved(laid).is_empty() {
        return;
    }
    let mut changes = kept.changes().clone();
    changes.settle(laid);
    if let Err(error) = kept.keep(changes) {
        tracing::error!(%error, "changes that the files have settled stay on the disk");
    }
}

/// What became of changes that the files have something new to say about.
fn resolved(laid: &[Laid]) -> Vec<String> {
    let mut all = Vec::new();
    for one in laid {
        if one.outcome == Outcome::InForce {
            continue;
        }
        let thing = match one.name.as_str() {
            "" => one.section.clone(),
            name => format!("{}.{name}", one.section),
        };
        match one.outcome {
            Outcome::InForce => {}
            Outcome::Settled => all.push(format!("{thing}: the files say the same now")),
            Outcome::Overruled => {
                tracing::warn!(
                    "{thing}: the files have been changed since it was changed by the admin \
                     interface; what the files say is in force, that change is dropped"
                );
                all.push(format!("{thing}: the files were changed later, and are in force"));
            }
        }
    }
    all
}
