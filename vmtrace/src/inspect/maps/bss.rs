//! Anonymous memory right behind a library's data is its bss only where the
//! library asks for one: the allocator's arenas land there just as often. The
//! program headers settle it.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::region::{Part, Region};
use crate::inspect::subject::Subject;

/// Takes the name away from regions that are not what the file's headers ask for.
pub fn check(subject: &Subject, regions: &mut [Region]) {
    let mut known: HashMap<Arc<str>, Option<u64>> = HashMap::new();
    let mut path: Arc<str> = Arc::from("");
    for region in regions {
        if !region.path.is_empty() {
            path = Arc::clone(&region.path);
        } else if region.name.ends_with(" bss") {
            let asked =
                *known.entry(Arc::clone(&path)).or_insert_with(|| asked(subject, &path).ok());
            // Where the file cannot be read, its neighbour's name is the best guess.
            if asked.is_some_and(|asked| asked == 0 || region.size() > asked.saturating_mul(2)) {
                region.part = Part::Anonymous;
                region.name = Arc::from("[anon]");
            }
        }
    }
}

/// How much anonymous memory a file asks for behind its data.
fn asked(subject: &Subject, path: &str) -> io::Result<u64> {
    // As the process sees it, which may live in another root.
    let file = subject.file(&format!("root/{}", path.trim_start_matches('/')))?;
    let mut raw = [0; 4096];
    let read = file.read_at(&mut raw, 0)?;
    bss(&raw[..read]).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// The pages behind the file's own in the last writable segment of an ELF file,
/// from its first bytes.
pub fn bss(file: &[u8]) -> Option<u64> {
    const LOAD: u64 = 1;
    const WRITE: u64 = 2;
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = number(file, 32, 8)?;
    let (size, count) = (number(file, 54, 2)?, number(file, 56, 2)?);
    let segments = (0..count).filter_map(|index| usize::try_from(table + index * size).ok());
    let mut asked = 0;
    for at in segments {
        let (kind, flags) = (number(file, at, 4)?, number(file, at + 4, 4)?);
        if kind == LOAD && flags & WRITE != 0 {
            let (start, in_file) = (number(file, at + 16, 8)?, number(file, at + 32, 8)?);
            let in_memory = number(file, at + 40, 8)?;
            let page = |size: u64| start.checked_add(size)?.checked_next_multiple_of(4096);
            asked = page(in_memory)?.saturating_sub(page(in_file)?);
        }
    }
    Some(asked)
}

fn number(file: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = file.get(at..at.checked_add(size)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(in_file: u64, in_memory: u64) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01".to_vec();
        file.resize(64 + 56, 0);
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file[64] = 1;
        file[68] = 6;
        file[64 + 16..][..8].copy_from_slice(&0x3d10u64.to_le_bytes());
        file[64 + 32..][..8].copy_from_slice(&in_file.to_le_bytes());
        file[64 + 40..][..8].copy_from_slice(&in_memory.to_le_bytes());
        file
    }

    #[test]
    fn only_whole_pages_behind_the_file_are_anonymous() {
        assert_eq!(bss(&elf(0x200, 0x208)), Some(0), "the rest of the last page is the file's");
        assert_eq!(bss(&elf(0x200, 0x2000)), Some(0x2000));
        assert_eq!(bss(&elf(0x200, 0x2000)[..100]), None);
        assert_eq!(bss(&elf(u64::MAX, 1)), None);
        assert_eq!(bss(b"#!/bin/sh"), None);
    }
}
