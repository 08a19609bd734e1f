//! What cgroups are called, as far as the stream has told.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

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
        let len = usize::try_from(name.name_len).map_or(PATH, |len| len.min(PATH));
        let text = escape::bytes(&name.name[..len]);
        if name.hierarchy != hierarchy::UNIFIED {
            keep(&mut self.groups.memory, id, &text);
        }
        if name.hierarchy == hierarchy::MEMORY {
            return;
        }
        let text = keep(&mut self.groups.unified, id, &text);
        let keyed = self.keyed.as_mut().filter(|_| self.options.by == By::Cgroup);
        if let (Some(keyed), Some(text)) = (keyed, text) {
            keyed.relabel(Key { process: u32::MAX, value: id }, text);
        }
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

/// Keeps a name, and answers what to call the cgroup; nothing where there is no room.
fn keep<'a>(names: &'a mut Names, id: u64, text: &str) -> Option<&'a str> {
    let room = names.len() < MOST;
    match names.entry(id) {
        Entry::Occupied(known) => {
            let known = known.into_mut();
            if **known != *text {
                // Another host's, and both are counted here.
                *known = format!("cgroup {id}").into();
            }
            Some(known)
        }
        Entry::Vacant(place) if room => Some(place.insert(text.into())),
        Entry::Vacant(_) => None,
    }
}
