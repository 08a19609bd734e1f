//! A page-table entry, bit by bit.
//! <https://elixir.bootlin.com/linux/latest/source/arch/x86/include/asm/pgtable_types.h>

use serde::Serialize;

use super::absent::{Absent, SwapTypes, swap_of};
use super::address::Level;

/// Why there is no entry at a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unread {
    /// The entry above leads nowhere.
    NothingAbove,
    /// The entry above is a page itself.
    PageAbove,
    /// This kernel does not use the level.
    Folded,
    /// It could not be read.
    Refused,
}

/// The raw entry at each level, as read from a running kernel: what the eBPF
/// program hands over, and what the decoder starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries {
    /// Five levels are in use.
    pub five: bool,
    /// From the root down: [`Level::ALL`].
    pub raw: [Result<u64, Unread>; 5],
}

impl Entries {
    /// From the values that a walk met, `None` from where it stopped. What the
    /// walk did not reach gets its reason from the last entry that it met.
    pub fn new(five: bool, values: [Option<u64>; 5]) -> Self {
        let mut raw = [Err(Unread::NothingAbove); 5];
        let mut above = Unread::Refused;
        for (place, (level, value)) in raw.iter_mut().zip(Level::ALL.into_iter().zip(values)) {
            *place = match value {
                _ if level == Level::P4d && !five => Err(Unread::Folded),
                None => Err(above),
                Some(value) => {
                    above = match shape(level, value) {
                        Shape::Table => Unread::Refused,
                        Shape::Page => Unread::PageAbove,
                        Shape::NotPresent => Unread::NothingAbove,
                    };
                    Ok(value)
                }
            };
        }
        Self { five, raw }
    }

    /// The raw entry at a level.
    pub const fn at(&self, level: Level) -> Result<u64, Unread> {
        self.raw[level as usize]
    }
}

/// Gives a walk's entries.
pub trait Tables {
    /// The entries that translate an address of a process, or why there are none.
    fn entries(&self, pid: i32, address: u64) -> Result<Entries, String>;
}

/// No page tables to be had, and why.
#[derive(Clone, Debug)]
pub struct NoTables(pub String);

impl Tables for NoTables {
    fn entries(&self, _pid: i32, _address: u64) -> Result<Entries, String> {
        Err(self.0.clone())
    }
}

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
const PROT_NONE: u64 = 1 << 8;
const UFFD_WP: u64 = 1 << 10;
const FRAME: u64 = 0x000f_ffff_ffff_f000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Table,
    Page,
    NotPresent,
}

