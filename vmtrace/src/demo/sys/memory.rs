//! Address space: [`Area`] and the calls that make, change and describe one.

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{HUGE, PAGE, checked, checked_long};

/// A range of address space that the scenarios made for themselves.
///
/// It is never given back: the same addresses are never two things in one
/// process, so that a declaration by address stays true for its whole life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    start: usize,
    end: usize,
}

impl Area {
    /// The first address.
    pub(crate) fn start(self) -> usize {
        self.start
    }

    /// One past the last address.
    pub(crate) fn end(self) -> usize {
        self.end
    }

    /// In bytes.
    pub(crate) fn len(self) -> usize {
        self.end - self.start
    }

    /// In pages of 4 KiB.
    pub(crate) fn pages(self) -> usize {
        self.len() / PAGE
    }

    /// A part of it, in pages.
    pub(crate) fn part(self, pages: Range<usize>) -> Self {
        assert!(pages.start <= pages.end && pages.end <= self.pages(), "a part past the area");
        Self { start: self.start + pages.start * PAGE, end: self.start + pages.end * PAGE }
    }

    /// The first address as C wants it.
    pub(super) fn pointer(self) -> *mut libc::c_void {
        ptr::with_exposed_provenance_mut(self.start)
    }

    /// The addresses right below the main thread's stack, which grows into them.
    ///
    /// `start` is where `[stack]` starts in `/proc/self/maps`.
    pub(crate) fn below_stack(start: usize, pages: usize) -> Self {
        Self { start: start - pages * PAGE, end: start }
    }

    /// The first pages of address space, where nothing may be mapped.
    pub(crate) fn null(pages: usize) -> Self {
        Self { start: 0, end: pages * PAGE }
    }

    /// A range that another part of the process mapped, to be read only.
    pub(crate) fn found(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }

    /// Address space without memory: protected against everything.
    ///
    /// It is aligned to a huge page and has another one free at either side,
    /// so that no neighbour is merged with what is put there.
    pub(crate) fn reserve(bytes: usize) -> io::Result<Self> {
        let all = arena()?;
        let room = bytes.next_multiple_of(HUGE) + HUGE;
        let start = all.start + TAKEN.fetch_add(room, Ordering::Relaxed);
        let area = Self { start, end: start + bytes };
        if area.end > all.end {
            return Err(io::Error::other("the scenarios' address space is used up"));
        }
        Ok(area)
    }

    /// Maps memory of its own: `pages` small pages with these `mmap` arguments.
    pub(crate) fn map(
        pages: usize,
        protection: i32,
        flags: i32,
        file: Option<BorrowedFd<'_>>,
    ) -> io::Result<Self> {
        let area = Self::reserve(pages * PAGE)?;
        area.map_over(protection, flags, file)?;
        Ok(area)
    }

    /// Maps something else in the same place.
    pub(crate) fn map_over(
        self,
        protection: i32,
        flags: i32,
        file: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let fd = file.map_or(-1, |file| file.as_raw_fd());
        let flags = flags | libc::MAP_FIXED;
        // SAFETY: it replaces an area, which holds no Rust value.
        let at = unsafe { libc::mmap(self.pointer(), self.len(), protection, flags, fd, 0) };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Private anonymous memory, readable and writable.
    pub(crate) fn anonymous(pages: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        Self::map(pages, libc::PROT_READ | libc::PROT_WRITE, flags, None)
    }

    /// A file from its start, readable and, where `writable`, writable.
    ///
    /// It lies one MiB off, so that no huge page in the page cache can be
    /// mapped as one, which no setting of the process forbids:
    /// <https://elixir.bootlin.com/linux/v6.18/source/mm/memory.c> (`do_set_pmd`)
    pub(crate) fn file(
        file: BorrowedFd<'_>,
        pages: usize,
        sharing: i32,
        writable: bool,
    ) -> io::Result<Self> {
        let protection = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        let reserved = Self::reserve(pages * PAGE + HUGE / 2)?;
        let area = Self { start: reserved.start + HUGE / 2, end: reserved.end };
        area.map_over(protection, sharing, Some(file))?;
        Ok(area)
    }

    /// Unmaps it and leaves a hole.
    pub(crate) fn unmap(self) -> io::Result<()> {
        // SAFETY: the area holds no Rust value.
        checked(unsafe { libc::munmap(self.pointer(), self.len()) }).map(drop)
    }

    /// Changes what may be done with it.
    pub(crate) fn protect(self, protection: i32) -> io::Result<()> {
        // SAFETY: the area holds no Rust value.
        checked(unsafe { libc::mprotect(self.pointer(), self.len(), protection) }).map(drop)
    }

    /// Gives the kernel an advice.
    pub(crate) fn advise(self, advice: i32) -> io::Result<()> {
        // SAFETY: the area holds no Rust value; advice may drop or poison its pages, no more.
        checked(unsafe { libc::madvise(self.pointer(), self.len(), advice) }).map(drop)
    }

    /// Locks it in memory.
    pub(crate) fn lock(self) -> io::Result<()> {
        // SAFETY: locking changes no byte.
        checked(unsafe { libc::mlock(self.pointer(), self.len()) }).map(drop)
    }

    /// Which pages are in memory (for swapped-out anonymous ones: in the swap cache).
    pub(crate) fn resident(self) -> io::Result<Vec<bool>> {
        let mut map = vec![0u8; self.pages()];
        // SAFETY: the vector has the one byte per page that mincore writes.
        checked(unsafe { libc::mincore(self.pointer(), self.len(), map.as_mut_ptr()) })?;
        Ok(map.into_iter().map(|page| page & 1 == 1).collect())
    }

    /// Copies its first bytes into `to` with `process_vm_readv`: a read-only pin.
    pub(crate) fn pin_and_read(self, to: &mut [u8]) -> io::Result<usize> {
        let bytes = to.len().min(self.len());
        let local = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: bytes };
        let remote = libc::iovec { iov_base: self.pointer(), iov_len: bytes };
        // SAFETY: `local` is a live, exclusively borrowed buffer of that length; the kernel
        // checks `remote` itself.
        let read = unsafe {
            libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0)
        };
        length(read)
    }

    /// Lets the kernel copy from a file into it with `pread`.
    pub(crate) fn fill_from(self, file: BorrowedFd<'_>) -> io::Result<usize> {
        // SAFETY: the area holds no Rust value; the kernel checks that it is writable.
        let read = unsafe { libc::pread(file.as_raw_fd(), self.pointer(), self.len(), 0) };
        length(read)
    }

    /// Gives it a protection key.
    pub(crate) fn set_key(self, key: Key) -> io::Result<()> {
        let protection = libc::c_long::from(libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: the area holds no Rust value.
        let result = unsafe {
            libc::syscall(libc::SYS_pkey_mprotect, self.start, self.len(), protection, key.0)
        };
        checked_long(result).map(drop)
    }
}

