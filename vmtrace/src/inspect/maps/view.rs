//! Which regions are shown, in which order, and what they are added up by.

use std::collections::HashMap;
use std::sync::Arc;

use clap::ValueEnum;

use super::field::{Amounts, Field};
use super::pages::Pages;
use super::region::{Part, Perm, Region};

/// What a row stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// One region.
    #[default]
    Region,
    /// Every region of a file, a library, a name.
    Object,
    /// Every region that plays the same part: text, heap, libraries …
    Part,
}

/// What rows are ordered by. Amounts come largest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// The order of the addresses.
    #[default]
    Address,
    /// Size.
    Size,
    /// Resident.
    Rss,
    /// The proportional share.
    Pss,
    /// What must be written before it can be dropped.
    Dirty,
    /// Anonymous memory.
    Anon,
    /// In swap.
    Swap,
    /// In huge pages.
    Huge,
    /// By name.
    Name,
}

/// What to show of an address space.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// What a row stands for.
    pub by: By,
    /// The order of the rows.
    pub sort: Sort,
    /// Only regions whose name, path, part or permissions hold this, or which
    /// hold this address.
    pub filter: Option<String>,
    /// Every column.
    pub all: bool,
    /// Sizes in KiB instead of rounded to a unit.
    pub exact: bool,
    /// Only so many rows.
    pub top: Option<usize>,
}

impl View {
    /// Whether a region is to be shown.
    pub fn wants(&self, region: &Region) -> bool {
        let Some(filter) = &self.filter else { return true };
        let address = filter.strip_prefix("0x").map(|digits| u64::from_str_radix(digits, 16));
        if let Some(Ok(address)) = address {
            return region.holds(address);
        }
        region.name.contains(filter.as_str())
            || region.path.contains(filter.as_str())
            || region.part.word() == filter
            || region.perm.to_string() == *filter
    }

    /// The rows to show, in order.
    pub fn rows<'a>(&self, regions: &'a [Region]) -> Vec<Row<'a>> {
        let wanted = regions.iter().filter(|region| self.wants(region));
        let mut rows: Vec<Row<'a>> = match self.by {
            By::Region => wanted.map(Row::One).collect(),
            By::Object => grouped(wanted, |region| (object(&region.name), region.part)),
            By::Part => grouped(wanted, |region| (region.part.word(), region.part)),
        };
        let amount = |row: &Row<'_>, of: fn(&Amounts) -> u64| std::cmp::Reverse(of(row.bytes()));
        match self.sort {
            Sort::Address => {}
            Sort::Size => rows.sort_by_key(|row| amount(row, |bytes| bytes.of(Field::Size))),
            Sort::Rss => rows.sort_by_key(|row| amount(row, |bytes| bytes.of(Field::Rss))),
            Sort::Pss => rows.sort_by_key(|row| amount(row, |bytes| bytes.of(Field::Pss))),
            Sort::Dirty => rows.sort_by_key(|row| amount(row, Amounts::dirty)),
            Sort::Anon => rows.sort_by_key(|row| amount(row, |bytes| bytes.of(Field::Anonymous))),
            Sort::Swap => rows.sort_by_key(|row| amount(row, |bytes| bytes.of(Field::Swap))),
            Sort::Huge => rows.sort_by_key(|row| amount(row, Amounts::huge)),
            Sort::Name => rows.sort_by(|one, other| one.name().cmp(other.name())),
        }
        rows.truncate(self.top.unwrap_or(usize::MAX));
        rows
    }
}

/// The bss of a library belongs to the library; each thread's stack to one row.
fn object(name: &str) -> &str {
    if name.starts_with("[stack:") {
        "[stack:*]"
    } else {
        name.strip_suffix(" bss").unwrap_or(name)
    }
}

/// Regions that were added up.
#[derive(Clone, Debug)]
pub struct Group {
    /// What they have in common.
    pub name: Arc<str>,
    /// The part that the first one plays.
    pub part: Part,
    /// How many they are.
    pub count: usize,
    /// Their amounts.
    pub bytes: Amounts,
    /// Their pages by state, in bytes: zero, absent; `None` where one is unknown.
    pub pages: Option<(u64, u64)>,
}

