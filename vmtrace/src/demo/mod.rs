//! Scenarios: small programs that fault in a known way, as many times as they
//! say, where they say, and declare it.
//!
//! They teach what page faults are, and they are what a tracer is checked
//! against: the count of a declaration comes from its program and from the
//! kernel's own counters, never from a trace. One file per theme; the table
//! below is the only place that knows all of them.

mod anon;
pub mod check;
pub mod compare;
mod cow;
pub mod declare;
mod device;
mod files;
mod fork;
mod group;
mod huge;
mod hugetlb;
mod invalid;
mod need;
mod numa;
mod populate;
mod pressure;
mod run;
pub mod settle;
mod shmem;
mod spurious;
mod stack;
mod stage;
mod swap;
mod sys;
mod tlb;
mod userfault;
pub mod waits;
mod witness;

pub use run::{Options, Voice, child, list, names, run};

/// A file that lies in memory alone, for declarations that nobody keeps.
pub fn memory_file() -> std::io::Result<std::fs::File> {
    sys::swap::memory_file(c"vmtrace-declarations")
}

use need::Need::{
    self, Asked, Balancing, Cpus, Group, HugePages, Hugetlb, Keys, Nodes, Overcommit, Poison, Root,
    Scratch, SwapFile, Userfaultfd, Zram, Zswap,
};
use stage::Stage;

/// One scenario.
struct Scenario {
    /// What it is called on the command line.
    name: &'static str,
    /// The file that it lies in, which names it together with others.
    theme: &'static str,
    /// The first line about it.
    title: &'static str,
    /// The second line about it.
    story: &'static str,
    /// What has to be there.
    needs: &'static [Need],
    /// The program.
    play: fn(&mut Stage) -> anyhow::Result<()>,
}

macro_rules! scenarios {
    ($($name:literal, $theme:ident::$play:ident, [$($need:expr),*], $title:literal, $story:literal;)+) => {
        /// All scenarios, in the order in which they teach.
        const SCENARIOS: &[Scenario] = &[$(Scenario {
            name: $name,
            theme: stringify!($theme),
            title: $title,
            story: $story,
            needs: &[$($need),*],
            play: $theme::$play,
        },)+];
    };
}

