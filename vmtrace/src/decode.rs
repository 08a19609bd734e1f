//! Bytes to typed records and back. Every field is read by itself, in the order
//! in which the wire type lists it, so no byte is ever taken for something it
//! may not be; what does not fit is a [`Malformed`], which the pipeline counts.

use std::fmt;

use vmtrace_common::counters::Counters;
use vmtrace_common::record::{
    Cgroup, Exec, Fault, GroupName, Header, Oom, PATH, Region, Rename, Spill, Task, Tlb, Totals,
    Victim, tag,
};

/// One rare record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rare {
    /// A region as it is from now on.
    Region(Box<Region>),
    /// A thread that was there or was born.
    Task(Task),
    /// A process began another program.
    Exec(Box<Exec>),
    /// A thread ended: its account.
    Exit(Totals),
    /// A thread's account at the session's end.
    Totals(Totals),
    /// A thread's name changed.
    Rename(Rename),
    /// One TLB flush.
    Tlb(Tlb),
    /// The OOM killer's victim.
    Victim(Victim),
    /// Why the OOM killer chose.
    Oom(Oom),
    /// Faults folded together.
    Spill(Box<Spill>),
    /// A thread moved to another cgroup.
    Cgroup(Cgroup),
    /// The session's own account.
    Counters(Counters),
    /// A ring is half full: of no interest here.
    Doorbell(Header),
    /// What a cgroup is called.
    GroupName(Box<GroupName>),
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Too few bytes for a header.
    Short(usize),
    /// The header claims another length than there is.
    Length {
        /// What the header claims.
        claimed: u32,
        /// What there is.
        have: usize,
    },
    /// The record is not as long as its type.
    Size {
        /// The record's tag.
        tag: u16,
        /// How long it is.
        have: usize,
    },
    /// No such tag.
    Tag(u16),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short(have) => write!(f, "{have} bytes are too few for a record's header"),
            Self::Length { claimed, have } => {
                write!(f, "a record claims {claimed} bytes and has {have}")
            }
            Self::Size { tag, have } => {
                write!(f, "{have} bytes are not the length of a record with tag {tag}")
            }
            Self::Tag(tag) => write!(f, "no record has the tag {tag}"),
        }
    }
}

impl std::error::Error for Malformed {}

/// Reads one rare record.
pub fn rare(bytes: &[u8]) -> Result<Rare, Malformed> {
    let header = header(bytes)?;
    if usize::try_from(header.len) != Ok(bytes.len()) {
        return Err(Malformed::Length { claimed: header.len, have: bytes.len() });
    }
    match header.tag {
        tag::REGION => padded(bytes).map(|region| Rare::Region(Box::new(region))),
        tag::TASK => exact(bytes).map(Rare::Task),
        tag::EXEC => padded(bytes).map(|exec| Rare::Exec(Box::new(exec))),
        tag::EXIT => exact(bytes).map(Rare::Exit),
        tag::TOTALS => exact(bytes).map(Rare::Totals),
        tag::RENAME => exact(bytes).map(Rare::Rename),
        tag::TLB => exact(bytes).map(Rare::Tlb),
        tag::VICTIM => exact(bytes).map(Rare::Victim),
        tag::OOM => exact(bytes).map(Rare::Oom),
        tag::SPILL => exact(bytes).map(|spill| Rare::Spill(Box::new(spill))),
        tag::CGROUP => exact(bytes).map(Rare::Cgroup),
        tag::COUNTERS => exact(bytes).map(Rare::Counters),
        tag::DOORBELL => exact(bytes).map(Rare::Doorbell),
        tag::GROUP_NAME => padded(bytes).map(|name| Rare::GroupName(Box::new(name))),
        unknown => Err(Malformed::Tag(unknown)),
    }
}

impl Rare {
    /// What it begins with.
    pub const fn header(&self) -> &Header {
        match self {
            Self::Region(record) => &record.header,
            Self::Task(record) => &record.header,
            Self::Exec(record) => &record.header,
            Self::Exit(record) | Self::Totals(record) => &record.header,
            Self::Rename(record) => &record.header,
            Self::Tlb(record) => &record.header,
            Self::Victim(record) => &record.header,
            Self::Oom(record) => &record.header,
            Self::Spill(record) => &record.header,
            Self::Cgroup(record) => &record.header,
            Self::Counters(record) => &record.header,
            Self::Doorbell(header) => header,
            Self::GroupName(record) => &record.header,
        }
    }
}

