//! Gathers what is known of one address of one process.

use std::io::{BufRead as _, BufReader};

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::absent::{Built, FIRST_SPECIAL, SwapTypes, swap_of};
use super::address::{Address, Half, Level};
use super::entry::{Entries, Tables};
use super::page::Page;
use super::verdict::{Access, Huge, Place, Verdict, judge};
use crate::inspect::maps::look::address_bits;
use crate::inspect::maps::region::{Perm, Region};
use crate::inspect::maps::smaps;
use crate::inspect::pagemap::{Entry, FrameFlags, PAGE, Words};
use crate::inspect::subject::Subject;
use crate::inspect::unseen::Unseen;
use crate::sys::pagemap as scan;

/// The page frame at the end of a walk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// Its number.
    pub number: u64,
    /// Its flags.
    pub flags: Option<FrameFlags>,
    /// How many entries map it.
    pub mapped: Option<u64>,
    /// Its NUMA node and its zone.
    pub zone: Option<(u32, String)>,
}

/// Everything about one address.
#[derive(Debug)]
pub struct Walk {
    /// Whose.
    pub pid: i32,
    /// The process's name. Hostile.
    pub comm: String,
    /// The address.
    pub address: Address,
    /// The region it is in.
    pub region: Option<Region>,
    /// The entries on the way.
    pub entries: Option<Entries>,
    /// What the kernel makes of swap types.
    pub types: SwapTypes,
    /// Its word in the page map.
    pub pagemap: Option<Entry>,
    /// What the page is.
    pub page: Page,
    /// The frame it is in.
    pub frame: Option<Frame>,
    /// What a read would do, then a write.
    pub verdicts: [Verdict; 2],
    /// What could not be seen.
    pub unseen: Unseen,
}

/// Looks at one address.
pub fn look(subject: &Subject, tables: &dyn Tables, value: u64) -> Walk {
    let mut unseen = Unseen::default();
    let address = Address { value, five: address_bits() == 56 };
    let user = address.half() == Half::User;
    let regions = if user { regions(subject, &mut unseen) } else { Vec::new() };
    let at = regions.partition_point(|region| region.end <= value);
    let region = regions.get(at).filter(|region| region.holds(value));
    let entries = if address.half() == Half::NonCanonical {
        None
    } else {
        let read = tables.entries(subject.pid, value);
        unseen.keep("the page tables' own entries", read)
    };
    let pagemap = if user { word(subject, value, &mut unseen) } else { None };
    // Reading the kernel's symbols takes a tenth of a second: only where it matters.
    let types =
        if is_special(entries.as_ref(), pagemap) { swap_types() } else { SwapTypes::default() };
    let mut page = match (&entries, pagemap) {
        (Some(entries), None) => Page::of_entries(entries, &types),
        (Some(entries), Some(word)) => Page::of_entries(entries, &types).with_pagemap(word),
        (None, Some(word)) => Page::of_pagemap(word, &types),
        (None, None) => Page::Unknown,
    };
    let of_pool = region.map(|region| region.page_size).filter(|&size| size > PAGE);
    if let Some((zero, huge)) = scanned(subject, value) {
        // A scan tells that an entry is huge and not how large: a pool's pages are
        // as large as their region says.
        page = page.with_scan(zero, huge.then(|| of_pool.unwrap_or(2 << 20)));
    } else if let Some(size) = of_pool {
        page = page.with_size(size);
    }
    let frame = page.frame().map(|number| look_at_frame(number, &mut unseen));
    if let Some(flags) = frame.as_ref().and_then(|frame| frame.flags) {
        page = page.with_frame(flags);
    }
    if pagemap.is_some_and(|word| word.present() && word.frame().is_none()) && frame.is_none() {
        unseen.note("the frame", "this kernel shows frame numbers only to root");
    }
    let place = match (address.half(), region) {
        (Half::NonCanonical, _) => Place::NonCanonical,
        (Half::Kernel, _) => Place::Kernel,
        (Half::User, Some(region)) => Place::Region(region),
        (Half::User, None) => nowhere(subject, &regions, at, value),
    };
    let huge = Huge { anon: region.is_some_and(|region| may_be_huge(subject, region, value)) };
    let verdicts = [Access::Read, Access::Write].map(|access| judge(access, place, &page, huge));
    Walk {
        pid: subject.pid,
        comm: subject.comm.clone(),
        address,
        region: region.cloned(),
        entries,
        types,
        pagemap,
        page,
        frame,
        verdicts,
        unseen,
    }
}

fn regions(subject: &Subject, unseen: &mut Unseen) -> Vec<Region> {
    let exe = subject.exe.as_deref();
    let read =
        |name: &str| smaps::read(BufReader::with_capacity(1 << 16, subject.file(name)?), exe);
    let with_amounts = read("smaps").or_else(|_denied| read("maps"));
    unseen.keep("the region", with_amounts).unwrap_or_default()
}

