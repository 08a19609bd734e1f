//! A region: a piece of an address space that the kernel treats as one, with
//! everything that is known of it.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::field::{Amounts, Field, VmFlags};
use super::pages::Pages;

/// What may be done in a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Perm(u8);

impl Perm {
    const READ: u8 = 1;
    const WRITE: u8 = 2;
    const EXEC: u8 = 4;
    const SHARED: u8 = 8;

    /// Reads `r-xp`.
    pub fn parse(text: &str) -> Option<Self> {
        let letters: [u8; 4] = text.as_bytes().try_into().ok()?;
        let bits =
            [(b'r', Self::READ), (b'w', Self::WRITE), (b'x', Self::EXEC), (b's', Self::SHARED)];
        let set = letters.iter().zip(bits).filter(|&(&letter, (sign, _))| letter == sign);
        Some(Self(set.fold(0, |perm, (_, (_, bit))| perm | bit)))
    }

    /// It may be read.
    pub const fn read(self) -> bool {
        self.0 & Self::READ != 0
    }

    /// It may be written.
    pub const fn write(self) -> bool {
        self.0 & Self::WRITE != 0
    }

    /// It may be executed.
    pub const fn exec(self) -> bool {
        self.0 & Self::EXEC != 0
    }

    /// What is written there, others see.
    pub const fn shared(self) -> bool {
        self.0 & Self::SHARED != 0
    }

    /// Nothing may be done there.
    pub const fn none(self) -> bool {
        self.0 & (Self::READ | Self::WRITE | Self::EXEC) == 0
    }
}

impl fmt::Display for Perm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |set, sign| if set { sign } else { '-' };
        let text: String = [
            letter(self.read(), 'r'),
            letter(self.write(), 'w'),
            letter(self.exec(), 'x'),
            if self.shared() { 's' } else { 'p' },
        ]
        .into_iter()
        .collect();
        f.pad(&text)
    }
}

impl Serialize for Perm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What part a region plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The program's code.
    Text,
    /// The program's constants.
    Constants,
    /// The program's initialised variables.
    Data,
    /// The program's variables that start as zero.
    Bss,
    /// What `brk` gave.
    Heap,
    /// Shared libraries, all of their segments.
    Library,
    /// Other mapped files.
    File,
    /// Memory shared without a file of its own: memfd, System V, `/dev/shm`.
    Shared,
    /// Anonymous memory.
    Anonymous,
    /// Address space that is set aside: no access.
    Reserved,
    /// The stacks of threads other than the first.
    ThreadStack,
    /// The first thread's stack.
    Stack,
    /// What the kernel put there: vdso, vvar, vsyscall.
    Kernel,
}

impl Part {
    /// As a word in a text.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Constants => "constants",
            Self::Data => "data",
            Self::Bss => "bss",
            Self::Heap => "heap",
            Self::Library => "libraries",
            Self::File => "files",
            Self::Shared => "shared memory",
            Self::Anonymous => "anonymous",
            Self::Reserved => "reserved",
            Self::ThreadStack => "thread stacks",
            Self::Stack => "stack",
            Self::Kernel => "kernel's",
        }
    }
}

/// A region.
#[derive(Clone, Debug, Serialize)]
pub struct Region {
    /// Its first address.
    #[serde(serialize_with = "hex")]
    pub start: u64,
    /// The address after its last.
    #[serde(serialize_with = "hex")]
    pub end: u64,
    /// What may be done there.
    pub perm: Perm,
    /// What part it plays.
    pub part: Part,
    /// Its name as people know it. Hostile.
    #[serde(serialize_with = "text")]
    pub name: Arc<str>,
    /// Its path as the kernel has it; empty for anonymous memory. Hostile.
    #[serde(serialize_with = "text")]
    pub path: Arc<str>,
    /// Where in the file it starts.
    pub offset: u64,
    /// The file's device, major and minor.
    pub device: (u32, u32),
    /// The file's inode.
    pub inode: u64,
    /// Its amounts.
    pub bytes: Amounts,
    /// Its flags.
    pub flags: VmFlags,
    /// The size of the pages that the kernel uses for it: more than 4 KiB under hugetlb.
    pub page_size: u64,
    /// What the page map says.
    pub pages: Option<Pages>,
    /// Where its pages are: node and bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<(u16, u64)>,
}

impl Region {
    /// Its size in bytes.
    pub const fn size(&self) -> u64 {
        self.end - self.start
    }

    /// Whether an address is in it.
    pub const fn holds(&self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    /// An amount, where the kernel gave it.
    pub const fn get(&self, field: Field) -> Option<u64> {
        self.bytes.get(field)
    }
}

/// An address in JSON: `"0x7f…"`.
pub fn hex<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:#x}"))
}

fn text<S: Serializer>(value: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_read_as_written() {
        for text in ["rwxs", "r-xp", "---p", "rw-s", "-w-p"] {
            assert_eq!(Perm::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Perm::parse("rwx"), None);
        assert!(Perm::parse("---p").unwrap().none());
    }
}