/// Reads a rare record's header alone.
pub fn header(bytes: &[u8]) -> Result<Header, Malformed> {
    Header::take(&mut Reader(bytes)).ok_or(Malformed::Short(bytes.len()))
}

/// Reads one fault from the bytes a recording holds.
pub fn fault(bytes: &[u8]) -> Result<Fault, Malformed> {
    exact_as(bytes, tag::FAULT)
}

/// A fault's bytes.
pub fn encode_fault(fault: &Fault, into: &mut Vec<u8>) {
    fault.put(into);
}

/// A rare record's bytes; the header's tag and length are set to what it is.
pub fn encode(record: &Rare) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    let tag = match record {
        Rare::Region(region) => {
            region.put(&mut bytes);
            tag::REGION
        }
        Rare::Exec(exec) => {
            exec.put(&mut bytes);
            tag::EXEC
        }
        Rare::Spill(spill) => {
            spill.put(&mut bytes);
            tag::SPILL
        }
        Rare::GroupName(name) => put(&**name, tag::GROUP_NAME, &mut bytes),
        Rare::Task(task) => put(task, tag::TASK, &mut bytes),
        Rare::Exit(totals) => put(totals, tag::EXIT, &mut bytes),
        Rare::Totals(totals) => put(totals, tag::TOTALS, &mut bytes),
        Rare::Rename(rename) => put(rename, tag::RENAME, &mut bytes),
        Rare::Tlb(tlb) => put(tlb, tag::TLB, &mut bytes),
        Rare::Victim(victim) => put(victim, tag::VICTIM, &mut bytes),
        Rare::Oom(oom) => put(oom, tag::OOM, &mut bytes),
        Rare::Cgroup(cgroup) => put(cgroup, tag::CGROUP, &mut bytes),
        Rare::Counters(counters) => put(counters, tag::COUNTERS, &mut bytes),
        Rare::Doorbell(header) => put(header, tag::DOORBELL, &mut bytes),
    };
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    bytes[..2].copy_from_slice(&tag.to_ne_bytes());
    bytes[4..8].copy_from_slice(&len.to_ne_bytes());
    bytes
}

fn put<T: Field>(record: &T, tag: u16, bytes: &mut Vec<u8>) -> u16 {
    record.put(bytes);
    tag
}

fn exact<T: Field>(bytes: &[u8]) -> Result<T, Malformed> {
    let tag = header(bytes)?.tag;
    exact_as(bytes, tag)
}

fn exact_as<T: Field>(bytes: &[u8], tag: u16) -> Result<T, Malformed> {
    let mut reader = Reader(bytes);
    match T::take(&mut reader) {
        Some(record) if reader.0.is_empty() => Ok(record),
        _ => Err(Malformed::Size { tag, have: bytes.len() }),
    }
}

/// Reads a record whose last field is a path that may have been cut after the
/// bytes that count: what is missing is zero.
fn padded<T: Field>(bytes: &[u8]) -> Result<T, Malformed> {
    let size = size_of::<T>();
    let least = size - PATH;
    if bytes.len() < least || bytes.len() > size {
        return Err(Malformed::Size { tag: header(bytes)?.tag, have: bytes.len() });
    }
    let mut whole = [0; 1024];
    whole[..bytes.len()].copy_from_slice(bytes);
    exact(&whole[..size])
}

const _: () = assert!(size_of::<Region>() <= 1024 && size_of::<Exec>() <= 1024);

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }
}

/// Something that can be read from bytes and written to them.
trait Field: Sized {
    fn take(reader: &mut Reader<'_>) -> Option<Self>;
    fn put(&self, into: &mut Vec<u8>);
}

macro_rules! integers {
    ($($integer:ty)*) => {
        $(impl Field for $integer {
            fn take(reader: &mut Reader<'_>) -> Option<Self> {
                reader.array().map(Self::from_ne_bytes)
            }

            fn put(&self, into: &mut Vec<u8>) {
                into.extend_from_slice(&self.to_ne_bytes());
            }
        })*
    };
}

integers! { u8 u16 u32 u64 i32 }

impl<const N: usize> Field for [u8; N] {
    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        reader.array()
    }

    fn put(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(self);
    }
}

macro_rules! arrays {
    ($($integer:ty)*) => {
        $(impl<const N: usize> Field for [$integer; N] {
            fn take(reader: &mut Reader<'_>) -> Option<Self> {
                let mut items = [0; N];
                for item in &mut items {
                    *item = Field::take(reader)?;
                }
                Some(items)
            }

            fn put(&self, into: &mut Vec<u8>) {
                for item in self {
                    item.put(into);
                }
            }
        })*
    };
}