/// A length, or the error that a negative one stands for.
fn length(result: libc::ssize_t) -> io::Result<usize> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result.unsigned_abs()) }
}

/// How much of the arena is taken.
static TAKEN: AtomicUsize = AtomicUsize::new(HUGE);

/// Address space for all areas, taken before anything else may have faulted
/// there: memory that malloc gave back leaves its faults behind.
fn arena() -> io::Result<Area> {
    const SIZE: usize = 64 << 30;
    static ARENA: OnceLock<Area> = OnceLock::new();
    if let Some(arena) = ARENA.get() {
        return Ok(*arena);
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let at = unsafe { libc::mmap(ptr::null_mut(), SIZE, libc::PROT_NONE, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // Unlike flags keep the kernel from merging the margins with what is put between them.
    // SAFETY: the range is the mapping just made; the advice only concerns core dumps.
    checked(unsafe { libc::madvise(at, SIZE, libc::MADV_DONTDUMP) })?;
    let start = at.expose_provenance();
    Ok(*ARENA.get_or_init(|| Area { start: start.next_multiple_of(HUGE), end: start + SIZE }))
}

/// A protection key of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key(libc::c_long);

impl Key {
    /// Takes a free key, which forbids nothing yet.
    pub(crate) fn allocate() -> io::Result<Self> {
        // SAFETY: integers only.
        checked_long(unsafe { libc::syscall(libc::SYS_pkey_alloc, 0, 0) }).map(Self)
    }

    /// Gives it back.
    pub(crate) fn free(self) -> io::Result<()> {
        // SAFETY: integers only.
        checked_long(unsafe { libc::syscall(libc::SYS_pkey_free, self.0) }).map(drop)
    }

    /// Forbids this thread every access under the key, or allows it again.
    pub(crate) fn forbid(self, forbidden: bool) {
        let bit = 1u32 << (2 * self.0);
        let old: u32;
        // SAFETY: having a key at all proves that the processor and the kernel know PKRU;
        // only areas carry the key whose bit is changed.
        unsafe {
            std::arch::asm!("rdpkru", in("ecx") 0, out("eax") old, out("edx") _);
            let new = if forbidden { old | bit } else { old & !bit };
            std::arch::asm!("wrpkru", in("eax") new, in("ecx") 0, in("edx") 0);
        }
    }
}

/// A System V segment of `pages` pages, attached, and gone when the process is.
pub(crate) fn system_v(pages: usize) -> io::Result<Area> {
    let area = Area::reserve(pages * PAGE)?;
    // SAFETY: integers only.
    let id = checked(unsafe { libc::shmget(libc::IPC_PRIVATE, area.len(), 0o600) })?;
    // SAFETY: SHM_REMAP replaces an area, which holds no Rust value.
    let at = unsafe { libc::shmat(id, area.pointer(), libc::SHM_REMAP) };
    let attached = if at.addr() == usize::MAX { Err(io::Error::last_os_error()) } else { Ok(area) };
    // SAFETY: no buffer is passed; the segment lives on until it is detached.
    checked(unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) })?;
    attached
}

/// What `malloc` answers, less the first page, which holds its own header.
pub(crate) fn allocate(bytes: usize) -> io::Result<Area> {
    // SAFETY: malloc may be asked for anything; what it gives is never freed.
    let at = unsafe { libc::malloc(bytes) }.expose_provenance();
    if at == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Area { start: at.next_multiple_of(PAGE), end: (at + bytes) / PAGE * PAGE })
}
