//! The last block of a recording that was finished: what there is in all, and
//! where. Without it everything can be read just the same.

use super::varint::{Reader, put};

/// Entries of the index at most; a longer recording has every second one, or
/// every fourth.
const MOST: usize = 1 << 16;

/// What a finished recording says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ending {
    /// Faults recorded.
    pub(super) faults: u64,
    /// Faults not recorded for want of room in memory.
    pub(super) lost: u64,
    /// Where blocks begin, how many faults are before them, and their first time.
    pub(super) index: Vec<[u64; 3]>,
    /// One block in so many is in the index.
    every: usize,
    seen: usize,
}

impl Ending {
    /// A block was written.
    pub(super) fn add(&mut self, offset: u64, before: u64, first: u64) {
        if self.every == 0 {
            self.every = 1;
        }
        if self.seen.is_multiple_of(self.every) {
            if self.index.len() == MOST {
                let mut at = 0;
                self.index.retain(|_| {
                    at += 1;
                    at % 2 == 1
                });
                self.every *= 2;
            }
            if self.seen.is_multiple_of(self.every) {
                self.index.push([offset, before, first]);
            }
        }
        self.seen += 1;
    }

    pub(super) fn write(&self, into: &mut Vec<u8>) {
        put(into, self.faults);
        put(into, self.lost);
        put(into, self.index.len() as u64);
        let mut before = [0; 3];
        for entry in &self.index {
            for (value, before) in entry.iter().zip(before) {
                put(into, super::varint::fold(value.wrapping_sub(before)));
            }
            before = *entry;
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Reader(bytes);
        let mut ending = Self { faults: bytes.take()?, lost: bytes.take()?, ..Self::default() };
        let mut entry = [0_u64; 3];
        for _ in 0..bytes.count(MOST)? {
            for value in &mut entry {
                *value = value.wrapping_add(super::varint::unfold(bytes.take()?));
            }
            ending.index.push(entry);
        }
        bytes.0.is_empty().then_some(ending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_stays_short_and_comes_back() {
        let mut ending = Ending { faults: 7, lost: 1, ..Ending::default() };
        for block in 0..200_000_u64 {
            ending.add(block * 1000, block, block * 5);
        }
        assert!(ending.index.len() <= MOST && ending.index.len() > MOST / 4);
        assert!(ending.index.is_sorted());
        let mut bytes = Vec::new();
        ending.write(&mut bytes);
        assert!(bytes.len() < 1 << 20);
        let again = Ending::read(&bytes).unwrap();
        assert_eq!((again.faults, again.lost, again.index), (7, 1, ending.index));
        assert_eq!(Ending::read(&bytes[..bytes.len() - 1]), None);
    }
}
