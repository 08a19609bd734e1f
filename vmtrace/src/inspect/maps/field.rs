//! What the kernel says of a region in `smaps`: one table of the amounts, one of
//! the flags. Everything that parses, adds up, compares or writes them walks
//! these tables, so a new field is one line.

use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

/// An amount of memory, in `smaps`' order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the kernel's names; each is described in the table below")]
pub enum Field {
    Size,
    Rss,
    Pss,
    PssDirty,
    SharedClean,
    SharedDirty,
    PrivateClean,
    PrivateDirty,
    Referenced,
    Anonymous,
    Ksm,
    LazyFree,
    AnonHuge,
    ShmemHuge,
    FileHuge,
    SharedHugetlb,
    PrivateHugetlb,
    Swap,
    SwapPss,
    Locked,
}

/// How many there are.
pub const FIELDS: usize = 20;

/// Each field with its name in `smaps` and in JSON.
pub const TABLE: [(Field, &str, &str); FIELDS] = [
    (Field::Size, "Size", "size"),
    (Field::Rss, "Rss", "rss"),
    (Field::Pss, "Pss", "pss"),
    (Field::PssDirty, "Pss_Dirty", "pss_dirty"),
    (Field::SharedClean, "Shared_Clean", "shared_clean"),
    (Field::SharedDirty, "Shared_Dirty", "shared_dirty"),
    (Field::PrivateClean, "Private_Clean", "private_clean"),
    (Field::PrivateDirty, "Private_Dirty", "private_dirty"),
    (Field::Referenced, "Referenced", "referenced"),
    (Field::Anonymous, "Anonymous", "anonymous"),
    (Field::Ksm, "KSM", "ksm"),
    (Field::LazyFree, "LazyFree", "lazy_free"),
    (Field::AnonHuge, "AnonHugePages", "anon_huge"),
    (Field::ShmemHuge, "ShmemPmdMapped", "shmem_huge"),
    (Field::FileHuge, "FilePmdMapped", "file_huge"),
    (Field::SharedHugetlb, "Shared_Hugetlb", "shared_hugetlb"),
    (Field::PrivateHugetlb, "Private_Hugetlb", "private_hugetlb"),
    (Field::Swap, "Swap", "swap"),
    (Field::SwapPss, "SwapPss", "swap_pss"),
    (Field::Locked, "Locked", "locked"),
];

impl Field {
    /// The field with this name in `smaps`.
    pub fn named(name: &[u8]) -> Option<Self> {
        TABLE.iter().find(|(_, kernel, _)| kernel.as_bytes() == name).map(|&(field, ..)| field)
    }

    /// Its name in JSON.
    pub const fn key(self) -> &'static str {
        TABLE[self as usize].2
    }
}

/// The amounts of a region or of many, in bytes. A field that the kernel did not
/// mention is unknown, not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    bytes: [u64; FIELDS],
    known: u32,
}

impl Amounts {
    /// An amount, where the kernel gave it.
    pub const fn get(&self, field: Field) -> Option<u64> {
        if self.known >> field as u32 & 1 == 1 { Some(self.bytes[field as usize]) } else { None }
    }

    /// An amount, zero where it is unknown.
    pub const fn of(&self, field: Field) -> u64 {
        self.bytes[field as usize]
    }

    /// Sets an amount.
    pub const fn set(&mut self, field: Field, bytes: u64) {
        self.bytes[field as usize] = bytes;
        self.known |= 1 << field as u32;
    }

    /// Adds another's amounts.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.bytes.iter_mut().zip(other.bytes) {
            *mine = mine.saturating_add(theirs);
        }
        self.known |= other.known;
    }

    /// Pages that only this process has, in bytes.
    pub const fn private(&self) -> u64 {
        self.of(Field::PrivateClean).saturating_add(self.of(Field::PrivateDirty))
    }

    /// What would have to be written somewhere before it could be dropped.
    pub const fn dirty(&self) -> u64 {
        self.of(Field::SharedDirty).saturating_add(self.of(Field::PrivateDirty))
    }

    /// In huge pages of any kind.
    pub fn huge(&self) -> u64 {
        [Field::AnonHuge, Field::ShmemHuge, Field::FileHuge]
            .into_iter()
            .chain([Field::SharedHugetlb, Field::PrivateHugetlb])
            .map(|field| self.of(field))
            .sum()
    }
}

