//! What cgroups are called, as far as the stream has told.

use std::collections::HashMap;

use vmtrace_common::record::{GroupName, PATH};

use super::{Observer, Pipeline};
use crate::region::Spread;
use crate::tally::By;
use crate::tally::keyed::Key;
use crate::term::escape;

/// Names that are kept: a recording must not eat memory.
const MOST: usize = 1 << 16;

/// Names by id, safe to show.
pub(super) type Groups = HashMap<u64, Box<str>, Spread>;

impl<O: Observer> Pipeline<O> {
    /// A name is told, which may come after the cgroup's first fault.
    pub(super) fn name_group(&mut self, name: &GroupName) {
        let id = name.cgroup;
        if self.groups.len() >= MOST && !self.groups.contains_key(&id) {
            return;
        }
        let len = usize::try_from(name.name_len).map_or(PATH, |len| len.min(PATH));
        let mut text = escape::bytes(&name.name[..len]);
        if self.groups.get(&id).is_some_and(|known| **known != *text) {
            // Another host's, and both are counted here.
            text = format!("cgroup {id}");
        }
        if let Some(keyed) = self.keyed.as_mut().filter(|_| self.options.by == By::Cgroup) {
            keyed.relabel(Key { process: u32::MAX, value: id }, &text);
        }
        self.groups.insert(id, text.into());
    }

    /// Its path, or its number where that is all there is.
    pub(super) fn group_label(&self, id: u64) -> String {
        self.groups.get(&id).map_or_else(|| format!("cgroup {id}"), ToString::to_string)
    }
}
