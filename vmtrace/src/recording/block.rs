//! The frame around each part of a recording: how long it is, what it holds,
//! and whether it is whole.

use super::batch::{MOST_FAULTS, MOST_ITEMS, MOST_RARE};

/// What a recording begins with. The odd bytes show a file that went through
/// something that takes it for text.
pub(super) const SIGNATURE: [u8; 8] = *b"\x8bVMT\r\n\x1a\n";
/// The format's version: a reader refuses a higher one.
pub const VERSION: u16 = 1;
/// The file's own header: signature, version, and four bytes for later.
pub(super) const FILE_HEADER: usize = 16;
/// A block's header.
pub(super) const HEADER: usize = 64;
/// What every block's header begins with.
pub(super) const MAGIC: [u8; 4] = *b"vmtB";
/// The longest body as stored, and when it is decompressed.
pub(super) const LONGEST_BODY: usize = 4 << 20;

const _: () = assert!(MOST_RARE + MOST_FAULTS * (24 + 8 * 10) + MOST_ITEMS * 16 < LONGEST_BODY);

/// Faults to a stored byte at most: reading time is bounded by a file's size,
/// not by what a file claims.
const MOST_TO_A_BYTE: usize = 16;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The session's circumstances: every part that can be read by itself
    /// begins with them.
    Preface,
    /// The tasks and regions there were when such a part began.
    State,
    /// Records as they came.
    Records,
    /// What there is in all: the recording was finished.
    Ending,
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Self::Preface => 1,
            Self::State => 2,
            Self::Records => 3,
            Self::Ending => 4,
        }
    }

    const fn of(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Preface),
            2 => Some(Self::State),
            3 => Some(Self::Records),
            4 => Some(Self::Ending),
            _ => None,
        }
    }
}

/// A block's header, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// The body is compressed.
    pub(super) compressed: bool,
    /// The body's length in the file.
    pub(super) stored: u32,
    /// The body's length when decompressed.
    pub(super) raw: u32,
    /// Faults in it.
    pub(super) faults: u32,
    /// Other records in it.
    pub(super) items: u32,
    /// Its number in the whole recording.
    pub(super) sequence: u64,
    /// Faults in all blocks before it.
    pub(super) before: u64,
    /// The earliest time in it.
    pub(super) first: u64,
    /// The latest time in it.
    pub(super) last: u64,
    /// The stored body's checksum.
    pub(super) sum: u32,
}

