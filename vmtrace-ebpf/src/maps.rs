//! The maps, and what each is for.

use core::{arch::asm, hint::cold_path, mem::size_of};

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use vmtrace_common::{
    config::{KNOWN_REGIONS, blank},
    counters::Counters,
    record::{Fault, Spill},
    thread::{Cursor, Thread},
};

use crate::config;

/// `BPF_F_MMAPABLE`: user space reads and writes the memory itself.
const SHARED_MEMORY: u32 = 1 << 10;

/// Traced threads, indexed by the low bits of their ids, in memory that user
/// space maps. Behind those that are indexed lie the ones whose slot was taken.
/// Looked up in the fault path, made and given back only at birth and death.
#[map]
pub(crate) static THREADS: Array<Thread> = Array::with_max_entries(1, SHARED_MEMORY);

/// Which slots of [`THREADS`] are whose: who enters one here has it.
#[map]
pub(crate) static CLAIMS: HashMap<u32, u32> = HashMap::with_max_entries(16384, 0);

/// The slots of those threads that are not where their id says.
#[map]
pub(crate) static CROWD: HashMap<u32, u32> = HashMap::with_max_entries(4096, 0);

/// Processes that were asked for: a thread born in one is traced even if its
/// creator is not yet.
#[map]
pub(crate) static TARGETS: HashMap<u32, u32> = HashMap::with_max_entries(16384, 0);

/// Cgroups that were asked for, by id.
#[map]
pub(crate) static CGROUPS: HashMap<u64, u32> = HashMap::with_max_entries(4096, 0);

/// The fault rings: `CPU × lane × slot`, in memory that user space maps.
#[map]
pub(crate) static RINGS: Array<Fault> = Array::with_max_entries(1, SHARED_MEMORY);

/// The rings' positions: `lane × CPU`.
#[map]
pub(crate) static CURSORS: Array<Cursor> = Array::with_max_entries(1, SHARED_MEMORY);

/// Where faults go that a ring has no room for: `CPU × lane × slot`.
#[map]
pub(crate) static SPILLS: Array<Spill> = Array::with_max_entries(1, SHARED_MEMORY);

/// Signatures of the regions described already, the last two of each place. Entries
/// may be overwritten by another CPU at any time; the worst that follows is a second
/// description.
#[map]
pub(crate) static KNOWN: Array<[u64; 2]> = Array::with_max_entries(KNOWN_REGIONS, 0);

/// Rare records: regions, processes, OOM kills.
#[map]
pub(crate) static RARE: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Single TLB flushes, where they are asked for: they come in floods and must
/// not crowd the rare records out.
#[map]
pub(crate) static FLUSHES: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// What is counted beside the threads.
#[map]
pub(crate) static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// An element of one of the arrays that user space maps too: by its address where those
/// have one ([`Shared`](vmtrace_common::config::Shared)), else looked up.
macro_rules! element {
    ($map:ident, $shared:ident, $index:expr) => {
        $crate::maps::find::<
            _,
            { $crate::config::place!($shared.map) },
            { $crate::config::place!($shared.count) },
        >(&$crate::maps::$map, $index)
    };
}

/// See [`element!`]. An index beyond the last is the first's: that no caller asks for
/// one is not known to the verifier.
#[inline(always)]
pub(crate) fn find<T, const MAP: usize, const COUNT: usize>(
    array: &Array<T>,
    index: u32,
) -> Option<*mut T> {
    let memory = config::memory::<MAP>();
    if memory == 0 {
        cold_path();
        return array.get_ptr_mut(index);
    }
    let mut element = u64::from(index);
    // SAFETY: arithmetic on a register, and a jump over a part of it. It is done here
    // because the compiler may compare one copy of the index and use another, which
    // verifiers before 6.6 do not follow.
    unsafe {
        asm!(
            "if {0} < {1} goto +1",
            "{0} = 0",
            "{0} *= {2}",
            "{0} += {3}",
            inout(reg) element,
            const blank::IMMEDIATE as usize | COUNT,
            const size_of::<T>(),
            in(reg) memory,
            options(pure, nomem, nostack),
        );
    }
    Some(element as *mut T)
}

/// Adds one to a field of this CPU's [`COUNTERS`].
macro_rules! count {
    ($field:ident) => {
        if let Some(counters) = $crate::maps::COUNTERS.get_ptr_mut(0) {
            // SAFETY: the pointer is to this CPU's copy; an interrupt that
            // counts in between can lose one count of a diagnostic figure.
            unsafe { (*counters).$field += 1 }
        }
    };
}

pub(crate) use {count, element};