/// A row: one region, or several added up.
#[derive(Clone, Debug)]
pub enum Row<'a> {
    /// One region.
    One(&'a Region),
    /// Several.
    Many(Box<Group>),
}

impl Row<'_> {
    /// Its amounts.
    pub fn bytes(&self) -> &Amounts {
        match self {
            Self::One(region) => &region.bytes,
            Self::Many(group) => &group.bytes,
        }
    }

    /// Its name. Hostile.
    pub fn name(&self) -> &str {
        match self {
            Self::One(region) => &region.name,
            Self::Many(group) => &group.name,
        }
    }

    /// Its part.
    pub fn part(&self) -> Part {
        match self {
            Self::One(region) => region.part,
            Self::Many(group) => group.part,
        }
    }

    /// Its permissions, where it is one region.
    pub fn perm(&self) -> Option<Perm> {
        match self {
            Self::One(region) => Some(region.perm),
            Self::Many(_) => None,
        }
    }

    /// Its zero pages and its absent ones, in bytes.
    pub fn pages(&self) -> Option<(u64, u64)> {
        match self {
            Self::One(region) => region.pages.map(|pages| (pages.zero(), pages.absent())),
            Self::Many(group) => group.pages,
        }
    }
}

fn add_pages(sum: Option<(u64, u64)>, pages: Option<Pages>) -> Option<(u64, u64)> {
    let ((zero, absent), pages) = (sum?, pages?);
    Some((zero + pages.zero(), absent + pages.absent()))
}

/// Adds regions up by a key, in the order in which the keys were first met.
fn grouped<'a>(
    regions: impl Iterator<Item = &'a Region>,
    key: impl Fn(&Region) -> (&str, Part),
) -> Vec<Row<'static>> {
    let mut groups: Vec<Group> = Vec::new();
    let mut known: HashMap<Box<str>, usize> = HashMap::new();
    for region in regions {
        let (name, part) = key(region);
        let at = known.get(name).copied().unwrap_or_else(|| {
            known.insert(Box::from(name), groups.len());
            let (bytes, pages) = (Amounts::default(), Some((0, 0)));
            groups.push(Group { name: Arc::from(name), part, count: 0, bytes, pages });
            groups.len() - 1
        });
        let group = &mut groups[at];
        group.count += 1;
        group.bytes.add(&region.bytes);
        group.pages = add_pages(group.pages, region.pages);
    }
    groups.into_iter().map(|group| Row::Many(Box::new(group))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::maps::smaps;

    const TEXT: &str = "\
1000-3000 r-xp 0 0:1 7 /lib/libc.so.6
Rss: 4 kB
3000-4000 rw-p 0 0:1 7 /lib/libc.so.6
Rss: 4 kB
4000-6000 rw-p 0 0:0 0
Rss: 8 kB
8000-9000 rw-p 0 0:0 0 [heap]
Rss: 2 kB
";

    fn names(view: &View) -> Vec<String> {
        let regions = smaps::read(TEXT.as_bytes(), None).unwrap();
        view.rows(&regions)
            .iter()
            .map(|row| format!("{} {}", row.name(), row.bytes().of(Field::Rss) / 1024))
            .collect()
    }

    #[test]
    fn a_librarys_bss_is_the_librarys() {
        let view = View { by: By::Object, sort: Sort::Rss, ..View::default() };
        assert_eq!(names(&view), ["libc.so.6 16", "[heap] 2"]);
        let view = View { by: By::Part, ..View::default() };
        assert_eq!(names(&view), ["libraries 16", "heap 2"]);
    }

    #[test]
    fn filters_by_name_part_permissions_and_address() {
        let with = |filter: &str| {
            names(&View { filter: Some(filter.to_owned()), ..View::default() }).len()
        };
        assert_eq!(with("libc"), 3);
        assert_eq!(with("heap"), 1);
        assert_eq!(with("rw-p"), 3);
        assert_eq!(with("0x4fff"), 1);
        assert_eq!(with("0x7000"), 0);
    }

    #[test]
    fn sorts_and_cuts() {
        let view = View { sort: Sort::Size, top: Some(2), ..View::default() };
        assert_eq!(names(&view), ["libc.so.6 4", "libc.so.6 bss 8"]);
    }
}