impl Header {
    /// As written: little-endian, with its own checksum at the end.
    pub(super) fn bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = self.kind.number();
        bytes[5] = u8::from(self.compressed);
        let words = [(8, self.stored), (12, self.raw), (16, self.faults), (20, self.items)];
        for (at, word) in words.into_iter().chain([(56, self.sum)]) {
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        let longs = [(24, self.sequence), (32, self.before), (40, self.first), (48, self.last)];
        for (at, long) in longs {
            bytes[at..at + 8].copy_from_slice(&long.to_le_bytes());
        }
        let sum = crc32fast::hash(&bytes[..HEADER - 4]);
        bytes[HEADER - 4..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// What these bytes say; `None` where they are no header, are damaged or
    /// claim what no writer writes.
    pub(super) fn parse(bytes: &[u8; HEADER]) -> Option<Self> {
        if bytes[..4] != MAGIC || bytes[6] != 0 || bytes[7] != 0 || bytes[5] > 1 {
            return None;
        }
        let (words, _) = bytes.as_chunks::<4>();
        let (longs, _) = bytes.as_chunks::<8>();
        let word = |at: usize| u32::from_le_bytes(words[at / 4]);
        let long = |at: usize| u64::from_le_bytes(longs[at / 8]);
        if word(HEADER - 4) != crc32fast::hash(&bytes[..HEADER - 4]) {
            return None;
        }
        let header = Self {
            kind: Kind::of(bytes[4])?,
            compressed: bytes[5] == 1,
            stored: word(8),
            raw: word(12),
            faults: word(16),
            items: word(20),
            sequence: long(24),
            before: long(32),
            first: long(40),
            last: long(48),
            sum: word(56),
        };
        header.is_possible().then_some(header)
    }

    fn is_possible(&self) -> bool {
        let most = u32::try_from(LONGEST_BODY).unwrap_or(u32::MAX);
        let within = self.stored > 0 && self.stored <= most && self.raw > 0 && self.raw <= most;
        let stored = self.stored as usize;
        within
            && (self.compressed || self.raw == self.stored)
            && self.faults as usize <= MOST_FAULTS.min(stored.saturating_mul(MOST_TO_A_BYTE))
            && self.items as usize <= MOST_ITEMS.min(stored)
    }
}

/// What is told of a body beside itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) kind: Kind,
    pub(super) faults: usize,
    pub(super) items: usize,
    pub(super) times: (u64, u64),
}

/// A whole block, header and body, compressed where that helps.
pub(super) fn frame(content: Content, sequence: u64, before: u64, raw: &[u8], into: &mut Vec<u8>) {
    into.clear();
    into.resize(HEADER + lz4_flex::block::get_maximum_output_size(raw.len()), 0);
    let compressed = lz4_flex::block::compress_into(raw, &mut into[HEADER..]).ok();
    let dense = |len: &usize| {
        *len < raw.len()
            && content.faults <= len.saturating_mul(MOST_TO_A_BYTE)
            && content.items <= *len
    };
    let stored = if let Some(len) = compressed.filter(dense) {
        into.truncate(HEADER + len);
        len
    } else {
        into.truncate(HEADER);
        into.extend_from_slice(raw);
        raw.len()
    };
    // A body is at most LONGEST_BODY.
    let small = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let header = Header {
        kind: content.kind,
        compressed: stored < raw.len(),
        stored: small(stored),
        raw: small(raw.len()),
        faults: small(content.faults),
        items: small(content.items),
        sequence,
        before,
        first: content.times.0,
        last: content.times.1,
        sum: crc32fast::hash(&into[HEADER..]),
    };
    into[..HEADER].copy_from_slice(&header.bytes());
}

/// A body as it was before it was compressed, in `buffer` or as it is stored;
/// `None` where it is damaged.
pub(super) fn body<'a>(
    header: &Header,
    stored: &'a [u8],
    buffer: &'a mut Vec<u8>,
) -> Option<&'a [u8]> {
    if stored.len() != header.stored as usize || crc32fast::hash(stored) != header.sum {
        return None;
    }
    if !header.compressed {
        return Some(stored);
    }
    buffer.clear();
    buffer.resize(header.raw as usize, 0);
    let len = lz4_flex::block::decompress_into(stored, buffer).ok()?;
    (len == buffer.len()).then_some(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: Content = Content { kind: Kind::Records, faults: 3, items: 2, times: (5, 6) };

    #[test]
    fn a_block_comes_back() {
        let mixed: Vec<u8> = (0..200_u8).map(|byte| byte.wrapping_mul(77)).collect();
        for raw in [&[7_u8; 3000][..], b"x", &mixed] {
            let mut block = Vec::new();
            let content = Content { items: 1, ..CONTENT };
            frame(content, 4, 5, raw, &mut block);
            let header = Header::parse(block.first_chunk().unwrap()).unwrap();
            assert_eq!((header.sequence, header.before, header.last), (4, 5, 6));
            let mut buffer = Vec::new();
            assert_eq!(body(&header, &block[HEADER..], &mut buffer), Some(raw));
            let last = block.len() - 1;
            block[last] ^= 1;
            assert_eq!(body(&header, &block[HEADER..], &mut buffer), None);
        }
    }

    #[test]
    fn no_bit_of_a_header_may_change() {
        let mut block = Vec::new();
        frame(CONTENT, 4, 5, &[1; 100], &mut block);
        let whole: [u8; HEADER] = *block.first_chunk().unwrap();
        for bit in 0..HEADER * 8 {
            let mut header = whole;
            header[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::parse(&header), None, "bit {bit}");
        }
    }

    #[test]
    fn little_stored_claims_little() {
        let mut block = Vec::new();
        frame(Content { faults: 8192, ..CONTENT }, 0, 0, &[0; 8192], &mut block);
        let header = Header::parse(block.first_chunk().unwrap()).unwrap();
        assert!(!header.compressed, "such a ratio would be refused");
        let bold = Header { faults: 8192, stored: 1, raw: 1, ..header };
        assert_eq!(Header::parse(&bold.bytes()), None);
        let long = Header { stored: u32::MAX, raw: u32::MAX, ..header };
        assert_eq!(Header::parse(&long.bytes()), None);
    }
}
