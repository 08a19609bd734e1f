//! Process and thread ids as the kernel's programs know them.
//!
//! In a PID namespace of one's own (a container) `ps`, and so the user, sees
//! other ids than the kernel hands to eBPF programs. What is asked for is meant
//! as the user sees it; records carry the kernel's. A file of `/proc/PID` leads
//! from the one to the other: its inode holds the kernel's `struct pid`, with the
//! id in every namespace.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, PoisonError};

use super::btf::Btf;
use super::opened::{Opened, place, type_information};

/// The inode of the namespace that the machine starts with.
///
/// <https://elixir.bootlin.com/linux/v6.12/source/include/linux/proc_ns.h#L43>
const INITIAL: u64 = 0xefff_fffc;

/// `struct upid`: an id and its namespace.
const UPID: u64 = 16;
/// `MAX_PID_NS_LEVEL`.
const DEEPEST: u64 = 32;

/// How ids here become the kernel's.
#[derive(Debug, Default)]
pub struct Namespace {
    /// Nothing where both are the same.
    nested: Option<Nested>,
}

#[derive(Debug)]
struct Nested {
    opened: Opened,
    file_inode: u64,
    /// From the inode back to the `struct pid *` of `/proc`'s own struct around it.
    inode_pid: u64,
    pid_level: u64,
    pid_numbers: u64,
    /// Ids here by the kernel's.
    here: Mutex<HashMap<u32, u32>>,
}

impl Namespace {
    /// The namespace that vmtrace runs in.
    pub fn here() -> Result<Self, String> {
        let initial = fs::metadata("/proc/self/ns/pid").map_or(true, |ns| ns.ino() == INITIAL);
        if initial {
            return Ok(Self::default());
        }
        let raw = type_information()?;
        let btf = Btf::parse(&raw).map_err(|error| error.to_string())?;
        let inode = place(&btf, "proc_inode.vfs_inode")?;
        Ok(Self {
            nested: Some(Nested {
                opened: Opened::new(&btf)?,
                file_inode: place(&btf, "file.f_inode")?,
                inode_pid: place(&btf, "proc_inode.pid")?.wrapping_sub(inode),
                pid_level: place(&btf, "pid.level")?,
                pid_numbers: place(&btf, "pid.numbers")?,
                here: Mutex::default(),
            }),
        })
    }

    /// Whether ids here are not the kernel's.
    pub const fn is_nested(&self) -> bool {
        self.nested.is_some()
    }

    /// The kernel's id of a process or thread; nothing if it is gone.
    pub fn outside(&self, id: u32) -> Option<u32> {
        match &self.nested {
            None => Some(id),
            Some(nested) => nested.outside(&id.to_string(), Some(id)).ok(),
        }
    }

    /// The kernel's id of this process.
    pub fn own(&self) -> io::Result<u32> {
        match &self.nested {
            None => Ok(std::process::id()),
            Some(nested) => nested.outside("self", None),
        }
    }

    /// The id here of one that [`outside`](Self::outside) was asked for.
    pub fn inside(&self, id: u32) -> Option<u32> {
        match &self.nested {
            None => Some(id),
            Some(nested) => {
                nested.here.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
            }
        }
    }
}

impl Nested {
    /// `known` is the number in `name`, which has to be among the ids found.
    fn outside(&self, name: &str, known: Option<u32>) -> io::Result<u32> {
        let file = File::open(format!("/proc/{name}/comm"))?;
        let opened = &self.opened;
        let inode = opened.follow(opened.file(&file)? + self.file_inode)?;
        let pid = opened.follow(inode.wrapping_add(self.inode_pid))?;
        let level = u64::from(self.number(pid + self.pid_level)?);
        if level > DEEPEST {
            return Err(io::Error::other("that is no struct pid"));
        }
        let numbers = (0..=level).map(|level| self.number(pid + self.pid_numbers + level * UPID));
        let numbers = numbers.collect::<io::Result<Vec<_>>>()?;
        let outermost = numbers.first().copied().unwrap_or_default();
        if let Some(known) = known {
            if !numbers.contains(&known) {
                return Err(io::Error::other("that is another process's struct pid"));
            }
            let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
            here.insert(outermost, known);
        }
        Ok(outermost)
    }

    fn number(&self, address: u64) -> io::Result<u32> {
        let word = self.opened.memory().word(address)?;
        let word = word.ok_or_else(|| io::Error::other("nothing is there"))?;
        // The lower half: the machine is little-endian.
        Ok(u32::try_from(word & 0xffff_ffff).unwrap_or_default())
    }
}