fn word(subject: &Subject, value: u64, unseen: &mut Unseen) -> Option<Entry> {
    let read = subject.file("pagemap").and_then(|file| Words::new(file).word(value / PAGE));
    unseen.keep("the page map", read).map(Entry)
}

/// Whether a swap type stands here that may be none.
fn is_special(entries: Option<&Entries>, pagemap: Option<Entry>) -> bool {
    let raw = Level::ALL.into_iter().rev().find_map(|level| entries?.at(level).ok());
    let kinds =
        [raw.map(|raw| swap_of(raw).0), pagemap.and_then(Entry::swap).map(|(kind, _)| kind)];
    kinds.into_iter().flatten().any(|kind| kind >= FIRST_SPECIAL)
}

/// Whether it is the zero page, and whether a huge entry maps it.
fn scanned(subject: &Subject, value: u64) -> Option<(bool, bool)> {
    let start = value / PAGE * PAGE;
    let wanted = scan::PRESENT | scan::ZERO | scan::HUGE;
    let mut found = [scan::Stretch::default()];
    let pagemap = subject.file("pagemap").ok()?;
    let (count, _) = scan::scan(&pagemap, start, start + PAGE, wanted, &mut found).ok()?;
    let categories = found[0].categories;
    (count == 1).then_some((categories & scan::ZERO != 0, categories & scan::HUGE != 0))
}

/// What this kernel makes of the swap types, from its release and its symbols.
pub fn swap_types() -> SwapTypes {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let Ok(symbols) = std::fs::read_to_string("/proc/kallsyms") else {
        return SwapTypes::default();
    };
    let names = symbols.lines().filter_map(|line| line.split_ascii_whitespace().nth(2));
    SwapTypes::of(Built::from_symbols(&release, names))
}

fn look_at_frame(number: u64, unseen: &mut Unseen) -> Frame {
    let mut word = |path: &str| {
        unseen.keep("the frame's state", Words::open(path).and_then(|words| words.word(number)))
    };
    let flags = word("/proc/kpageflags").map(FrameFlags);
    let mapped = word("/proc/kpagecount");
    let zones = std::fs::read_to_string("/proc/zoneinfo").unwrap_or_default();
    Frame { number, flags, mapped, zone: zone_of(&zones, number) }
}

/// The node and zone of a frame, from `/proc/zoneinfo`.
pub fn zone_of(zoneinfo: &str, frame: u64) -> Option<(u32, String)> {
    let (mut node, mut zone, mut spanned) = (0, "", 0);
    for line in zoneinfo.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("Node"), Some(number)) => {
                node = number.trim_end_matches(',').parse().ok()?;
                zone = words.nth(1).unwrap_or_default();
                spanned = 0;
            }
            (Some("spanned"), Some(pages)) => spanned = pages.parse().ok()?,
            (Some("start_pfn:"), Some(first)) => {
                let first: u64 = first.parse().ok()?;
                if (first..first + spanned).contains(&frame) {
                    return Some((node, zone.to_owned()));
                }
            }
            _ => {}
        }
    }
    None
}

/// What lies around an address that no region holds.
fn nowhere<'a>(subject: &Subject, regions: &[Region], at: usize, value: u64) -> Place<'a> {
    /// `stack_guard_gap`: pages that the kernel keeps free below a stack.
    const GUARD: u64 = 256 * PAGE;
    let mut place = Place::Nowhere { address: value, stack_grows: false, stack_guard: false };
    let Some(stack) = regions.get(at).filter(|region| region.flags.has("gd")) else { return place };
    let limit = subject
        .text("limits")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("Max stack size"))?;
            line.split_ascii_whitespace().nth(3)?.parse::<u64>().ok()
        })
        .unwrap_or(u64::MAX);
    let below = at.checked_sub(1).map_or(0, |before| regions[before].end);
    let reach = stack.end.saturating_sub(limit).max(below.saturating_add(GUARD));
    if value / PAGE * PAGE >= reach {
        place = Place::Nowhere { address: value, stack_grows: true, stack_guard: false };
    } else if stack.start - value <= limit.max(GUARD) || value >= below {
        let near = value >= reach.saturating_sub(GUARD);
        place = Place::Nowhere { address: value, stack_grows: false, stack_guard: near };
    }
    place
}

