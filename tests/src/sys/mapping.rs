//! Memory of every kind, made and given back.

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::AsRawFd as _;

const PAGE: usize = 4096;

/// A mapping that is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: *mut u8,
    len: usize,
}

/// What is mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What<'a> {
    /// Private anonymous memory.
    Anonymous,
    /// The same, made present by the kernel: no exception is taken.
    Populated,
    /// A file, privately.
    Private(&'a File),
    /// A file, shared.
    Shared(&'a File),
}

impl Mapping {
    /// `pages` pages of `what`, in 4 KiB pages.
    pub(crate) fn new(what: What<'_>, pages: usize) -> Result<Self> {
        let len = pages * PAGE;
        let (flags, fd) = match what {
            What::Anonymous => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
            What::Populated => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE, -1),
            What::Private(file) => (libc::MAP_PRIVATE, file.as_raw_fd()),
            What::Shared(file) => (libc::MAP_SHARED, file.as_raw_fd()),
        };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice: nothing
        // that exists is touched.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        // SAFETY: the range is the mapping just made.
        unsafe { libc::madvise(start, len, libc::MADV_NOHUGEPAGE) };
        Ok(Self { start: start.cast(), len })
    }

    /// Reads a byte of each page.
    pub(crate) fn read(&self) {
        for offset in (0..self.len).step_by(PAGE) {
            // SAFETY: within the mapping, which is readable.
            std::hint::black_box(unsafe { self.start.add(offset).read_volatile() });
        }
    }

    /// Writes a byte of each page.
    pub(crate) fn write(&self) {
        for offset in (0..self.len).step_by(PAGE) {
            // SAFETY: within the mapping, which is writable and ours alone.
            unsafe { self.start.add(offset).write_volatile(1) };
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and nobody has a reference into it.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

/// Runs `child` in a forked process, and waits for its end.
///
/// The child has one thread and may only touch memory: nothing that takes a lock.
pub(crate) fn forked(child: impl FnOnce()) -> Result<()> {
    // SAFETY: the child calls `child` and `_exit`, neither of which needs what
    // another thread may have held at the fork.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(Error::last_os_error()),
        0 => {
            child();
            // SAFETY: ends the child at once, without the parent's cleaning up.
            unsafe { libc::_exit(0) }
        }
        _ => {
            let mut status = 0;
            // SAFETY: our own child, and a valid place for its status.
            while unsafe { libc::waitpid(pid, &raw mut status, 0) } < 0
                && Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
            {}
            Ok(())
        }
    }
}
