//! What is known of the page at an address, from whichever source there was.

use serde::Serialize;

use super::absent::{Absent, SwapTypes};
use super::address::Level;
use super::entry::{Decoded, Entries, decode};
use crate::inspect::pagemap::{Entry, FrameFlags};

/// The page at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Page {
    /// It is mapped.
    Mapped(Mapped),
    /// It is not.
    Absent(Absent),
    /// Neither the tables nor the page map could be read.
    Unknown,
}

/// A mapped page. What a source does not tell is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mapped {
    /// Its frame.
    pub frame: Option<u64>,
    /// Its size: of the entry that maps it.
    pub size: Option<u64>,
    /// It may be written without a fault.
    pub writable: Option<bool>,
    /// The processor may use it.
    pub accessible: Option<bool>,
    /// Writes go to a userfaultfd.
    pub uffd_wp: Option<bool>,
    /// It belongs to a file or is shared anonymous memory.
    pub file: Option<bool>,
    /// Nobody else maps it.
    pub exclusive: Option<bool>,
    /// It is the zero page.
    pub zero: Option<bool>,
}

impl Page {
    /// From a walk's entries.
    pub fn of_entries(entries: &Entries, types: &SwapTypes) -> Self {
        let read = Level::ALL
            .into_iter()
            .rev()
            .find_map(|level| entries.at(level).ok().map(|raw| decode(level, raw, types)));
        match read {
            Some(Decoded::Page { frame, size, writable, accessible, uffd_wp }) => {
                Self::Mapped(Mapped {
                    frame: Some(frame),
                    size: Some(size),
                    writable: Some(writable),
                    accessible: Some(accessible),
                    uffd_wp: Some(uffd_wp),
                    ..Mapped::default()
                })
            }
            Some(Decoded::Absent(absent)) => Self::Absent(absent),
            // A walk that ends at a table was refused further down.
            Some(Decoded::Table { .. }) | None => Self::Unknown,
        }
    }

    /// From a word of the page map.
    pub fn of_pagemap(word: Entry, types: &SwapTypes) -> Self {
        if word.guard() {
            return Self::Absent(Absent::Marker { uffd_wp: false, poisoned: false, guard: true });
        }
        if word.present() {
            return Self::Mapped(Mapped {
                frame: word.frame(),
                uffd_wp: Some(word.uffd_wp()),
                file: Some(word.file()),
                exclusive: Some(word.exclusive()),
                ..Mapped::default()
            });
        }
        Self::Absent(match word.swap() {
            Some((kind, offset)) => types.decode(kind, offset),
            None => Absent::Empty,
        })
    }

    /// Adds what the page map knows and the tables do not.
    #[must_use]
    pub fn with_pagemap(self, word: Entry) -> Self {
        let Self::Mapped(mapped) = self else { return self };
        // Between the two looks the page may have gone: then only one is right.
        if !word.present() {
            return self;
        }
        let (file, exclusive) = (Some(word.file()), Some(word.exclusive()));
        Self::Mapped(Mapped { file, exclusive, ..mapped })
    }

    /// Adds what the frame's flags tell.
    #[must_use]
    pub fn with_frame(self, flags: FrameFlags) -> Self {
        let Self::Mapped(mapped) = self else { return self };
        let zero = Some(flags.has(FrameFlags::ZERO));
        Self::Mapped(Mapped { zero, ..mapped })
    }

    /// Adds what a scan of the page map tells even without privilege (kernel 6.7).
    #[must_use]
    pub fn with_scan(self, zero: bool, huge: Option<u64>) -> Self {
        let Self::Mapped(mapped) = self else { return self };
        let size = mapped.size.or(huge);
        Self::Mapped(Mapped { zero: Some(zero), size, ..mapped })
    }

    /// Adds the size of a region's pages where no other source told it.
    #[must_use]
    pub fn with_size(self, size: u64) -> Self {
        let Self::Mapped(mapped) = self else { return self };
        Self::Mapped(Mapped { size: mapped.size.or(Some(size)), ..mapped })
    }

    /// The frame it is in.
    pub const fn frame(&self) -> Option<u64> {
        match self {
            Self::Mapped(mapped) => mapped.frame,
            Self::Absent(Absent::Special { frame, .. }) => *frame,
            Self::Absent(_) | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_page_map_agree_on_a_page() {
        let types = SwapTypes::default();
        let entries = Entries::new(
            false,
            [Some(0x1067), None, Some(0x2067), Some(0x3067), Some(0x8000_0001_2345_6867)],
        );
        let word = Entry(1 << 63 | 1 << 56 | 0x12_3456);
        let from_tables = Page::of_entries(&entries, &types).with_pagemap(word);
        let from_pagemap = Page::of_pagemap(word, &types);
        assert_eq!(from_tables.frame(), from_pagemap.frame());
        match (from_tables, from_pagemap) {
            (Page::Mapped(tables), Page::Mapped(map)) => {
                assert_eq!((tables.writable, map.writable), (Some(true), None));
                assert_eq!(tables.exclusive, map.exclusive);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refused_walk_is_unknown_and_an_empty_one_is_not() {
        let types = SwapTypes::default();
        let refused = Entries::new(false, [Some(0x1067), None, None, None, None]);
        assert_eq!(Page::of_entries(&refused, &types), Page::Unknown);
        let empty = Entries::new(false, [Some(0x1067), None, Some(0), None, None]);
        assert_eq!(Page::of_entries(&empty, &types), Page::Absent(Absent::Empty));
    }
}
