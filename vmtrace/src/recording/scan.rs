//! Where a file's blocks are: found by their headers alone, past damage and in
//! the order in which they were written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::block::{FILE_HEADER, HEADER, Header, Kind, MAGIC};

/// Blocks of one file at most.
const MOST: usize = 4 << 20;
/// Bytes looked at together where a block is searched: few at first, since the
/// next one is mostly near, and a search may begin at every byte.
const SHORTEST: usize = 1 << 10;
const LONGEST: usize = 1 << 20;

/// A block that may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Where its header is.
    pub(super) offset: u64,
    pub(super) sequence: u64,
    /// Faults before it.
    pub(super) before: u64,
    /// Faults in it.
    pub(super) faults: u32,
    pub(super) kind: Kind,
}

/// All blocks of a file of this length, by their number. Of two with one
/// number the first in the file counts.
pub(super) fn blocks(file: &File, len: u64) -> io::Result<Vec<Found>> {
    let mut found: Vec<Found> = Vec::new();
    let mut at = FILE_HEADER as u64;
    while let Some(next) = next(file, at, len)? {
        let (offset, header) = next;
        if found.len() == MOST {
            return Err(io::Error::other("it has more blocks than any recording"));
        }
        let Header { sequence, before, faults, kind, .. } = header;
        found.push(Found { offset, sequence, before, faults, kind });
        at = offset + HEADER as u64 + u64::from(header.stored);
    }
    found.sort_by_key(|found| found.sequence);
    found.dedup_by_key(|found| found.sequence);
    Ok(found)
}

/// The first whole block at `at` or after it.
fn next(file: &File, mut at: u64, len: u64) -> io::Result<Option<(u64, Header)>> {
    if let Some(header) = header_at(file, at, len)? {
        return Ok(Some((at, header)));
    }
    let mut stretch = Vec::new();
    let mut most = SHORTEST;
    while at + (HEADER as u64) < len {
        let have = usize::try_from(len - at).unwrap_or(most).min(most);
        stretch.resize(have, 0);
        file.read_exact_at(&mut stretch, at)?;
        let mut from = 0;
        while let Some(place) = find(&stretch[from..]) {
            let here = at + (from + place) as u64;
            if let Some(header) = header_at(file, here, len)? {
                return Ok(Some((here, header)));
            }
            from += place + 1;
        }
        if have < most {
            break;
        }
        most = LONGEST.min(most * 2);
        // A header's beginning may straddle two stretches.
        at += (have - MAGIC.len()) as u64;
    }
    Ok(None)
}

fn find(bytes: &[u8]) -> Option<usize> {
    bytes.windows(MAGIC.len()).position(|window| window == MAGIC)
}

/// The header there, if it is one and its body ends within the file.
fn header_at(file: &File, at: u64, len: u64) -> io::Result<Option<Header>> {
    let mut bytes = [0; HEADER];
    if at.saturating_add(HEADER as u64) > len {
        return Ok(None);
    }
    match file.read_exact_at(&mut bytes, at) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let header = Header::parse(&bytes);
    Ok(header.filter(|header| at + HEADER as u64 + u64::from(header.stored) <= len))
}
