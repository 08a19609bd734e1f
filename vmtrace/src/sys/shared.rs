//! Map memory that the programs write while user space reads it.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use vmtrace_common::record::{Fault, Spill};
use vmtrace_common::thread::{Cursor, Thread};

/// The types that may lie in shared memory.
trait Element: Copy {}
impl Element for Fault {}
impl Element for Spill {}
impl Element for Cursor {}
impl Element for Thread {}

/// An array map's memory.
#[derive(Debug)]
struct Memory<T> {
    base: NonNull<T>,
    len: usize,
    _elements: PhantomData<T>,
}

// SAFETY: the mapping belongs to this value alone; what is concurrent about it
// is the kernel, whatever thread reads.
unsafe impl<T: Element> Send for Memory<T> {}

impl<T: Element> Memory<T> {
    fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        // Without, the reader spends 54 instructions a record more on 7.3, not on
        // 6.12: as if only 7.3 mapped the pages one by one, as they are touched.
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: a new mapping of a file descriptor that is open; the kernel
        // refuses a length beyond the map's.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len * size_of::<T>(),
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                fd.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { base, len, _elements: PhantomData })
    }

    fn at(&self, index: usize) -> *mut T {
        assert!(index < self.len, "element {index} of {}", self.len);
        // SAFETY: within the mapping, as just checked.
        unsafe { self.base.as_ptr().add(index) }
    }
}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of this length, and nobody uses it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len * size_of::<T>()) };
    }
}

/// The fault rings' memory.
#[derive(Debug)]
pub struct Slots(Memory<Fault>);

impl Slots {
    /// Maps `len` slots of the map behind `fd`.
    pub fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Memory::map(fd, len).map(Self)
    }

    /// `len` faults from slot `first` on.
    ///
    /// The caller has read, from the ring's cursor, that the program wrote them,
    /// and has not yet told it that they are read: until then it leaves them alone.
    pub fn faults(&self, first: u64, len: u64) -> &[Fault] {
        let (Ok(first), Ok(len)) = (usize::try_from(first), usize::try_from(len)) else {
            return &[];
        };
        if len == 0 {
            return &[];
        }
        self.0.at(first + len - 1);
        // SAFETY: in bounds, as just checked; initialised, because the kernel
        // zeroes maps and any bytes are a `Fault`; not written, see above.
        unsafe { std::slice::from_raw_parts(self.0.at(first), len) }
    }
}

/// The rings' positions.
#[derive(Debug)]
pub struct Cursors(Memory<Cursor>);

impl Cursors {
    /// Maps `len` cursors of the map behind `fd`.
    pub fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Memory::map(fd, len).map(Self)
    }

    /// Tells ring `index` where its slots begin, and its CPU.
    pub fn place(&self, index: usize, first: u32, cpu: u32) {
        let cursor = self.0.at(index);
        // SAFETY: in bounds and aligned; no program runs yet.
        unsafe {
            AtomicU64::from_ptr(&raw mut (*cursor).place)
                .store(u64::from(cpu) << 16, Ordering::Release);
            AtomicU32::from_ptr(&raw mut (*cursor).first).store(first, Ordering::Release);
        }
    }

    /// How many faults were written to ring `index`: those before it are whole.
    pub fn head(&self, index: usize) -> u64 {
        // SAFETY: in bounds, aligned, and accessed as a whole word by both sides.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.0.at(index)).head) }.load(Ordering::Acquire)
    }

    /// How many faults found ring `index` full.
    pub fn full(&self, index: usize) -> u64 {
        // SAFETY: as `head`.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.0.at(index)).full) }.load(Ordering::Relaxed)
    }

    /// Tells ring `index` that faults up to `tail` are read.
    pub fn set_tail(&self, index: usize, tail: u64) {
        // SAFETY: as `head`; only user space writes it.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.0.at(index)).tail) }
            .store(tail, Ordering::Release);
    }
}

/// The spill tables.
#[derive(Debug)]
pub struct Spills(Memory<Spill>);

impl Spills {
    /// Maps `len` slots of the map behind `fd`.
    pub fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Memory::map(fd, len).map(Self)
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.0.len
    }

    /// How many faults slot `index` holds.
    pub fn count(&self, index: usize) -> u64 {
        // SAFETY: in bounds, aligned, and accessed as a whole word by both sides.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.0.at(index)).count) }.load(Ordering::Acquire)
    }

    /// A copy of slot `index`. While the program still writes, its figures may
    /// be a fault apart; what it describes never changes once it counts one.
    pub fn copy(&self, index: usize) -> Spill {
        // SAFETY: in bounds; a volatile read of integers, any of which is valid.
        unsafe { ptr::read_volatile(self.0.at(index)) }
    }
}

/// The traced threads.
#[derive(Debug)]
pub struct Threads(Memory<Thread>);

impl Threads {
    /// Maps `len` slots of the map behind `fd`.
    pub fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Memory::map(fd, len).map(Self)
    }

    /// Writes a new entry to slot `index`, which the caller has claimed: its
    /// thread writes it from the moment on at which it finds its id there.
    pub fn enter(&self, index: usize, tid: u32, thread: &Thread) {
        let slot = self.0.at(index);
        // SAFETY: in bounds and aligned; the slot is nobody's until its `tid`
        // says whose, and `crowded` is left alone: a whole word, which others set.
        unsafe {
            let crowded = AtomicU32::from_ptr(&raw mut (*slot).crowded).load(Ordering::Relaxed);
            slot.write(Thread { tid: 0, crowded, ..*thread });
            AtomicU32::from_ptr(&raw mut (*slot).tid).store(tid, Ordering::Release);
        }
    }

    /// Says that a thread whose id leads to slot `index` is elsewhere.
    pub fn crowd(&self, index: usize) {
        // SAFETY: in bounds, aligned, and accessed as a whole word by both sides.
        unsafe { AtomicU32::from_ptr(&raw mut (*self.0.at(index)).crowded) }
            .store(1, Ordering::Release);
    }

    /// A copy of slot `index`.
    pub fn copy(&self, index: usize) -> Thread {
        // SAFETY: in bounds; a volatile read of integers, any of which is valid.
        unsafe { ptr::read_volatile(self.0.at(index)) }
    }
}
