//! The page tables' own entries, read from the running kernel word by word.
//!
//! The way in is the open `/proc/PID/pagemap`: its `struct file` holds the
//! process's `mm_struct`, and the kernel checked the permission when it was
//! opened. From our own thread to that file it is five pointers, their places
//! taken from the kernel's type information. Tables hold physical addresses; the
//! kernel sees all memory at one base, which is found by walking to the PGD itself.

use std::fs::File;
use std::io;

use super::address::{Address, Level};
use super::entry::{Entries, Tables};
use crate::inspect::maps::look::address_bits;
use crate::probe::btf::{Btf, VMLINUX};
use crate::probe::opened::{Opened, place, type_information};
use crate::sys::peek::Peek;

/// The kernel's memory, a word at a time.
pub trait Memory {
    /// The word at a kernel address; `None` where nothing is mapped.
    fn word(&self, address: u64) -> io::Result<Option<u64>>;
}

impl Memory for Peek {
    fn word(&self, address: u64) -> io::Result<Option<u64>> {
        Self::word(self, address)
    }
}

/// Where the fields lie that lead from a thread to a process's page tables.
#[derive(Clone, Copy, Debug)]
struct Places {
    file_private: u64,
    mm_pgd: u64,
}

/// Reads entries from the running kernel.
#[derive(Debug)]
pub struct KernelTables {
    opened: Opened,
    places: Places,
    physical: u64,
}

impl KernelTables {
    /// Loads what it takes, or says why it cannot be had.
    pub fn open() -> Result<Self, String> {
        let raw = type_information()?;
        let btf = Btf::parse(&raw).map_err(|error| format!("{VMLINUX}: {error}"))?;
        let places = Places {
            file_private: place(&btf, "file.private_data")?,
            mm_pgd: place(&btf, "mm_struct.pgd")?,
        };
        Ok(Self { opened: Opened::new(&btf)?, places, physical: physical_mask() })
    }

    /// The PGD of the process whose page map this is, as a kernel address.
    fn pgd(&self, pagemap: &File) -> io::Result<u64> {
        let file = self.opened.file(pagemap)?;
        let mm = self.opened.follow(file + self.places.file_private)?;
        self.opened.follow(mm + self.places.mm_pgd)
    }

    fn walk(&self, pid: i32, value: u64) -> io::Result<Entries> {
        let address = Address { value, five: address_bits() == 56 };
        let pagemap = File::open(format!("/proc/{pid}/pagemap"))?;
        let pgd = self.pgd(&pagemap)?;
        let base = base(self.opened.memory(), pgd, address.five, self.physical)?
            .ok_or_else(|| io::Error::other("where the kernel sees all memory was not found"))?;
        let (values, _) = descend(self.opened.memory(), pgd, base, address, self.physical)?;
        Ok(Entries::new(address.five, values))
    }
}

impl Tables for KernelTables {
    fn entries(&self, pid: i32, address: u64) -> Result<Entries, String> {
        self.walk(pid, address).map_err(|error| error.to_string())
    }
}

/// The bits of an entry that are a physical address here. Where memory is
/// encrypted, the bit that says so lies above them.
fn physical_mask() -> u64 {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = cpus.lines().find_map(|line| line.strip_prefix("address sizes\t:"));
    let bits = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u32>().ok());
    ((1 << bits.unwrap_or(46).clamp(32, 52)) - 1) & !0xfff
}

/// Follows an address down from a PGD. Answers the entries that it met and the
/// physical address that it ended at.
fn descend(
    memory: &dyn Memory,
    pgd: u64,
    base: u64,
    address: Address,
    physical: u64,
) -> io::Result<([Option<u64>; 5], Option<u64>)> {
    const PRESENT: u64 = 1;
    const LARGE: u64 = 1 << 7;
    let mut values = [None; 5];
    let mut table = pgd;
    for level in address.levels() {
        let Some(entry) = memory.word(table.wrapping_add(address.index(level) * 8))? else { break };
        values[level as usize] = Some(entry);
        let large = entry & LARGE != 0 && matches!(level, Level::Pud | Level::Pmd);
        if entry & PRESENT == 0 {
            break;
        }
        if large || level == Level::Pte {
            let page = entry & physical & !(level.span(address.five) - 1);
            return Ok((values, Some(page + address.offset(level))));
        }
        table = base.wrapping_add(entry & physical);
    }
    Ok((values, None))
}

/// Where the kernel sees all physical memory. It is a multiple of 1 GiB at or
/// below the PGD's own address, and the right one is that from which a walk to
/// the PGD ends at the PGD.
fn base(memory: &dyn Memory, pgd: u64, five: bool, physical: u64) -> io::Result<Option<u64>> {
    const STEP: u64 = 1 << 30;
    const MOST: u64 = 16 << 10;
    let usual = if five { 0xff11_0000_0000_0000 } else { 0xffff_8880_0000_0000 };
    let near = (0..MOST).map(|steps| (pgd & !(STEP - 1)).wrapping_sub(steps * STEP));
    for base in std::iter::once(usual).chain(near).filter(|&base| base <= pgd) {
        let address = Address { value: pgd, five };
        if descend(memory, pgd, base, address, physical)?.1 == Some(pgd - base) {
            return Ok(Some(base));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const BASE: u64 = 0xffff_9ac0_4000_0000;
    const MASK: u64 = ((1 << 46) - 1) & !0xfff;

    struct Fake(HashMap<u64, u64>);

    impl Memory for Fake {
        fn word(&self, address: u64) -> io::Result<Option<u64>> {
            Ok(self.0.get(&address).copied())
        }
    }

    /// Physical memory of 4 GiB mapped at `BASE` by 1 GiB pages; the PGD lies in
    /// the fourth, its PUD table beside it.
    fn fake() -> (Fake, u64) {
        let (pgd, pud) = (0xc123_4000u64, 0xc123_5000u64);
        let kernel = Address { value: BASE + pgd, five: false };
        let mut words = HashMap::new();
        words.insert(BASE + pgd + kernel.index(Level::Pgd) * 8, pud | 0x63);
        words.insert(BASE + pud + kernel.index(Level::Pud) * 8, 0xc000_0000 | 0xe3);
        (Fake(words), BASE + pgd)
    }

    #[test]
    fn the_base_is_where_the_walk_comes_home() {
        let (memory, pgd) = fake();
        assert_eq!(base(&memory, pgd, false, MASK).unwrap(), Some(BASE));
    }

    #[test]
    fn no_base_no_guess() {
        let memory = Fake(HashMap::new());
        assert_eq!(base(&memory, BASE + 0x1000, false, MASK).unwrap(), None);
    }

    #[test]
    fn a_walk_stops_where_nothing_is_present() {
        let (Fake(mut words), pgd) = fake();
        let address = Address { value: 0x7f16_a556_4abc, five: false };
        let table = |index: u64| 0xc200_0000 + index * 0x1000;
        let mut at = pgd;
        for (index, level) in [Level::Pgd, Level::Pud, Level::Pmd].into_iter().enumerate() {
            words.insert(at + address.index(level) * 8, table(index as u64) | 0x67);
            at = BASE + table(index as u64);
        }
        words.insert(at + address.index(Level::Pte) * 8, 0);
        let (values, end) = descend(&Fake(words), pgd, BASE, address, MASK).unwrap();
        assert_eq!(end, None);
        assert_eq!((values[1], values[4]), (None, Some(0)));
        assert_eq!(values[3], Some(table(2) | 0x67));
    }
}
