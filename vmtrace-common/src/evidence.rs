//! The bits that describe one fault: what the processor said, what the kernel
//! was asked, what it answered, which paths it took, and what kind of mapping
//! was touched.
//!
//! The constants mirror the kernel's own and are stable over every kernel
//! vmtrace runs on; those that moved say so.

/// The page fault's error code, as the processor pushed it.
///
/// <https://elixir.bootlin.com/linux/v6.12/source/arch/x86/include/asm/trap_pf.h>
pub mod error {
    /// The page was present: a protection fault rather than a missing page.
    pub const PRESENT: u16 = 1 << 0;
    /// The access was a write.
    pub const WRITE: u16 = 1 << 1;
    /// The access came from user mode.
    pub const USER: u16 = 1 << 2;
    /// A reserved bit was set in a page-table entry.
    pub const RESERVED: u16 = 1 << 3;
    /// The access was an instruction fetch.
    pub const FETCH: u16 = 1 << 4;
    /// A protection key forbade the access.
    pub const KEY: u16 = 1 << 5;
    /// The access was to a shadow stack.
    pub const SHADOW_STACK: u16 = 1 << 6;
    /// SGX's enclave page cache refused the access.
    pub const SGX: u16 = 1 << 15;
}

/// `enum fault_flag`: how `handle_mm_fault` was called.
///
/// <https://elixir.bootlin.com/linux/v6.12/source/include/linux/mm_types.h>
pub mod flag {
    /// The fault wants to write.
    pub const WRITE: u16 = 1 << 0;
    /// The page was read-only and its file is about to be told of a write.
    pub const MKWRITE: u16 = 1 << 1;
    /// The handler may drop the lock and ask to be called again.
    pub const ALLOW_RETRY: u16 = 1 << 2;
    /// The handler must not wait when it retries.
    pub const RETRY_NOWAIT: u16 = 1 << 3;
    /// The wait may be interrupted by a fatal signal.
    pub const KILLABLE: u16 = 1 << 4;
    /// The fault was tried before.
    pub const TRIED: u16 = 1 << 5;
    /// The access came from user mode.
    pub const USER: u16 = 1 << 6;
    /// The fault is taken on behalf of another address space.
    pub const REMOTE: u16 = 1 << 7;
    /// The access was an instruction fetch.
    pub const INSTRUCTION: u16 = 1 << 8;
    /// The wait may be interrupted by any signal.
    pub const INTERRUPTIBLE: u16 = 1 << 9;
    /// A read that must end in a page of its own (long-term pin).
    pub const UNSHARE: u16 = 1 << 10;
    /// The caller had read the page-table entry already.
    pub const ORIG_PTE_VALID: u16 = 1 << 11;
    /// Only the region's own lock was held (6.4 and later).
    pub const VMA_LOCK: u16 = 1 << 12;
}

/// `enum vm_fault_reason`: what `handle_mm_fault` answered, low 16 bits.
pub mod ret {
    /// Out of memory.
    pub const OOM: u16 = 1 << 0;
    /// A bad access that ends in SIGBUS.
    pub const SIGBUS: u16 = 1 << 1;
    /// The fault needed I/O. Where an earlier call said so, the last one's flags
    /// have [`TRIED`](super::flag::TRIED), which the kernel counts the same.
    pub const MAJOR: u16 = 1 << 2;
    /// 5.x only: the page was made writable.
    pub const WRITE: u16 = 1 << 3;
    /// The page is poisoned.
    pub const HWPOISON: u16 = 1 << 4;
    /// The huge page is poisoned.
    pub const HWPOISON_LARGE: u16 = 1 << 5;
    /// A bad access that ends in SIGSEGV.
    pub const SIGSEGV: u16 = 1 << 6;
    /// The handler installed the entry itself.
    pub const NOPAGE: u16 = 1 << 8;
    /// The handler returned its page locked.
    pub const LOCKED: u16 = 1 << 9;
    /// Call again: not the end of the fault.
    pub const RETRY: u16 = 1 << 10;
    /// A huge page was not to be had: small ones instead.
    pub const FALLBACK: u16 = 1 << 11;
    /// The file's handler did the copy on write itself (DAX).
    pub const DONE_COW: u16 = 1 << 12;
    /// A synchronous mapping wants its file flushed.
    pub const NEEDDSYNC: u16 = 1 << 13;
    /// Done, and the lock is dropped already (6.0 and later).
    pub const COMPLETED: u16 = 1 << 14;
    /// Any of these means that the fault failed.
    ///
    /// The kernel counts a failed fault in neither `min_flt` nor `maj_flt`.
    pub const ERROR: u16 = OOM | SIGBUS | SIGSEGV | HWPOISON | HWPOISON_LARGE | FALLBACK;
}

