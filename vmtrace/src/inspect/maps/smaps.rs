//! Reads `smaps` as it streams by: a process with 60 000 regions has 45 MB of
//! it, so nothing but the regions themselves is kept. (A map of strings per
//! region, as the `procfs` crate makes, would take three times the room that
//! the whole command may.)

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::sync::Arc;

use super::field::{Amounts, Field, VmFlags};
use super::name::{Clues, name};
use super::region::{Part, Perm, Region};

/// Names that many regions share are stored once.
#[derive(Debug, Default)]
struct Names(HashMap<Box<str>, Arc<str>>);

impl Names {
    fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let fresh: Arc<str> = Arc::from(text);
        self.0.insert(Box::from(text), Arc::clone(&fresh));
        fresh
    }
}

/// Reads `smaps`, or `maps`, which is the same without amounts. Lines that make
/// no sense are passed over: a kernel may say more than is known here.
pub fn read(mut source: impl BufRead, exe: Option<&str>) -> io::Result<Vec<Region>> {
    let mut regions: Vec<Region> = Vec::new();
    let mut names = Names::default();
    let mut line = Vec::with_capacity(256);
    loop {
        line.clear();
        if source.read_until(b'\n', &mut line)? == 0 {
            return Ok(regions);
        }
        let text = line.trim_ascii_end();
        // A field starts with a capital, an address with a lower-case digit.
        if text.first().is_some_and(u8::is_ascii_uppercase) {
            if let Some(region) = regions.last_mut() {
                field(text, region);
            }
        } else if let Some(region) = head(text, exe, regions.last(), &mut names) {
            regions.push(region);
        }
    }
}

/// Reads the amounts of `smaps_rollup`, with the fields only it has.
pub fn rollup(text: &str) -> (Amounts, Vec<(String, u64)>) {
    let mut amounts = Amounts::default();
    let mut others = Vec::new();
    for (key, bytes) in text.lines().skip(1).filter_map(|line| amount(line.as_bytes())) {
        match Field::named(key) {
            Some(field) => amounts.set(field, bytes),
            None => others.push((String::from_utf8_lossy(key).into_owned(), bytes)),
        }
    }
    (amounts, others)
}

/// `Rss:   12 kB`.
fn amount(line: &[u8]) -> Option<(&[u8], u64)> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let digits = line[colon + 1..].trim_ascii().strip_suffix(b" kB")?;
    let kib = digits.iter().try_fold(0u64, |sum, byte| {
        byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0'))
    })?;
    Some((&line[..colon], kib * 1024))
}

fn field(line: &[u8], region: &mut Region) {
    if let Some((key, bytes)) = amount(line) {
        if let Some(field) = Field::named(key) {
            region.bytes.set(field, bytes);
        } else if key == b"KernelPageSize" {
            region.page_size = bytes;
        }
    } else if let Some(flags) = line.strip_prefix(b"VmFlags:") {
        region.flags = VmFlags::parse(&String::from_utf8_lossy(flags));
    }
}

/// `start-end perm offset dev inode   path`.
fn head(
    line: &[u8],
    exe: Option<&str>,
    last: Option<&Region>,
    names: &mut Names,
) -> Option<Region> {
    let line = String::from_utf8_lossy(line);
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let (start, end) = (hex(start)?, hex(end)?);
    let perm = Perm::parse(words.next()?)?;
    let offset = hex(words.next()?)?;
    let (major, minor) = words.next()?.split_once(':')?;
    let device = (u32::try_from(hex(major)?).ok()?, u32::try_from(hex(minor)?).ok()?);
    let inode = words.next()?.parse().ok()?;
    let path = unescape(words.next().unwrap_or_default().trim_start());
    let neighbour = last.filter(|last| last.end == start);
    let (part, shown) = name(Clues {
        path: &path,
        perm,
        exe,
        before: neighbour.map(|before| (before.part, &*before.name)),
        after_data: neighbour.is_some_and(has_bss_behind),
    });
    let mut bytes = Amounts::default();
    bytes.set(Field::Size, end.checked_sub(start)?);
    Some(Region {
        start,
        end,
        perm,
        part,
        name: names.get(&shown),
        path: names.get(&path),
        offset,
        device,
        inode,
        bytes,
        flags: VmFlags::default(),
        page_size: 4096,
        pages: None,
        nodes: Vec::new(),
    })
}

/// The writable, private end of a program or library: what comes right behind
/// it without a file is its bss.
fn has_bss_behind(region: &Region) -> bool {
    matches!(region.part, Part::Data | Part::Library)
        && region.inode != 0
        && region.perm.write()
        && !region.perm.shared()
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// The kernel writes a newline in a path as `\012`.
fn unescape(path: &str) -> String {
    path.replace("\\012", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
55d0c0a00000-55d0c0a02000 r--p 00000000 fe:00 247030                     /usr/bin/ca\\012t
Size:                  8 kB
KernelPageSize:        4 kB
Rss:                   8 kB
FutureField:           9 kB
THPeligible:           0
VmFlags: rd mr mw me
55d0c0a02000-55d0c0a03000 rw-p 00002000 fe:00 247030                     /usr/bin/ca\\012t
Rss:                   4 kB
55d0c0a03000-55d0c0a05000 rw-p 00000000 00:00 0
Rss:                   0 kB
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
";

    #[test]
    fn regions_stream_in() {
        let regions = read(TEXT.as_bytes(), Some("/usr/bin/ca\nt")).unwrap();
        let names: Vec<_> = regions.iter().map(|region| &*region.name).collect();
        assert_eq!(names, ["ca\nt", "ca\nt", "ca\nt bss", "[vsyscall]"]);
        assert_eq!(regions[0].get(Field::Rss), Some(8192));
        assert_eq!(regions[1].get(Field::Ksm), None);
        assert_eq!(regions[0].device, (0xfe, 0));
        assert_eq!(regions[2].part, Part::Bss);
        assert!(regions[0].flags.has("me"));
        assert_eq!(regions[3].end, 0xffff_ffff_ff60_1000);
    }

    #[test]
    fn damaged_text_is_passed_over() {
        let text = "garbage\n1-0 r--p 0 0:0 0\nRss: x kB\n\n5-6 r--p 0 0:0 0 \nRss: 4";
        let regions = read(text.as_bytes(), None).unwrap();
        assert_eq!(regions.len(), 1);
        assert_eq!(regions[0].get(Field::Rss), None);
    }

    #[test]
    fn a_rollup_adds_its_own_fields() {
        let text = "5584-7ffc ---p 00000000 00:00 0    [rollup]\nRss: 4 kB\nPss_Anon: 2 kB\n";
        let (amounts, others) = rollup(text);
        assert_eq!(amounts.get(Field::Rss), Some(4096));
        assert_eq!(others, [("Pss_Anon".to_owned(), 2048)]);
    }
}
