//! Faults as columns: what repeats is told once, what grows is told by how
//! much, and like stands beside like, so that the compressor finds little left
//! to do. Every fault comes back to the bit.
//!
//! A fault is a *shape* (all but its times, addresses and instruction), a
//! region, an instruction, the gap since the fault before ended, its latency,
//! and how far its page lies from the last one of the same shape. The first
//! three are numbers in tables at the head of the block.

use std::collections::HashMap;

use vmtrace_common::record::Fault;

use super::batch::MOST_FAULTS;
use super::varint::{Reader, fold, put, unfold};
use crate::region::Spread;

/// How many columns there are.
const COLUMNS: usize = 10;
const PAGE_BITS: u32 = 12;
const WITHIN_PAGE: u64 = (1 << PAGE_BITS) - 1;

/// A fault without its times, addresses and instruction.
type Shape = (u64, u64, u64);

fn shape(fault: &Fault) -> Shape {
    let four = |fields: [u16; 4]| {
        let [a, b, c, d] = fields.map(u64::from);
        a | b << 16 | c << 32 | d << 48
    };
    let pair = |low, high| u16::from_le_bytes([low, high]);
    (
        u64::from(fault.pid) | u64::from(fault.tid) << 32,
        four([fault.error, fault.flags, fault.ret, fault.marks]),
        four([
            fault.nature,
            fault.cpu,
            pair(fault.retries, fault.via),
            pair(fault.signal, fault.code),
        ]),
    )
}

#[expect(clippy::cast_possible_truncation, reason = "fields are taken out of a word")]
const fn unshape((who, what, rest): Shape) -> Fault {
    let [_, _, _, _, retries, via, signal, code] = rest.to_le_bytes();
    Fault {
        time: 0,
        latency: 0,
        address: 0,
        ip: 0,
        region: 0,
        pid: who as u32,
        tid: (who >> 32) as u32,
        error: what as u16,
        flags: (what >> 16) as u16,
        ret: (what >> 32) as u16,
        marks: (what >> 48) as u16,
        nature: rest as u16,
        cpu: (rest >> 16) as u16,
        retries,
        via,
        signal,
        code,
    }
}

/// Values that were met, each with its number.
#[derive(Debug, Default)]
struct Numbered {
    numbers: HashMap<u64, u64, Spread>,
    last: (u64, u64),
    /// The values, each by its difference from the one before.
    table: Vec<u8>,
    newest: u64,
}

impl Numbered {
    fn clear(&mut self) {
        self.numbers.clear();
        self.table.clear();
        (self.last, self.newest) = ((0, u64::MAX), 0);
    }

    #[inline]
    fn number(&mut self, value: u64) -> u64 {
        if self.last.0 == value && self.last.1 != u64::MAX {
            return self.last.1;
        }
        let next = self.numbers.len() as u64;
        let number = *self.numbers.entry(value).or_insert(next);
        if number == next {
            put(&mut self.table, fold(value.wrapping_sub(self.newest)));
            self.newest = value;
        }
        self.last = (value, number);
        number
    }
}

/// Writes columns, and keeps its memory from one block to the next.
#[derive(Debug, Default)]
pub(super) struct Columns {
    shapes: HashMap<Shape, usize, Spread>,
    /// The last page and place within it, by shape.
    last: Vec<(u64, u64)>,
    regions: Numbered,
    ips: Numbered,
    shape_table: Vec<u8>,
    shape: Vec<u8>,
    region: Vec<u8>,
    ip: Vec<u8>,
    gap: Vec<u8>,
    latency: Vec<u8>,
    page: Vec<u8>,
    within: Vec<u8>,
}

impl Columns {
    fn clear(&mut self) {
        self.shapes.clear();
        self.last.clear();
        self.regions.clear();
        self.ips.clear();
        let columns = [
            &mut self.shape_table,
            &mut self.shape,
            &mut self.region,
            &mut self.ip,
            &mut self.gap,
            &mut self.latency,
            &mut self.page,
            &mut self.within,
        ];
        columns.into_iter().for_each(Vec::clear);
    }

    fn number(&mut self, shape: Shape) -> usize {
        let next = self.last.len();
        let number = *self.shapes.entry(shape).or_insert(next);
        if number == next {
            self.last.push((0, 0));
            for word in [shape.0, shape.1, shape.2] {
                self.shape_table.extend_from_slice(&word.to_le_bytes());
            }
        }
        number
    }

    /// Appends the columns of these faults.
    pub(super) fn write(&mut self, faults: &[Fault], into: &mut Vec<u8>) {
        self.clear();
        let mut time = 0_u64;
        let mut before: Option<(Shape, usize)> = None;
        for fault in faults {
            let shape = shape(fault);
            let number = match before {
                Some((last, number)) if last == shape => number,
                _ => self.number(shape),
            };
            before = Some((shape, number));
            put(&mut self.shape, number as u64);
            put(&mut self.region, self.regions.number(fault.region));
            put(&mut self.ip, self.ips.number(fault.ip));
            let gap = fault.time.wrapping_sub(fault.latency).wrapping_sub(time);
            put(&mut self.gap, fold(gap));
            time = fault.time;
            put(&mut self.latency, fault.latency);
            let (page, within) = (fault.address >> PAGE_BITS, fault.address & WITHIN_PAGE);
            let last = &mut self.last[number];
            put(&mut self.page, fold(page.wrapping_sub(last.0)));
            put(&mut self.within, within ^ last.1);
            *last = (page, within);
        }
        let columns: [&[u8]; COLUMNS] = [
            &self.shape_table,
            &self.regions.table,
            &self.ips.table,
            &self.shape,
            &self.region,
            &self.ip,
            &self.gap,
            &self.latency,
            &self.page,
            &self.within,
        ];
        for column in columns {
            put(into, column.len() as u64);
        }
        for column in columns {
            into.extend_from_slice(column);
        }
    }
}