/// Whether a first touch would get a huge page: the setting, the region's advice,
/// and 2 MiB around the address that are all the region's and all untouched.
fn may_be_huge(subject: &Subject, region: &Region, value: u64) -> bool {
    const HUGE: u64 = 2 << 20;
    let read = |name: &str| {
        let path = format!("/sys/kernel/mm/transparent_hugepage/{name}");
        std::fs::read_to_string(path).unwrap_or_default()
    };
    let mut setting = read("hugepages-2048kB/enabled");
    if setting.is_empty() || setting.contains("[inherit]") {
        setting = read("enabled");
    }
    let wanted = setting.contains("[always]") && !region.flags.has("nh")
        || setting.contains("[madvise]") && region.flags.has("hg");
    let start = value & !(HUGE - 1);
    let fits = region.inode == 0
        && region.page_size == PAGE
        && region.start <= start
        && start + HUGE <= region.end;
    let mut raw = [0; 4096];
    let mut untouched = |subject: &Subject| {
        let words = Words::new(subject.file("pagemap").ok()?);
        words.words(start / PAGE, &mut raw).ok().map(|mut words| words.all(|word| word >> 61 == 0))
    };
    wanted && fits && untouched(subject).unwrap_or(false)
}

/// An address as typed: `0x7f…`, bare hexadecimal of eight digits or more, or a
/// region's name with an offset: `[heap]+0x10`. A name alone means the first
/// page of it that is in memory.
pub fn parse(subject: &Subject, typed: &str) -> anyhow::Result<u64> {
    if let Some(address) = literal(typed) {
        return Ok(address);
    }
    let (name, offset) = match typed.rsplit_once('+') {
        Some((name, offset)) if literal_offset(offset).is_some() => (name, literal_offset(offset)),
        _ => (typed, None),
    };
    let exe = subject.exe.as_deref();
    let file = subject.file("maps").context("looking for the region")?;
    let regions = smaps::read(BufReader::new(file), exe).context("looking for the region")?;
    let exact = |region: &&Region| *region.name == *name || *region.path == *name;
    let with_perm = |region: &&Region| {
        let perm = name.rsplit_once(' ').and_then(|(name, perm)| Some((name, Perm::parse(perm)?)));
        perm.is_some_and(|(name, perm)| *region.name == *name && region.perm == perm)
    };
    let found = regions
        .iter()
        .find(exact)
        .or_else(|| regions.iter().find(with_perm))
        .or_else(|| regions.iter().find(|region| region.name.contains(name)));
    let Some(region) = found else {
        bail!(
            "{typed:?} is neither an address (0x…) nor a region of process {}: see vmtrace maps {}",
            subject.pid,
            subject.pid
        );
    };
    match offset {
        Some(offset) => region.start.checked_add(offset).context("the offset is too large"),
        None => Ok(first_present(subject, region).unwrap_or(region.start)),
    }
}

fn first_present(subject: &Subject, region: &Region) -> Option<u64> {
    let words = Words::new(subject.file("pagemap").ok()?);
    let mut raw = vec![0; 1 << 16];
    let pages = region.size().min(1 << 30) / PAGE;
    let mut page = 0;
    while page < pages {
        let found = words.words(region.start / PAGE + page, &mut raw).ok()?;
        let mut seen = 0;
        for (index, word) in found.enumerate() {
            seen += 1;
            if Entry(word).present() && page + (index as u64) < pages {
                return Some(region.start + (page + index as u64) * PAGE);
            }
        }
        page += if seen == 0 { return None } else { seen };
    }
    None
}

fn literal(typed: &str) -> Option<u64> {
    let digits = typed.strip_prefix("0x").or((typed.len() >= 8).then_some(typed))?;
    u64::from_str_radix(&digits.replace('_', ""), 16).ok()
}

fn literal_offset(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A line of `/proc/swaps` per type, in the order of the types.
pub fn swap_areas() -> Vec<String> {
    let Ok(file) = std::fs::File::open("/proc/swaps") else { return Vec::new() };
    let lines = BufReader::new(file).lines().map_while(Result::ok).skip(1);
    lines.filter_map(|line| line.split_ascii_whitespace().next().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_typed() {
        assert_eq!(literal("0x7f16_a556_4000"), Some(0x7f16_a556_4000));
        assert_eq!(literal("7f16a5564000"), Some(0x7f16_a556_4000));
        assert_eq!(literal("[heap]"), None);
        assert_eq!(literal("beef"), None, "too short to be told from a name");
        assert_eq!(literal_offset("0x10"), Some(16));
        assert_eq!(literal_offset("10"), Some(10));
    }

    #[test]
    fn a_frame_has_a_node_and_a_zone() {
        let text = "Node 0, zone      DMA\n  per-node stats\n        spanned  4095\n  start_pfn:           1\n\
                    Node 1, zone   Normal\n        spanned  1000\n  start_pfn:           8192\n";
        assert_eq!(zone_of(text, 5), Some((0, "DMA".to_owned())));
        assert_eq!(zone_of(text, 9000), Some((1, "Normal".to_owned())));
        assert_eq!(zone_of(text, 9192), None);
    }
}