impl Serialize for Amounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (field, _, key) in TABLE {
            if let Some(bytes) = self.get(field) {
                map.serialize_entry(key, &bytes)?;
            }
        }
        map.end()
    }
}

/// `VmFlags`: the two letters and what they mean.
/// <https://docs.kernel.org/filesystems/proc.html>
pub const FLAGS: [(&str, &str); 40] = [
    ("rd", "readable"),
    ("wr", "writable"),
    ("ex", "executable"),
    ("sh", "shared"),
    ("mr", "may be made readable"),
    ("mw", "may be made writable"),
    ("me", "may be made executable"),
    ("ms", "may be shared"),
    ("gd", "grows down like a stack"),
    ("pf", "bare page frames"),
    ("dw", "writes to the file denied"),
    ("lo", "locked in memory"),
    ("io", "device memory"),
    ("sr", "advised: sequential reads"),
    ("rr", "advised: random reads"),
    ("dc", "not copied at fork"),
    ("de", "may not be expanded by mremap"),
    ("lf", "locked at fault"),
    ("ac", "counted against the commit limit"),
    ("nr", "no swap space reserved"),
    ("ht", "hugetlb"),
    ("sf", "synchronous faults (DAX)"),
    ("ar", "architecture's own"),
    ("wf", "wiped at fork"),
    ("dd", "left out of core dumps"),
    ("sd", "soft-dirty tracked"),
    ("mm", "mixed map"),
    ("hg", "advised: huge pages"),
    ("nh", "advised: no huge pages"),
    ("mg", "advised: merge (KSM)"),
    ("bt", "guarded by branch tracking"),
    ("mt", "memory tagging"),
    ("um", "userfaultfd: missing"),
    ("uw", "userfaultfd: write-protected"),
    ("ui", "userfaultfd: minor"),
    ("ss", "shadow stack"),
    ("sl", "sealed"),
    ("gu", "has guard pages"),
    ("dp", "dropped when memory is short"),
    ("nl", "non-linear"),
];

/// The flags of a region, a bit per line of [`FLAGS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VmFlags(u64);

impl VmFlags {
    /// Reads `rd wr mr …`. Flags that this table does not know are left out.
    pub fn parse(text: &str) -> Self {
        let bit = |name| FLAGS.iter().position(|&(code, _)| code == name);
        Self(text.split_ascii_whitespace().filter_map(bit).fold(0, |bits, at| bits | 1 << at))
    }

    /// Whether a flag is set, by its two letters.
    pub fn has(self, code: &str) -> bool {
        FLAGS.iter().position(|&(name, _)| name == code).is_some_and(|at| self.0 >> at & 1 == 1)
    }

    /// The flags that are set: letters and meaning.
    pub fn iter(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        FLAGS.into_iter().enumerate().filter(move |(at, _)| self.0 >> at & 1 == 1).map(|(_, f)| f)
    }
}

impl Serialize for VmFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for (code, _) in self.iter() {
            list.serialize_element(code)?;
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, (field, kernel, _)) in TABLE.into_iter().enumerate() {
            assert_eq!(field as usize, index);
            assert_eq!(Field::named(kernel.as_bytes()), Some(field));
        }
    }

    #[test]
    fn unknown_is_not_zero() {
        let mut amounts = Amounts::default();
        amounts.set(Field::Rss, 0);
        assert_eq!(amounts.get(Field::Rss), Some(0));
        assert_eq!(amounts.get(Field::Ksm), None);
        assert_eq!(serde_json::to_string(&amounts).unwrap(), r#"{"rss":0}"#);
    }

    #[test]
    fn flags_by_name() {
        let flags = VmFlags::parse("rd wr gd xx ");
        assert!(flags.has("gd") && !flags.has("ex"));
        assert_eq!(serde_json::to_string(&flags).unwrap(), r#"["rd","wr","gd"]"#);
    }
}
