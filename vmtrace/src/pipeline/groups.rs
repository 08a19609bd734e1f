//! What cgroups are called, as far as the stream has told.

use std::collections::HashMap;

use vmtrace_common::record::{GroupName, PATH, hierarchy};

use super::{Observer, Pipeline};
use crate::region::Spread;
use crate::tally::By;
use crate::tally::keyed::Key;
use crate::term::escape;

/// Names that are kept: a recording must not eat memory.
const MOST: usize = 1 << 16;

/// Names by id, safe to show.
type Names = HashMap<u64, Box<str>, Spread>;

/// The names of cgroups of either hierarchy.
#[derive(Debug, Default)]
pub(super) struct Groups {
    unified: Names,
    memory: Names,
}

impl<O: Observer> Pipeline<O> {
    /// A name is told, which may come after the cgroup's first fault.
    pub(super) fn name_group(&mut self, name: &GroupName) {
        let id = name.cgroup;
        let unified = name.hierarchy == hierarchy::UNIFIED;
        let names = if unified { &mut self.groups.unified } else { &mut self.groups.memory };
        if names.len() >= MOST && !names.contains_key(&id) {
            return;
        }
        let len = usize::try_from(name.name_len).map_or(PATH, |len| len.min(PATH));
        let mut text = escape::bytes(&name.name[..len]);
        if names.get(&id).is_some_and(|known| **known != *text) {
            // Another host's, and both are counted here.
            text = format!("cgroup {id}");
        }
        let keyed = self.keyed.as_mut().filter(|_| unified && self.options.by == By::Cgroup);
        if let Some(keyed) = keyed {
            keyed.relabel(Key { process: u32::MAX, value: id }, &text);
        }
        names.insert(id, text.into());
    }

    /// Its path, or its number where that is all there is.
    pub(super) fn group_label(&self, id: u64) -> String {
        self.groups.unified.get(&id).map_or_else(|| format!("cgroup {id}"), ToString::to_string)
    }

    /// The path of a cgroup that limits memory, where it was told.
    pub fn memory_group(&self, id: u64) -> Option<&str> {
        self.groups.memory.get(&id).map(|name| &**name)
    }
}