/// Marks left by the paths a fault took on its way.
pub mod mark {
    /// `do_wp_page`: a write to a page that is present and read-only.
    pub const WRITE_PROTECT: u16 = 1 << 0;
    /// After it, the entry pointed at another frame.
    pub const COPIED: u16 = 1 << 1;
    /// After it, the entry pointed at the same frame, now writable.
    pub const REUSED: u16 = 1 << 2;
    /// The frame before was the shared zero page.
    pub const ZERO_PAGE: u16 = 1 << 3;
    /// `do_swap_page` on an entry that names a slot in swap.
    pub const SWAP: u16 = 1 << 4;
    /// The page was being migrated: the fault waited for it.
    pub const MIGRATION: u16 = 1 << 5;
    /// A device-private or device-exclusive entry.
    pub const DEVICE_ENTRY: u16 = 1 << 6;
    /// A poisoned page's or a marker's entry.
    pub const POISON_ENTRY: u16 = 1 << 7;
    /// A huge page was installed at the PMD level.
    pub const HUGE: u16 = 1 << 8;
    /// A huge page was write-protected (`do_huge_pmd_wp_page`).
    pub const HUGE_WRITE_PROTECT: u16 = 1 << 9;
    /// A NUMA-balancing hint.
    pub const NUMA_HINT: u16 = 1 << 10;
    /// `handle_userfault`: a user-space pager was asked.
    pub const USERFAULT: u16 = 1 << 11;
    /// A hugetlb page was copied or made writable.
    pub const HUGETLB_WRITE_PROTECT: u16 = 1 << 12;
    /// The entry was present and good: only its access bits were set.
    pub const ACCESS_ONLY: u16 = 1 << 13;
    /// A movable user page was allocated in between (tracepoint backend).
    pub const ALLOCATED: u16 = 1 << 14;
    /// A huge user page was allocated in between (tracepoint backend).
    pub const ALLOCATED_HUGE: u16 = 1 << 15;
}

/// The nature of the region that was touched.
///
/// None of [`FILE`](nature::FILE), [`SHMEM`](nature::SHMEM),
/// [`HUGETLB`](nature::HUGETLB) and [`DEVICE`](nature::DEVICE) means anonymous.
pub mod nature {
    /// Backed by a file that is not shared memory.
    pub const FILE: u16 = 1 << 0;
    /// Backed by shmem: tmpfs, memfd, System V, shared anonymous.
    pub const SHMEM: u16 = 1 << 1;
    /// Backed by hugetlbfs.
    pub const HUGETLB: u16 = 1 << 2;
    /// Backed by a device or by page frames without a `struct page`.
    pub const DEVICE: u16 = 1 << 3;
    /// A shared mapping.
    pub const SHARED: u16 = 1 << 4;
    /// Readable.
    pub const READ: u16 = 1 << 5;
    /// Writable.
    pub const WRITE: u16 = 1 << 6;
    /// Executable.
    pub const EXEC: u16 = 1 << 7;
    /// A stack: grows down.
    pub const GROWS_DOWN: u16 = 1 << 8;
    /// Locked in memory.
    pub const LOCKED: u16 = 1 << 9;
    /// Registered with userfaultfd.
    pub const USERFAULTFD: u16 = 1 << 10;
    /// The nature is known. Without it the other bits mean nothing: user space
    /// has to find the region by its address.
    pub const KNOWN: u16 = 1 << 15;
}

/// Where a fault came from.
pub mod origin {
    /// A user-mode access.
    pub const USER: u8 = 0;
    /// A kernel-mode access to a user address: a system call's argument.
    pub const KERNEL: u8 = 1;
    /// `get_user_pages` and its kin: no exception was taken.
    pub const GUP: u8 = 2;
    /// No page fault at all: another exception (#GP).
    pub const TRAP: u8 = 3;
}

/// How a fault ended.
pub mod end {
    /// The final return of `handle_mm_fault`.
    pub const RETURN: u8 = 0;
    /// SIGSEGV or SIGBUS was generated for the faulting thread.
    pub const SIGNAL: u8 = 1;
    /// A kernel-mode access went to its exception-table fix-up.
    pub const FIXUP: u8 = 2;
    /// A perf software event: `ret` holds [`ret::MAJOR`](super::ret::MAJOR) or
    /// nothing (tracepoint backend).
    pub const EVENT: u8 = 3;
    /// The end was not seen: the next fault of the thread found it open and
    /// the kernel's counters had grown. The latency is not known.
    pub const RECONSTRUCTED: u8 = 4;
}
