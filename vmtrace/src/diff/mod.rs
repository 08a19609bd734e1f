//! Two recordings compared: what each class, kind and region was and is,
//! whether that is more than noise, and a verdict that a build can fail on.

mod change;
mod condition;
mod side;
mod story;
mod text;

pub use change::{Change, Noise};
pub use condition::{Condition, Verdict};
pub use side::{Group, Side};
pub use text::write as write_text;

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::fault::{Class, Kind};

/// The JSON's name.
pub const SCHEMA: &str = "vmtrace.diff/1";

/// Two recordings side by side.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Diff {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The first recording: what was.
    pub before: Run,
    /// The second: what is.
    pub after: Run,
    /// Counts were compared per second: the runs were not of whole commands.
    pub per_second: bool,
    /// Whether anything changed beyond noise.
    pub changed: bool,
    /// What changed, in sentences.
    pub sentences: Vec<String>,
    /// All faults.
    pub all: Change,
    /// The classes.
    pub classes: Vec<Change>,
    /// The kinds that either has.
    pub kinds: Vec<Change>,
    /// The regions that either has, those that changed and cost most first.
    pub regions: Vec<Change>,
    /// How many regions there were in all.
    pub regions_total: usize,
    /// What `--fail-if` asked, and what came of it.
    pub conditions: Vec<Verdict>,
}

/// One of the two.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Run {
    /// Its file.
    pub file: String,
    /// What was traced.
    pub target: String,
    /// Where.
    pub host: String,
    /// By which backend.
    pub backend: String,
    /// How long.
    pub duration_ns: u64,
    /// How many faults.
    pub faults: u64,
}

impl Diff {
    /// Compares; `top` regions are kept.
    pub fn of(before: &Side, after: &Side, conditions: &[Condition], top: usize) -> Self {
        // Whole commands are compared by what they took; a stretch of a
        // service's life by what it took a second.
        let per_second = !(before.is_command() && after.is_command());
        let scale = per_second.then_some((before.duration_ns, after.duration_ns));
        let change = |name: &str, was: &Group, is: &Group| Change::new(name, was, is, scale);
        let classes: Vec<_> = Class::ALL
            .into_iter()
            .map(|class| change(class.name(), before.class(class), after.class(class)))
            .collect();
        let kinds: Vec<_> = Kind::ALL
            .into_iter()
            .filter(|&kind| before.kind(kind).count + after.kind(kind).count > 0)
            .map(|kind| change(kind.name(), before.kind(kind), after.kind(kind)))
            .collect();
        let names: BTreeSet<&String> = before.regions.keys().chain(after.regions.keys()).collect();
        let mut regions: Vec<_> = names
            .into_iter()
            .map(|name| {
                let of = |side: &'_ Side| side.regions.get(name).cloned().unwrap_or_default();
                change(name, &of(before), &of(after))
            })
            .collect();
        regions.sort_by_key(|change| std::cmp::Reverse((change.is_change(), change.weight())));
        let all = change("all", &before.all, &after.all);
        let changed = all.is_change()
            || classes.iter().chain(&kinds).any(Change::is_change)
            || regions.iter().any(|region| region.count.is_change());
        let regions_total = regions.len();
        let sentences = story::sentences(&kinds, &regions);
        regions.truncate(top);
        Self {
            schema: SCHEMA,
            before: before.run(),
            after: after.run(),
            per_second,
            changed,
            sentences,
            all,
            classes,
            kinds,
            regions,
            regions_total,
            conditions: conditions.iter().map(|one| one.judge(before, after)).collect(),
        }
    }

    /// Whether a build should fail.
    pub fn fails(&self) -> bool {
        self.conditions.iter().any(|verdict| verdict.holds)
    }
}

/// The diff as JSON, followed by a newline.
pub fn write_json(out: &mut dyn Write, diff: &Diff) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, diff)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests;
