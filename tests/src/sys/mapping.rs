//! Memory of every kind, made and given back.

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

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
    /// Memory that is shared with children.
    SharedAnonymous,
    /// Private memory above the lower half of what five levels reach: elsewhere
    /// the kernel puts it below.
    High,
    /// Private pages of so many bytes, a power of two, from the pool of huge pages.
    Hugetlb(usize),
}

impl Mapping {
    /// `pages` pages of `what`, in 4 KiB pages.
    pub(crate) fn new(what: What<'_>, pages: usize) -> Result<Self> {
        /// Beyond the 47 bits that are given without a hint.
        const HIGH: usize = 1 << 52;
        let len = pages * PAGE;
        let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let (flags, fd) = match what {
            What::Anonymous | What::High => (private, -1),
            What::Populated => (private | libc::MAP_POPULATE, -1),
            What::Private(file) => (libc::MAP_PRIVATE, file.as_raw_fd()),
            What::Shared(file) => (libc::MAP_SHARED, file.as_raw_fd()),
            What::SharedAnonymous => (libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1),
            What::Hugetlb(size) => (private | libc::MAP_HUGETLB | huge_size(size), -1),
        };
        let hint = if matches!(what, What::High) { HIGH } else { 0 };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let hint = std::ptr::without_provenance_mut(hint);
        // SAFETY: a new mapping at an address of the kernel's choice, for which
        // the hint is only a wish: nothing that exists is touched.
        let start = unsafe { libc::mmap(hint, len, protection, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        // SAFETY: the range is the mapping just made.
        unsafe { libc::madvise(start, len, libc::MADV_NOHUGEPAGE) };
        Ok(Self { start: start.cast(), len })
    }

    /// The address of a page.
    pub(crate) fn at(&self, page: usize) -> u64 {
        self.start.addr() as u64 + (page * PAGE) as u64
    }

    /// The first page whose address is a multiple of `size`.
    pub(crate) fn aligned(&self, size: usize) -> usize {
        (self.start.addr().next_multiple_of(size) - self.start.addr()) / PAGE
    }

    /// Writes a byte of one page.
    pub(crate) fn write_one(&self, page: usize) {
        assert!(page * PAGE < self.len);
        // SAFETY: within the mapping, which the caller left writable.
        unsafe { self.start.add(page * PAGE).write_volatile(1) };
    }

    /// Takes all rights to it away.
    pub(crate) fn close(&self) -> Result<()> {
        // SAFETY: our own mapping, and nobody has a reference into it.
        let done = unsafe { libc::mprotect(self.start.cast(), self.len, libc::PROT_NONE) };
        if done == 0 { Ok(()) } else { Err(Error::last_os_error()) }
    }

    /// Takes the right to write one page away, which makes it a region of its own.
    pub(crate) fn make_readable_only(&self, page: usize) -> Result<()> {
        assert!(page * PAGE < self.len);
        // SAFETY: within our own mapping, and nobody has a reference into it.
        let done =
            unsafe { libc::mprotect(self.start.add(page * PAGE).cast(), PAGE, libc::PROT_READ) };
        if done == 0 { Ok(()) } else { Err(Error::last_os_error()) }
    }

    /// Allows these pages to be executed too, which makes them a region of their own.
    pub(crate) fn make_executable(&self, pages: std::ops::Range<usize>) -> Result<()> {
        assert!(pages.start <= pages.end && pages.end * PAGE <= self.len);
        let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        // SAFETY: within our own mapping, which stays as readable and writable as
        // it was.
        let done = unsafe {
            let start = self.start.add(pages.start * PAGE).cast();
            libc::mprotect(start, pages.len() * PAGE, all)
        };
        if done == 0 { Ok(()) } else { Err(Error::last_os_error()) }
    }

    /// Whoever touches a page that is missing waits for it as long as what is
    /// answered is open: nobody serves it.
    pub(crate) fn withhold(&self) -> Result<OwnedFd> {
        const API: libc::c_ulong = 0xc018_aa3f;
        const REGISTER: libc::c_ulong = 0xc020_aa00;
        const MISSING: u64 = 1;
        // SAFETY: integers only.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        let fd = i32::try_from(fd).map_err(Error::other)?;
        if fd < 0 {
            return Err(Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and has no other owner.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // The version, and room for answers; a range, the mode, and room for one.
        let mut api = [0xaa_u64, 0, 0];
        let mut range = [self.at(0), self.len as u64, MISSING, 0];
        // SAFETY: each reads and writes one structure of so many words.
        let done = unsafe {
            libc::ioctl(fd.as_raw_fd(), API, &raw mut api) == 0
                && libc::ioctl(fd.as_raw_fd(), REGISTER, &raw mut range) == 0
        };
        if done { Ok(fd) } else { Err(Error::last_os_error()) }
    }

    /// Advises the kernel of all of it; false where it does not take the advice.
    pub(crate) fn advise(&self, advice: i32) -> bool {
        // SAFETY: our own mapping; no advice that is used here does more than
        // drop, move or guard its pages.
        unsafe { libc::madvise(self.start.cast(), self.len, advice) == 0 }
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

/// The bits of `MAP_HUGE_SHIFT` that ask for pages of this size.
fn huge_size(size: usize) -> i32 {
    i32::try_from(size.trailing_zeros()).unwrap_or(0) << libc::MAP_HUGE_SHIFT
}

/// Does `work` while a forked process shares all that is mapped here, unwritten.
pub(crate) fn beside<T>(work: impl FnOnce() -> T) -> Result<T> {
    // SAFETY: the child calls nothing but pause and _exit, both async-signal-safe.
    let pid = unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::pause();
            libc::_exit(0);
        }
        pid
    };
    if pid == -1 {
        return Err(Error::last_os_error());
    }
    let done = work();
    // SAFETY: the child just made; nobody else waits for it.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
    Ok(done)
}

/// Runs `child` in a forked process, and waits for its end.
///
/// The child has one thread and may only touch memory: nothing that takes a lock.
pub(crate) fn forked(child: impl FnOnce()) -> Result<()> {
    start(child).map(wait)
}

/// Forks a process that does `child` and ends. What holds for the child of
/// [`forked`] holds for it; it may make system calls too.
pub(crate) fn start(child: impl FnOnce()) -> Result<i32> {
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
        pid => Ok(pid),
    }
}

/// Waits for a child's end.
pub(crate) fn wait(pid: i32) {
    let mut status = 0;
    // SAFETY: our own child, and a valid place for its status.
    while unsafe { libc::waitpid(pid, &raw mut status, 0) } < 0
        && Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
    {}
}