fn shape(level: Level, raw: u64) -> Shape {
    let here = raw & (PRESENT | PROT_NONE) != 0;
    match level {
        Level::Pte if here => Shape::Page,
        // While a huge page is being split, only this bit stays.
        Level::Pmd | Level::Pud if raw & LARGE != 0 => Shape::Page,
        Level::Pgd | Level::P4d | Level::Pud | Level::Pmd if raw & PRESENT != 0 => Shape::Table,
        Level::Pgd | Level::P4d | Level::Pud | Level::Pmd | Level::Pte => Shape::NotPresent,
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
pub enum Decoded {
    /// It leads to the next table.
    Table {
        /// The table's frame.
        frame: u64,
    },
    /// It maps a page.
    Page {
        /// The page's first frame.
        frame: u64,
        /// Its size in bytes.
        size: u64,
        /// It may be written without a fault.
        writable: bool,
        /// The processor may use it; if not, it is there but locked away:
        /// `PROT_NONE`, or a NUMA hint.
        accessible: bool,
        /// Writes go to a userfaultfd.
        uffd_wp: bool,
    },
    /// It maps nothing.
    Absent(Absent),
}

/// Decodes an entry.
pub fn decode(level: Level, raw: u64, types: &SwapTypes) -> Decoded {
    match shape(level, raw) {
        Shape::Table => Decoded::Table { frame: (raw & FRAME) >> 12 },
        Shape::Page => {
            let size = level.span(true);
            // Entries that the processor must not follow are inverted against L1TF.
            let physical = if raw & PRESENT == 0 { !raw } else { raw };
            let frame = (physical & FRAME & !(size - 1)) >> 12;
            Decoded::Page {
                frame,
                size,
                writable: raw & WRITE != 0 && raw & UFFD_WP == 0,
                accessible: raw & PRESENT != 0 || raw & PROT_NONE == 0,
                uffd_wp: raw & UFFD_WP != 0,
            }
        }
        Shape::NotPresent if raw == 0 => Decoded::Absent(Absent::Empty),
        Shape::NotPresent => {
            let (kind, offset) = swap_of(raw);
            Decoded::Absent(types.decode(kind, offset))
        }
    }
}

/// The bits of an entry that are set, by name.
pub fn bits(level: Level, raw: u64) -> Vec<String> {
    let mut names = Vec::new();
    if shape(level, raw) == Shape::NotPresent {
        let swap = [(1, "soft-dirty"), (2, "userfaultfd write-protected"), (3, "exclusive")];
        let set = swap.iter().filter(|(bit, _)| raw != 0 && raw >> bit & 1 == 1);
        return set.map(|(_, name)| (*name).to_owned()).collect();
    }
    let page = shape(level, raw) == Shape::Page;
    let large = page && level != Level::Pte;
    for (bit, name) in NAMES {
        let word = match bit {
            // The same bit is PROT_NONE in an entry that is not present.
            8 if raw & PRESENT == 0 => "prot-none",
            7..=11 | 57 | 58 if !page => "",
            7 if level == Level::Pte => "pat",
            12 if !large => "",
            _ => name,
        };
        if raw >> bit & 1 == 1 && !word.is_empty() {
            names.push(word.to_owned());
        }
    }
    let key = raw >> 59 & 0xf;
    if page && key != 0 {
        names.push(format!("key {key}"));
    }
    names
}

/// The bits that have a name; protection keys are four together.
const NAMES: [(u32, &str); 16] = [
    (0, "present"),
    (1, "writable"),
    (2, "user"),
    (3, "write-through"),
    (4, "cache-off"),
    (5, "accessed"),
    (6, "dirty"),
    (7, "huge"),
    (8, "global"),
    (9, "special"),
    (10, "userfaultfd write-protected"),
    (11, "soft-dirty"),
    (12, "pat"),
    (57, "software-4"),
    (58, "software-5"),
    (63, "no-execute"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: u64 = 0x0000_0001_2345_6067;

    #[test]
    fn a_small_page() {
        let raw = 0x8000_0001_2345_6867;
        let types = SwapTypes::default();
        let page = decode(Level::Pte, raw, &types);
        let expected = Decoded::Page {
            frame: 0x12_3456,
            size: 4096,
            writable: true,
            accessible: true,
            uffd_wp: false,
        };
        assert_eq!(page, expected);
        let names =
            ["present", "writable", "user", "accessed", "dirty", "soft-dirty", "no-execute"];
        assert_eq!(bits(Level::Pte, raw), names);
        assert_eq!(decode(Level::Pmd, TABLE, &types), Decoded::Table { frame: 0x12_3456 });
    }

    #[test]
    fn huge_pages_at_two_levels() {
        let types = SwapTypes::default();
        let at = |level| match decode(level, 0x8000_0002_c000_08e7, &types) {
            Decoded::Page { frame, size, .. } => (frame, size),
            Decoded::Table { .. } | Decoded::Absent(_) => (0, 0),
        };
        assert_eq!(at(Level::Pmd), (0x2c_0000, 2 << 20));
        assert_eq!(at(Level::Pud), (0x2c_0000, 1 << 30));
        assert!(bits(Level::Pmd, 0xe7).contains(&"huge".to_owned()));
        assert!(bits(Level::Pte, 0xe7).contains(&"pat".to_owned()));
    }

    #[test]
    fn an_inaccessible_page_is_inverted() {
        // PROT_NONE: present off, bit 8 on, frame 0x123456 inverted.
        let raw = (!0x0000_0001_2345_6000 & FRAME) | 1 << 8 | 1 << 5 | 1 << 63;
        match decode(Level::Pte, raw, &SwapTypes::default()) {
            Decoded::Page { frame, accessible, .. } => {
                assert_eq!((frame, accessible), (0x12_3456, false));
            }
            other @ (Decoded::Table { .. } | Decoded::Absent(_)) => panic!("{other:?}"),
        }
        assert!(bits(Level::Pte, raw).contains(&"prot-none".to_owned()));
    }

    #[test]
    fn protection_keys_and_userfaultfd() {
        let raw = 5 << 59 | 0x467;
        assert!(bits(Level::Pte, raw).contains(&"key 5".to_owned()));
        match decode(Level::Pte, raw, &SwapTypes::default()) {
            Decoded::Page { writable, uffd_wp, .. } => {
                assert_eq!((writable, uffd_wp), (false, true));
            }
            other @ (Decoded::Table { .. } | Decoded::Absent(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_not_read_says_why() {
        let entries = Entries::new(false, [Some(TABLE), None, Some(TABLE), Some(0xe7), None]);
        assert_eq!(entries.at(Level::P4d), Err(Unread::Folded));
        assert_eq!(entries.at(Level::Pte), Err(Unread::PageAbove));
        let entries = Entries::new(true, [Some(TABLE), Some(0), None, None, None]);
        assert_eq!(entries.at(Level::Pte), Err(Unread::NothingAbove));
        let entries = Entries::new(true, [Some(TABLE), None, None, None, None]);
        assert_eq!(entries.at(Level::P4d), Err(Unread::Refused));
        let entries = Entries::new(false, [None; 5]);
        assert_eq!(entries.at(Level::Pgd), Err(Unread::Refused));
    }
}
