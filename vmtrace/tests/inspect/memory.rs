//! Memory in states that the tests make themselves.
#![expect(unsafe_code, reason = "mappings in known states need mmap and madvise")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr;

/// A mapping that is unmapped with its owner.
pub(crate) struct Mapping {
    start: *mut u8,
    size: usize,
}

impl Mapping {
    /// Maps `size` bytes; `file` makes it a file's.
    pub(crate) fn new(
        size: usize,
        protection: i32,
        flags: i32,
        file: Option<&File>,
    ) -> Option<Self> {
        let flags = if file.is_some() { flags } else { flags | libc::MAP_ANONYMOUS };
        let descriptor = file.map_or(-1, AsRawFd::as_raw_fd);
        // SAFETY: a fresh mapping at an address of the kernel's choice touches
        // nothing that exists.
        let start = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, descriptor, 0) };
        (start != libc::MAP_FAILED).then_some(Self { start: start.cast(), size })
    }

    /// Private, anonymous, writable.
    pub(crate) fn anonymous(size: usize) -> Self {
        Self::new(size, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE, None).unwrap()
    }

    /// An address in it.
    pub(crate) fn at(&self, offset: usize) -> u64 {
        assert!(offset < self.size);
        self.start as u64 + offset as u64
    }

    /// Writes a byte.
    pub(crate) fn write(&self, offset: usize) {
        assert!(offset < self.size);
        // SAFETY: in the mapping, which the caller made writable.
        unsafe { self.start.add(offset).write_volatile(1) }
    }

    /// Reads a byte.
    pub(crate) fn read(&self, offset: usize) -> u8 {
        assert!(offset < self.size);
        // SAFETY: in the mapping, which the caller made readable.
        unsafe { self.start.add(offset).read_volatile() }
    }

    /// Changes what may be done with a part of it.
    pub(crate) fn protect(&self, offset: usize, size: usize, protection: i32) -> bool {
        assert!(offset + size <= self.size);
        // SAFETY: in the mapping; nobody holds a reference into it.
        unsafe { libc::mprotect(self.start.add(offset).cast(), size, protection) == 0 }
    }

    /// Advises the kernel about all of it.
    pub(crate) fn advise(&self, advice: i32) -> bool {
        // SAFETY: the advice concerns this mapping only; none that is used here
        // does more than drop or move its pages.
        unsafe { libc::madvise(self.start.cast(), self.size, advice) == 0 }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and no reference into it is left.
        unsafe { libc::munmap(self.start.cast(), self.size) };
    }
}

/// Whether this is root.
pub(crate) fn is_root() -> bool {
    // SAFETY: asks for a number.
    unsafe { libc::geteuid() == 0 }
}

/// Forks a child that only waits to be killed; the mappings are shared with it
/// until one side writes.
pub(crate) fn forked<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: the child calls nothing but pause and _exit, both async-signal-safe.
    let pid = unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::pause();
            libc::_exit(0);
        }
        pid
    };
    assert!(pid > 0);
    let result = work();
    // SAFETY: the child just made.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, ptr::null_mut(), 0);
    }
    result
}