/// A table's values again; as many as faults at most.
fn table(mut column: Reader<'_>) -> Option<Vec<u64>> {
    let mut values = Vec::new();
    let mut value = 0_u64;
    while !column.0.is_empty() {
        if values.len() == MOST_FAULTS {
            return None;
        }
        value = value.wrapping_add(unfold(column.take()?));
        values.push(value);
    }
    Some(values)
}

fn shapes(column: &[u8]) -> Option<Vec<Fault>> {
    let (shapes, rest) = column.as_chunks::<24>();
    if !rest.is_empty() || shapes.len() > MOST_FAULTS {
        return None;
    }
    let shapes = shapes.iter().map(|bytes| {
        let (words, _) = bytes.as_chunks::<8>();
        unshape((
            u64::from_le_bytes(words[0]),
            u64::from_le_bytes(words[1]),
            u64::from_le_bytes(words[2]),
        ))
    });
    Some(shapes.collect())
}

/// Reads the columns of `count` faults, all there is; `None` where they are none.
pub(super) fn read(mut bytes: Reader<'_>, count: usize, faults: &mut Vec<Fault>) -> Option<()> {
    let mut lengths = [0; COLUMNS];
    for length in &mut lengths {
        *length = bytes.count(bytes.0.len())?;
    }
    let mut columns = [Reader(&[]); COLUMNS];
    for (column, length) in columns.iter_mut().zip(lengths) {
        *column = Reader(bytes.bytes(length)?);
    }
    let [shape_table, regions, ips, shape, region, ip, gap, latency, page, within] = columns;
    let shapes = shapes(shape_table.0)?;
    let regions = table(regions)?;
    let ips = table(ips)?;
    let mut last = vec![(0_u64, 0_u64); shapes.len()];
    let mut columns = [shape, region, ip, gap, latency, page, within];
    let mut time = 0_u64;
    faults.reserve(count);
    for _ in 0..count {
        let [shape, region, ip, gap, latency, page, within] = &mut columns;
        let number = usize::try_from(shape.take()?).ok()?;
        let mut fault = *shapes.get(number)?;
        fault.region = *regions.get(usize::try_from(region.take()?).ok()?)?;
        fault.ip = *ips.get(usize::try_from(ip.take()?).ok()?)?;
        fault.latency = latency.take()?;
        time = time.wrapping_add(unfold(gap.take()?)).wrapping_add(fault.latency);
        fault.time = time;
        let last = last.get_mut(number)?;
        last.0 = last.0.wrapping_add(unfold(page.take()?));
        last.1 ^= within.take()?;
        if last.0 >> (64 - PAGE_BITS) != 0 || last.1 > WITHIN_PAGE {
            return None;
        }
        fault.address = last.0 << PAGE_BITS | last.1;
        faults.push(fault);
    }
    let whole = bytes.0.is_empty() && columns.iter().all(|column| column.0.is_empty());
    whole.then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Numbers;

    fn there_and_back(faults: &[Fault]) -> usize {
        let mut bytes = Vec::new();
        let mut columns = Columns::default();
        // Twice: nothing may be left from the block before.
        columns.write(&faults[..faults.len() / 2], &mut bytes);
        bytes.clear();
        columns.write(faults, &mut bytes);
        let mut again = Vec::new();
        read(Reader(&bytes), faults.len(), &mut again).unwrap();
        assert_eq!(again, faults);
        bytes.len()
    }

    #[test]
    fn any_bits_come_back() {
        let mut numbers = Numbers::new(11);
        let mut faults = vec![Fault::default()];
        for _ in 0..1000 {
            let mut bytes = [0; 64];
            for word in bytes.as_chunks_mut::<8>().0 {
                *word = (numbers.next() >> numbers.below(64)).to_le_bytes();
            }
            faults.push(crate::decode::fault(&bytes).unwrap());
        }
        there_and_back(&faults);
        there_and_back(&[]);
    }

    #[test]
    fn neighbours_are_small() {
        let faults: Vec<_> = (0..4096_u64)
            .map(|number| Fault {
                time: (1 << 50) + number * 1000,
                latency: 600 + number % 50,
                address: 0x7f00_0000_0000 + number * 4096,
                ip: 0x40_1000,
                pid: 1,
                tid: 1,
                ..Fault::default()
            })
            .collect();
        assert!(there_and_back(&faults) < 10 * 4096);
    }

    #[test]
    fn columns_that_are_none_are_refused() {
        let faults = vec![Fault { pid: 1, address: 0x1234, ..Fault::default() }; 3];
        let mut bytes = Vec::new();
        Columns::default().write(&faults, &mut bytes);
        let none = |bytes: &[u8], count| read(Reader(bytes), count, &mut Vec::new()).is_none();
        assert!(none(&bytes, 2) && none(&bytes, 4) && !none(&bytes, 3));
        for cut in 0..bytes.len() {
            assert!(none(&bytes[..cut], 3));
        }
        bytes.push(0);
        assert!(none(&bytes, 3));
    }
}
