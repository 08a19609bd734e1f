//! What a block of records holds: the rare records and where they stand, then
//! the faults' columns.

use super::batch::{Batch, Item, LONGEST, MOST_FAULTS, MOST_ITEMS, MOST_RARE};
use super::columns::{self, Columns};
use super::varint::{Reader, put};

/// Where a length would stand: faults that were lost.
const LOST: u64 = LONGEST as u64 + 1;

/// Writes batches.
#[derive(Debug, Default)]
pub(super) struct Packer {
    columns: Columns,
}

impl Packer {
    /// Appends a batch.
    pub(super) fn write(&mut self, batch: &Batch, into: &mut Vec<u8>) {
        put(into, batch.faults.len() as u64);
        put(into, batch.items.len() as u64);
        let mut rares = batch.rares();
        let mut before = 0;
        for &(after, item) in &batch.items {
            put(into, u64::from(after - before));
            before = after;
            match item {
                Item::Lost(faults) => {
                    put(into, LOST);
                    put(into, faults);
                }
                Item::Rare(_) => write_rare(rares.next().unwrap_or_default(), into),
            }
        }
        self.columns.write(&batch.faults, into);
    }
}

/// A record's paths are mostly zeros at its end: those are only counted.
fn write_rare(record: &[u8], into: &mut Vec<u8>) {
    let kept = record.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    put(into, record.len() as u64);
    put(into, kept as u64);
    into.extend_from_slice(&record[..kept]);
}

/// Reads a batch back; `None` where it is none.
pub(super) fn read(bytes: &[u8]) -> Option<Batch> {
    let mut bytes = Reader(bytes);
    let count = bytes.count(MOST_FAULTS)?;
    let items = bytes.count(MOST_ITEMS)?;
    let mut batch = Batch::default();
    let mut after = 0;
    for _ in 0..items {
        after += bytes.count(count)?;
        if after > count {
            return None;
        }
        let place = u32::try_from(after).ok()?;
        let len = bytes.take()?;
        if len == LOST {
            batch.items.push((place, Item::Lost(bytes.take()?)));
            continue;
        }
        let len = usize::try_from(len).ok().filter(|&len| len <= LONGEST)?;
        let kept = bytes.count(len)?;
        if batch.rare.len() + len > MOST_RARE {
            return None;
        }
        let whole = batch.rare.len() + len;
        batch.rare.extend_from_slice(bytes.bytes(kept)?);
        batch.rare.resize(whole, 0);
        batch.items.push((place, Item::Rare(u32::try_from(len).ok()?)));
    }
    columns::read(bytes, count, &mut batch.faults)?;
    Some(batch)
}

/// The bytes of one batch, as they stand in a block before they are compressed.
pub fn pack(batch: &Batch) -> Vec<u8> {
    let mut bytes = Vec::new();
    Packer::default().write(batch, &mut bytes);
    bytes
}

/// The batch again; `None` where the bytes are none.
pub fn unpack(bytes: &[u8]) -> Option<Batch> {
    read(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::encode;
    use crate::stream::Sink as _;
    use crate::synthetic::{self, Workload};

    #[test]
    fn a_batch_comes_back() {
        let mut batch = Batch::default();
        let load =
            Workload { processes: 2, regions: 3, faults: 40, events: false, named: true, run: 2 };
        load.send(&mut batch);
        batch.push(Item::Lost(7));
        for record in synthetic::one_of_each() {
            batch.rare(&encode(&record));
        }
        batch.rare(&[]);
        batch.rare(&[0; 9]);
        assert_eq!(unpack(&pack(&batch)), Some(batch));
        assert_eq!(unpack(&pack(&Batch::default())), Some(Batch::default()));
    }

    #[test]
    fn faults_that_are_given_up_are_counted() {
        let mut batch = Batch::default();
        let load =
            Workload { processes: 1, regions: 1, faults: 40, events: false, named: true, run: 2 };
        load.send(&mut batch);
        let rare = batch.rare.clone();
        batch.drop_faults();
        batch.drop_faults();
        assert_eq!((batch.held(), batch.lost(), &batch.rare), (0, 40, &rare));
        assert_eq!(unpack(&pack(&batch)), Some(batch));
    }
}
