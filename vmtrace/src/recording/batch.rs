//! Records on their way between a stream and a block: faults, and what comes
//! between them, in the stream's order.

use vmtrace_common::record::Fault;

use crate::stream::Sink;

/// Faults of one block at most.
pub(super) const MOST_FAULTS: usize = 8192;
/// Rare records of one block at most.
pub(super) const MOST_ITEMS: usize = 8192;
/// Bytes of rare records of one block at most.
pub(super) const MOST_RARE: usize = 1 << 20;
/// The longest rare record: there is none of more than 600 bytes.
pub(super) const LONGEST: usize = 1024;

/// What stands between faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A rare record of this length.
    Rare(u32),
    /// So many faults that were not recorded for want of room.
    Lost(u64),
}

/// Records of a stretch of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub(super) faults: Vec<Fault>,
    /// The rare records' bytes, one after the other.
    pub(super) rare: Vec<u8>,
    /// What comes after how many of the faults.
    pub(super) items: Vec<(u32, Item)>,
}

impl Batch {
    /// How many more faults a block of it could hold.
    pub(super) fn room(&self) -> usize {
        MOST_FAULTS.saturating_sub(self.faults.len())
    }

    /// Whether a block of it could hold no further record.
    pub(super) fn is_full(&self) -> bool {
        self.room() == 0 || self.items.len() >= MOST_ITEMS || self.rare.len() > MOST_RARE - LONGEST
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty() && self.items.is_empty()
    }

    /// What it takes in memory, as it stands.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.faults.as_slice()) + self.rare.len() + size_of_val(self.items.as_slice())
    }

    pub(super) fn push(&mut self, item: Item) {
        // At most MOST_FAULTS.
        self.items.push((u32::try_from(self.faults.len()).unwrap_or(u32::MAX), item));
    }

    pub(super) fn push_rare(&mut self, record: &[u8]) {
        self.push(Item::Rare(u32::try_from(record.len()).unwrap_or(u32::MAX)));
        self.rare.extend_from_slice(record);
    }

    /// Gives up the faults and keeps the rest.
    pub(super) fn drop_faults(&mut self) {
        let lost = self.faults.len() as u64;
        self.faults.clear();
        for (after, _) in &mut self.items {
            *after = 0;
        }
        match self.items.first_mut() {
            Some((_, Item::Lost(before))) => *before += lost,
            _ => self.items.insert(0, (0, Item::Lost(lost))),
        }
    }

    pub(super) fn clear(&mut self) {
        self.faults.clear();
        self.rare.clear();
        self.items.clear();
    }

    /// How many faults are in it.
    pub const fn held(&self) -> usize {
        self.faults.len()
    }

    /// How many faults it says were lost.
    pub fn lost(&self) -> u64 {
        let lost = self.items.iter().map(|(_, item)| match item {
            Item::Lost(faults) => *faults,
            Item::Rare(_) => 0,
        });
        lost.fold(0, u64::saturating_add)
    }

    /// The earliest and the latest time of its records; 0 for both if it has none.
    pub(super) fn times(&self) -> (u64, u64) {
        let times = self.faults.iter().map(|fault| fault.time);
        let (mut first, mut last) = (u64::MAX, 0);
        for time in times.chain(self.rare_times()) {
            first = first.min(time);
            last = last.max(time);
        }
        (first.min(last), last)
    }

    /// The rare records' times; a task that was there before has none.
    fn rare_times(&self) -> impl Iterator<Item = u64> {
        self.rares().filter_map(|record| {
            let time = crate::decode::header(record).ok()?.time;
            (time != 0).then_some(time)
        })
    }

    /// The rare records.
    pub(super) fn rares(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.rare.as_slice();
        self.items.iter().filter_map(move |(_, item)| match item {
            Item::Rare(len) => {
                let (record, after) = rest.split_at_checked(usize::try_from(*len).ok()?)?;
                rest = after;
                Some(record)
            }
            Item::Lost(_) => None,
        })
    }

    /// Hands everything on, in its order.
    pub fn send(&self, sink: &mut dyn Sink) {
        let mut sent = 0;
        let mut rest = self.rare.as_slice();
        for &(after, item) in &self.items {
            let after = usize::try_from(after).unwrap_or(usize::MAX).min(self.faults.len());
            if after > sent {
                sink.faults(&self.faults[sent..after]);
                sent = after;
            }
            if let Item::Rare(len) = item {
                let len = usize::try_from(len).unwrap_or(usize::MAX).min(rest.len());
                let (record, after) = rest.split_at(len);
                sink.rare(record);
                rest = after;
            }
        }
        if sent < self.faults.len() {
            sink.faults(&self.faults[sent..]);
        }
    }
}

/// A batch of any size takes records: for tests.
impl Sink for Batch {
    fn faults(&mut self, faults: &[Fault]) {
        self.faults.extend_from_slice(faults);
    }

    fn rare(&mut self, record: &[u8]) {
        self.push_rare(record);
    }
}
