//! An open file of ours as the kernel holds it: from a descriptor, a way in to
//! the kernel's own structs for what the file stands for.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use super::btf::{self, Btf};
use crate::sys::peek::Peek;

/// Follows descriptors to the kernel's `struct file`.
#[derive(Debug)]
pub struct Opened {
    peek: Peek,
    task_files: u64,
    files_fdt: u64,
    fdt_fd: u64,
}

impl Opened {
    /// Loads what it takes, or says why it cannot be had.
    pub fn new(btf: &Btf<'_>) -> Result<Self, String> {
        let peek = Peek::load().map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM) => "reading them takes root, or CAP_BPF and CAP_PERFMON".to_owned(),
            _ => format!("the kernel refused the program that reads them: {error}"),
        })?;
        Ok(Self {
            peek,
            task_files: place(btf, "task_struct.files")?,
            files_fdt: place(btf, "files_struct.fdt")?,
            fdt_fd: place(btf, "fdtable.fd")?,
        })
    }

    /// The `struct file` of a descriptor of this process's.
    pub fn file(&self, descriptor: impl AsFd) -> io::Result<u64> {
        let descriptor = u64::try_from(descriptor.as_fd().as_raw_fd()).unwrap_or(0);
        let files = self.follow(self.peek.task()? + self.task_files)?;
        let table = self.follow(files + self.files_fdt)?;
        self.follow(self.follow(table + self.fdt_fd)? + descriptor * 8)
    }

    /// The pointer at an address of the kernel's.
    pub fn follow(&self, address: u64) -> io::Result<u64> {
        match self.peek.word(address)? {
            Some(word) if word >> 63 == 1 => Ok(word),
            Some(_) | None => Err(io::Error::other("a pointer of the kernel led nowhere")),
        }
    }

    /// What reads the kernel's memory.
    pub const fn memory(&self) -> &Peek {
        &self.peek
    }
}

/// Where a field lies in its struct.
pub fn place(btf: &Btf<'_>, path: &str) -> Result<u64, String> {
    let found = btf.offset(path).map(u64::from);
    found.ok_or_else(|| format!("the kernel's type information has no {path}"))
}

/// The kernel's type information, unread.
pub fn type_information() -> Result<Vec<u8>, String> {
    std::fs::read(btf::VMLINUX)
        .map_err(|error| format!("the kernel's type information, {}: {error}", btf::VMLINUX))
}