scenarios! {
    "anon-write", anon::write, [],
        "the first write to anonymous memory",
        "mmap promises memory; each page is found, zeroed and mapped when it is first written.";
    "anon-read", anon::read, [],
        "the first read of anonymous memory",
        "A page that was never written reads as zeroes: all such pages are one shared page.";
    "zero-page", anon::zero_page, [],
        "a write to a page that was only read so far",
        "The shared zero page is replaced by a page of its own: a copy with nothing to copy.";
    "anon-dontneed", anon::dontneed, [],
        "memory given back with MADV_DONTNEED and touched again",
        "The pages are gone at once, so that each next touch starts over with a fresh zeroed page.";
    "anon-free", anon::free, [],
        "memory given back with MADV_FREE, taken back before and after the kernel took it",
        "Until it is reclaimed a page is still there and costs nothing; afterwards it starts over.";
    "overcommit", anon::overcommit, [Overcommit],
        "malloc of four times the machine's memory, a few pages of it touched",
        "Address space is not memory: only the pages that are touched are ever found.";
    "stack", stack::grow, [],
        "the main thread's stack growing by 64 pages",
        "A touch below the stack's region makes the region larger and the page present.";
    "populate", populate::populate, [],
        "MAP_POPULATE and mlock: faults without an exception",
        "The kernel walks the range itself; the counters rise, the program is never interrupted.";
    "file-warm", files::warm, [Scratch],
        "a cached file mapped privately and shared, one page of each window read",
        "The pages are in the page cache: mapping one maps its neighbours too (fault-around).";
    "file-cold", files::cold, [Scratch],
        "a file that is not cached, read at random (MADV_RANDOM)",
        "No neighbour is read ahead, so that each page waits for the disk: major faults.";
    "file-sequential", files::sequential, [Scratch],
        "the same file cold, read from start to end (MADV_SEQUENTIAL)",
        "Read-ahead turns most of the waits into page-cache hits, and fault-around most hits into none.";
    "file-willneed", files::willneed, [Scratch],
        "the same file cold, announced with MADV_WILLNEED and read once it is there",
        "The disk works ahead of the program, which only ever meets the page cache.";
    "file-read-call", files::read_call, [Scratch],
        "read() of the file into fresh memory, beside mmap",
        "No fault on the file: they are on the buffer, and it is the kernel that takes them.";
    "file-mkwrite", files::mkwrite, [Scratch],
        "writes to a shared file mapping: mapped, not yet mapped, and written back",
        "Before a clean page becomes dirty its file system is asked, after each write-back again.";
    "cow-file", files::cow_file, [Scratch],
        "a private file page written first",
        "It goes from the page cache into a page of its own in one step.";
    "cow-file-read", files::cow_file_read, [Scratch],
        "a private file page written after it was read",
        "The page is mapped read-only first, then copied: two faults instead of one.";
    "shmem", shmem::anonymous, [],
        "shared anonymous memory",
        "Written here, read by a second process: one page, a fault for each who maps it.";
    "memfd", shmem::memfd, [],
        "a memfd, written through one mapping and read through another",
        "The second mapping finds the pages there, and its faults map neighbours as for files.";
    "tmpfs", shmem::tmpfs, [],
        "a file in /dev/shm, mapped and written",
        "A tmpfs file is shared memory with a name.";
    "sysv", shmem::system_v, [],
        "a System V segment, attached and written",
        "The oldest way to shared memory ends on the same path.";
    "fork-child", cow::child_writes, [],
        "fork, then the child writes, ends, and the parent writes",
        "The child copies each page; when it is gone the parent owns them alone and copies nothing.";
    "fork-parent", cow::parent_writes, [],
        "fork, then the parent writes, and the child after it",
        "Whoever writes first copies; the other finds itself the last owner.";
    "fork-exec", cow::exec, [],
        "fork followed by exec, then the parent writes",
        "exec drops the child's share: the parent only gets its write permission back.";
    "cow-unshare", cow::unshare, [],
        "a read-only pin (process_vm_readv) of pages shared by a fork",
        "A pin has to hold the page that the program will see: since 6.0 it copies, though it only reads.";
    "mprotect-upgrade", cow::upgrade, [],
        "memory made read-only and writable again, then written",
        "Older kernels give the permission back page by page at the next write, newer ones at once.";
    "thp", huge::allocate, [HugePages],
        "transparent huge pages written first (MADV_HUGEPAGE)",
        "One fault brings 2 MiB: 512 times fewer faults, each of which zeroes 512 times as much.";
    "thp-zero", huge::zero, [HugePages],
        "the same, read first, then written",
        "The huge zero page is shared too; a write replaces all of it or breaks it up, by kernel.";
    "thp-split", huge::split, [HugePages],
        "a part of a huge page given back and written again",
        "The mapping is broken into small pages; the part returns page by page.";
    "thp-fork", huge::fork, [HugePages],
        "a huge page shared by a fork and written by the child",
        "The first write breaks the mapping up and copies 4 KiB of it; the parent reuses it whole.";
    "hugetlb", hugetlb::allocate, [Hugetlb(8)],
        "pages from the hugetlb pool, written first and read first",
        "Reserved when they are mapped, so that the fault cannot fail.";
    "hugetlb-fork", hugetlb::fork, [Hugetlb(8)],
        "hugetlb pages shared by a fork and written by the child, then by the parent",
        "Copy on write of 2 MiB at a time.";
    "swap-zram", swap::zram, [Root, Zram],
        "pages swapped out to compressed memory and read back",
        "No disk is involved, yet the kernel calls it a major fault.";
    "swap-device", swap::device, [Root, SwapFile, Group],
        "pages swapped out to a disk and read back",
        "Each page waits for the disk (read-ahead is off, to be exact).";
    "swap-zswap", swap::zswap, [Root, Zswap, Group],
        "pages swapped out, caught by zswap and read back",
        "Major by the kernel's count, without any input or output.";
    "swap-cache", swap::cache, [Root, SwapFile, Group],
        "swapped-out pages shared by a fork: one process reads them in, then the other",
        "The second finds them in the swap cache: minor faults.";
    "shmem-swap-in", swap::shmem, [Root, Zram],
        "shared memory swapped out and read back",
        "The same by another path: the page is the file's, not the process's.";
    "thrash", pressure::thrash, [Root, Zram, Group],
        "a working set one and a half times its memory cgroup's limit, swept three times",
        "Each page that comes in pushes out one that will be needed soon.";
    "oom-kill", pressure::kill, [Root, Group],
        "a process that writes more than its memory cgroup may hold",
        "With nothing to swap to and nothing to reclaim the OOM killer ends it.";
    "oom", pressure::unkillable, [Root, Group],
        "the same by a process that must not be killed",
        "Its fault fails with VM_FAULT_OOM and is taken again, until somebody raises the limit.";
    "prot-none", invalid::mend, [],
        "a page of PROT_NONE, mended by a SIGSEGV handler",
        "How garbage collectors watch accesses: an invalid fault, a signal, then a plain fault.";
    "null", invalid::null, [],
        "reads through a null pointer",
        "Nothing is ever mapped in the first 64 KiB.";
    "unmapped", invalid::unmapped, [],
        "reads where nothing is mapped",
        "SIGSEGV with SEGV_MAPERR.";
    "read-only", invalid::read_only, [],
        "writes to read-only memory",
        "SIGSEGV with SEGV_ACCERR.";
    "execute-data", invalid::execute, [],
        "execution of data",
        "The fault is on the instruction fetch: SIGSEGV with SEGV_ACCERR.";
    "pkey", invalid::key, [Keys],
        "memory behind a protection key",
        "The page tables allow it, the thread's key register does not: SEGV_PKUERR.";
    "beyond-eof", invalid::beyond_eof, [],
        "a mapping read beyond its file's end",
        "The region is there, the file's page is not: SIGBUS.";
    "stack-guard", stack::overflow, [],
        "a stack that hits its limit, on an alternative signal stack",
        "It grows up to RLIMIT_STACK; the next page is a stack overflow.";
    "non-canonical", invalid::non_canonical, [],
        "an address that no page table can hold",
        "The processor raises #GP instead of a page fault: SIGSEGV without an address.";
    "efault", invalid::efault, [],
        "a bad pointer handed to a system call",
        "The kernel takes the fault, finds no region, and returns EFAULT: no signal.";
    "hwpoison", invalid::poison, [Asked, Root, Poison],
        "a page whose memory is broken (MADV_HWPOISON); only if asked for by name",
        "SIGBUS with BUS_MCEERR_AR. The page frame stays out of use until reboot.";
    "userfault", userfault::late, [Userfaultfd],
        "userfaultfd pages served after 1, 10, 50 and 100 ms",
        "A program is the pager: the fault takes as long as the program takes.";
    "device", device::clock, [],
        "the kernel's clock page, [vvar]",
        "A page without a struct page, mapped by a driver's handler when it is first read.";
    "spurious-race", spurious::race, [Cpus(2)],
        "two threads that touch each page at the same time",
        "Both fault, one maps the page; the other finds its work done.";
    "spurious-stale", spurious::stale, [Cpus(2)],
        "a write through a TLB entry that another CPU's fault made stale",
        "The page table says writable already: the fault has nothing to do.";
    "numa-hint", numa::hint, [Nodes, Balancing],
        "memory on the far NUMA node, used until balancing notices",
        "The kernel makes pages inaccessible to learn who uses them, and moves them closer.";
    "migration", numa::migration, [Cpus(2), Nodes],
        "a page written by one thread while another moves it between NUMA nodes",
        "A touch in the middle of the move waits for its end.";
    "tlb", tlb::shootdowns, [Cpus(2)],
        "madvise, mprotect and munmap against a thread on another CPU",
        "Each has to reach into the other CPU to make it forget a translation.";
}

#[cfg(test)]
mod tests {
    use super::SCENARIOS;
    use crate::fault::Kind;

    const PAGE: &str = include_str!("../../../docs/scenarios.md");

    #[test]
    fn every_scenario_and_every_kind_is_on_the_page() {
        let missing = |name: &&str| !PAGE.contains(&format!("`{name}`"));
        let scenarios = SCENARIOS.iter().map(|one| one.name);
        let names: Vec<_> = scenarios.chain(Kind::ALL.iter().map(|kind| kind.name())).collect();
        let missing: Vec<_> = names.into_iter().filter(missing).collect();
        assert_eq!(missing, [""; 0]);
    }
}
