//! The maps, and what each is for.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use vmtrace_common::{
    config::KNOWN_REGIONS,
    counters::Counters,
    record::{Fault, Spill},
    thread::{Cursor, Thread},
};

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

pub(crate) use count;
