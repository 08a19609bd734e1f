//! What the kernel says about memory without being traced: `/proc/self/maps`,
//! `pagemap` and `smaps`. Scenarios use it to know, not to guess, what became
//! of their pages.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use anyhow::Context as _;

use super::sys::{Area, PAGE};

/// One line of `/proc/self/maps`.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) range: Range<usize>,
    pub(super) permissions: String,
    pub(super) name: String,
}

/// `/proc/self/maps`.
pub(super) fn maps() -> anyhow::Result<Vec<Line>> {
    let text = std::fs::read_to_string("/proc/self/maps").context("read /proc/self/maps")?;
    Ok(text.lines().filter_map(parse_line).collect())
}

fn parse_line(line: &str) -> Option<Line> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?.to_owned();
    let name = fields.nth(3).unwrap_or_default().trim_start().to_owned();
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some(Line { range: number(start)?..number(end)?, permissions, name })
}

/// The name of the region at an address; empty where it has none.
pub(super) fn region(address: usize) -> anyhow::Result<String> {
    let line = maps()?.into_iter().find(|line| line.range.contains(&address));
    Ok(line.map(|line| line.name).unwrap_or_default())
}

/// The first mapping of that name.
pub(super) fn named(name: &str) -> anyhow::Result<Option<Range<usize>>> {
    Ok(maps()?.into_iter().find(|line| line.name == name).map(|line| line.range))
}

/// One page's entry in `/proc/self/pagemap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(u64);

impl Entry {
    /// In memory and in the page tables.
    pub(super) fn present(self) -> bool {
        self.0 >> 63 & 1 == 1
    }

    /// Swapped out.
    pub(super) fn swapped(self) -> bool {
        self.0 >> 62 & 1 == 1
    }

    /// The page frame, which only root is told.
    pub(super) fn frame(self) -> Option<u64> {
        Some(self.0 & ((1 << 55) - 1)).filter(|&frame| self.present() && frame != 0)
    }
}

/// The entries of an area's pages. Reading them faults nothing in.
pub(super) fn pagemap(area: Area) -> io::Result<Vec<Entry>> {
    let file = File::open("/proc/self/pagemap")?;
    let mut bytes = vec![0u8; area.pages() * 8];
    file.read_exact_at(&mut bytes, (area.start() / PAGE * 8) as u64)?;
    let entry = |bytes: &[u8; 8]| Entry(u64::from_ne_bytes(*bytes));
    Ok(bytes.as_chunks::<8>().0.iter().map(entry).collect())
}

/// How many of an area's pages are in the page tables.
pub(super) fn present(area: Area) -> io::Result<usize> {
    Ok(pagemap(area)?.into_iter().filter(|entry| entry.present()).count())
}

/// How many of an area's pages are swapped out.
pub(super) fn swapped(area: Area) -> io::Result<usize> {
    Ok(pagemap(area)?.into_iter().filter(|entry| entry.swapped()).count())
}

/// How many pages changed their frame; `None` where the frames are not told.
pub(super) fn moved(before: &[Entry], after: &[Entry]) -> Option<usize> {
    let mut moved = 0;
    for (before, after) in before.iter().zip(after) {
        moved += usize::from(before.frame()? != after.frame()?);
    }
    Some(moved)
}

/// A field of `/proc/self/smaps`, in kB, summed over the mappings inside an area.
pub(super) fn smaps(area: Area, field: &str) -> anyhow::Result<usize> {
    let text = std::fs::read_to_string("/proc/self/smaps").context("read /proc/self/smaps")?;
    let mut inside = false;
    let mut sum = 0;
    for line in text.lines() {
        if let Some(found) = parse_line(line) {
            inside = found.range.start >= area.start() && found.range.end <= area.end();
        } else if inside && let Some(rest) = line.strip_prefix(field) {
            let value = rest.trim_start_matches(':').trim().trim_end_matches("kB").trim();
            sum += value.parse::<usize>().with_context(|| format!("{line:?} in smaps"))?;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_is_read() {
        let line = parse_line("7f00-7f20 rw-p 00000000 08:01 131  /tmp/a b (deleted)").unwrap();
        assert_eq!(line.range, 0x7f00..0x7f20);
        assert_eq!(line.permissions, "rw-p");
        assert_eq!(line.name, "/tmp/a b (deleted)");
        assert_eq!(parse_line("7f00-7f20 rw-p 00000000 00:00 0").unwrap().name, "");
        assert!(parse_line("Rss:                   4 kB").is_none());
    }

    #[test]
    fn a_touched_page_is_present() {
        let area = Area::anonymous(4).unwrap();
        assert_eq!(present(area).unwrap(), 0);
        crate::demo::sys::touch::write(area.part(1..3));
        assert_eq!(present(area).unwrap(), 2);
    }
}