arrays! { u32 u64 }

macro_rules! records {
    ($($record:ident: $($field:ident)*;)*) => {
        $(impl Field for $record {
            fn take(reader: &mut Reader<'_>) -> Option<Self> {
                Some(Self { $($field: Field::take(reader)?,)* })
            }

            fn put(&self, into: &mut Vec<u8>) {
                $(self.$field.put(into);)*
            }
        })*
    };
}

// In the order of the wire types: a test holds the lengths together.
records! {
    Fault: time latency address ip region pid tid error flags ret marks nature cpu retries via
        signal code;
    Header: tag cpu len time pid tid;
    Region: header start end offset inode device nature naming components special mount reserved name_len name;
    Task: header parent creator cgroup comm;
    Exec: header old_tid path_len stack stack_end comm path;
    Rename: header comm;
    Cgroup: header cgroup;
    GroupName: header cgroup name_len hierarchy name;
    Tlb: header pages reason reserved;
    Victim: header total_vm anon_rss file_rss shmem_rss page_tables uid score_adj comm;
    Oom: header points total_pages memcg victim constraint order gfp comm;
    Totals: header min_flt maj_flt seen emitted spilled lost filtered stale flushes pages
        full_flushes;
    Spill: header common count total max buckets;
    Counters: header untracked unsent unsent_tlb missed atomic;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;

    #[test]
    fn every_record_comes_back() {
        for record in synthetic::one_of_each() {
            let bytes = encode(&record);
            let again = rare(&bytes).unwrap();
            assert_eq!(encode(&again), bytes);
        }
        let fault = Fault { time: 1, code: 2, signal: 3, region: 4, ..Fault::default() };
        let mut bytes = Vec::new();
        encode_fault(&fault, &mut bytes);
        assert_eq!(super::fault(&bytes), Ok(fault));
    }

    #[test]
    fn the_lengths_are_those_of_the_wire_types() {
        let sizes = [
            size_of::<Region>(),
            size_of::<Task>(),
            size_of::<Exec>(),
            size_of::<Totals>(),
            size_of::<Totals>(),
            size_of::<Rename>(),
            size_of::<Tlb>(),
            size_of::<Victim>(),
            size_of::<Oom>(),
            size_of::<Spill>(),
            size_of::<Cgroup>(),
            size_of::<Counters>(),
            size_of::<Header>(),
            size_of::<GroupName>(),
        ];
        let records = synthetic::one_of_each();
        assert_eq!(records.len(), sizes.len());
        for (record, size) in records.iter().zip(sizes) {
            assert_eq!(encode(record).len(), size, "{record:?}");
        }
    }

    #[test]
    fn empty_truncated_and_over_long_are_malformed() {
        assert_eq!(rare(&[]), Err(Malformed::Short(0)));
        for record in synthetic::one_of_each() {
            let bytes = encode(&record);
            for cut in 0..bytes.len() {
                assert!(rare(&bytes[..cut]).is_err());
            }
            let mut longer = bytes.clone();
            longer.push(0);
            assert!(matches!(rare(&longer), Err(Malformed::Length { .. })));
            let len = u32::try_from(longer.len()).unwrap();
            longer[4..8].copy_from_slice(&len.to_ne_bytes());
            assert!(matches!(rare(&longer), Err(Malformed::Size { .. })), "{record:?}");
        }
    }

    #[test]
    fn an_unknown_tag_is_malformed() {
        let mut bytes = encode(&Rare::Doorbell(Header::default()));
        bytes[..2].copy_from_slice(&99_u16.to_ne_bytes());
        assert_eq!(rare(&bytes), Err(Malformed::Tag(99)));
    }

    #[test]
    fn a_path_may_be_cut_after_what_counts() {
        let region = synthetic::region(7, 0x1000, 0x2000, 0, "/lib/x");
        let mut bytes = encode(&Rare::Region(Box::new(region)));
        let cut = size_of::<Region>() - PATH + 6;
        bytes.truncate(cut);
        bytes[4..8].copy_from_slice(&u32::try_from(cut).unwrap().to_ne_bytes());
        let Ok(Rare::Region(again)) = rare(&bytes) else { panic!("a region") };
        assert_eq!(again.name, region.name);
    }
}
