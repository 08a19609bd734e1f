//! Sending: a finished fault to its ring or spill table, a rare record to its own.

use core::{arch::asm, mem::size_of};

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
    maps::ring_buf::RingBufEntry,
};
use vmtrace_common::{
    buckets,
    config::{SPILL_ANYBODY, SPILL_ANYWHERE, SPILL_PROBES, SPILL_WINDOW, lane},
    evidence::{end, flag, ret},
    record::{Fault, Header, Spill, tag},
    thread::{Cursor, Thread, state},
};

use crate::{
    config::{config, config_long, enabled, equals, masked, reaches},
    inflight,
    maps::{RARE, count, element},
    target::{Current, Ids},
};

/// Rare records wait for the reader's next tick unless this much has gathered.
const RARE_WAKEUP: u64 = 1 << 18;

/// The clock of all records.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// What the end of a fault knows beside the fault in flight, or of what the probes
/// kept with it. Each is read where it is written: what is read earlier would have to
/// be kept over the calls between.
pub(crate) trait Ending {
    /// The address, as the end knows it.
    fn address(&self, thread: &Thread) -> u64;

    /// The instruction.
    fn ip(&self, thread: &Thread) -> u64;

    /// The handler's flags, where they are not noted already; in the lower 16 bits.
    #[inline(always)]
    fn flags(&self, _thread: &Thread) -> u64 {
        0
    }

    /// Its answer, where that is not; in the lower 16 bits.
    fn ret(&self) -> u64;

    /// [`end`], where that is not.
    #[inline(always)]
    fn end(&self) -> u8 {
        end::RETURN
    }

    /// The signal and its code in the upper half.
    #[inline(always)]
    fn signal(&self) -> u16 {
        0
    }
}

/// Closes the fault in flight, which ended at `now`, and sends it through the
/// calling program's own lane.
#[inline(always)]
pub(crate) fn finish(
    lane: u32,
    task: Current,
    thread: &mut Thread,
    now: u64,
    ending: &impl Ending,
) {
    thread.state = state::IDLE;
    thread.seen += 1;
    inflight::account(task, thread);
    // SAFETY: no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    if enabled!(selective by thread) {
        if enabled!(filtered) && is_left_out(thread, now, ending) {
            thread.filtered += 1;
            return;
        }
        if enabled!(tally) && lane == lane::END && fold_again(cpu, thread, now, ending) {
            return;
        }
    }
    let ring = if lane == lane::END { cpu } else { lane * config!(cpus) + cpu };
    let Some(cursor) = element!(CURSORS, cursors, ring) else {
        thread.lost += 1;
        return;
    };
    // SAFETY: only this program writes `head`, and it does not run twice at
    // once on a CPU; `tail` is user space's, read once.
    let (head, tail) =
        unsafe { ((*cursor).head, core::ptr::read_volatile(&raw const (*cursor).tail)) };
    let used = head.wrapping_sub(tail);
    let is_full =
        if lane == lane::END { reaches!(used, ring_room) } else { reaches!(used, side_room) };
    if is_full {
        // SAFETY: as `head`.
        let aside = unsafe {
            (*cursor).full += 1;
            &mut (*cursor).aside
        };
        write(aside, cursor, thread, now, ending);
        put_aside(lane, cpu, thread, aside);
        return;
    }
    // SAFETY: written once, before any program ran.
    let first = unsafe { (*cursor).first };
    let slot = if lane == lane::END {
        masked!(head as u32, ring_mask)
    } else {
        masked!(head as u32, side_mask)
    };
    let Some(slot) = element!(RINGS, rings, first + slot) else {
        thread.lost += 1;
        return;
    };
    // SAFETY: the slot is ours until `head` moves past it.
    unsafe {
        write(slot, cursor, thread, now, ending);
        publish();
        core::ptr::write_volatile(&raw mut (*cursor).head, head + 1);
    }
    let is_filling =
        if lane == lane::END { equals!(used, ring_bell) } else { equals!(used, side_bell) };
    if is_filling {
        ring_the_bell();
    }
}

/// Whether a filter leaves a fault out.
#[inline(always)]
fn is_left_out(thread: &Thread, now: u64, ending: &impl Ending) -> bool {
    let major = ending.ret() & u64::from(ret::MAJOR) != 0
        || ending.flags(thread) & u64::from(flag::TRIED) != 0;
    now - thread.start < config_long!(min_latency) || enabled!(only_major) && !major
}

/// Writes a fault's record, word by word: half of it lies in the thread's entry as
/// it will lie here.
#[inline(always)]
fn write(
    fault: *mut Fault,
    cursor: *const Cursor,
    thread: &Thread,
    now: u64,
    ending: &impl Ending,
) {
    let to = fault.cast::<u64>();
    // SAFETY: a record of eight words, whose layout is asserted where it is defined,
    // and pairs of words of a map value's; all are aligned.
    unsafe {
        to.write(now);
        to.add(1).write(now - thread.start);
        to.add(2).write(ending.address(thread));
        to.add(3).write(ending.ip(thread));
        to.add(4).write(thread.region);
        to.add(5).write((&raw const thread.pid).cast::<u64>().read());
        // Written once, before any program ran.
        let [evidence, place] = last_words((*cursor).place, thread, ending);
        to.add(6).write(evidence);
        to.add(7).write(place);
    }
}

/// A record's last two words: its evidence, and `place`, the CPU, with the rest.
#[inline(always)]
fn last_words(place: u64, thread: &Thread, ending: &impl Ending) -> [u64; 2] {
    // SAFETY: pairs of words of a map value's, which are aligned.
    let (evidence, rest) = unsafe {
        (
            (&raw const thread.error).cast::<u64>().read(),
            (&raw const thread.nature).cast::<u64>().read(),
        )
    };
    [
        evidence | lower(ending.flags(thread)) << 16 | lower(ending.ret()) << 32,
        rest | place | u64::from(ending.end()) << 44 | u64::from(ending.signal()) << 48,
    ]
}

/// The lower 16 bits, by one instruction: the compiler would rather have three when they
/// are shifted next.
#[inline(always)]
fn lower(value: u64) -> u64 {
    let mut value = value;
    // SAFETY: arithmetic on a register.
    unsafe { asm!("{0} &= 0xffff", inout(reg) value, options(pure, nomem, nostack)) };
    value
}

/// A fault that is not sent goes to the spill table.
#[inline(always)]
fn put_aside(lane: u32, cpu: u32, thread: &mut Thread, fault: &Fault) {
    match spill(lane, cpu, fault) {
        Some(slot) => {
            thread.spilled += 1;
            if enabled!(tally) && lane == lane::END {
                thread.last_spill = u64::from(cpu + 1) << 32 | u64::from(slot);
            }
        }
        None => thread.lost += 1,
    }
}

/// Folds a fault into the slot of the thread's last one, if it is like that one.
#[inline(always)]
fn fold_again(cpu: u32, thread: &mut Thread, now: u64, ending: &impl Ending) -> bool {
    if thread.last_spill >> 32 != u64::from(cpu + 1) {
        return false;
    }
    let Some(slot) = element!(SPILLS, spills, thread.last_spill as u32) else { return false };
    // SAFETY: the slot is of this CPU's table of this lane.
    let slot = unsafe { &mut *slot };
    // SAFETY: the record ends in sixteen bytes that lie side by side, aligned.
    let words = unsafe { (&raw const slot.common.error).cast::<[u64; 2]>().read() };
    let like = slot.common.pid == thread.pid
        && slot.common.region == thread.region
        && thread.region != 0
        && words == last_words(u64::from(cpu) << 16, thread, ending);
    if like {
        let latency = now - thread.start;
        fold(slot, now, latency, buckets::quick_index(latency));
        thread.spilled += 1;
    }
    like
}

/// Keeps the compiler from moving a store that tells of data above the data;
/// x86 keeps the order of stores by itself. (`compiler_fence` does the same, but
/// LLVM has no such thing for BPF.)
#[inline(always)]
pub(crate) fn publish() {
    // SAFETY: no instruction at all.
    unsafe { asm!("") };
}

/// Folds a fault into the spill table: with those of its region or, where the
/// table is full of other regions, with all of its process's of the same
/// evidence or, where it is full of those of other processes too, with everybody's.
/// The first have one half of the table, the others a quarter each. Answers the
/// slot; none where none has room.
#[inline(always)]
fn spill(lane: u32, cpu: u32, fault: &Fault) -> Option<u32> {
    let (mask, base) = if lane == lane::END {
        (config!(spill_mask), 0)
    } else {
        let side = config!(spill_side_mask);
        (side, config!(spill_mask) + 1 + (lane - 1) * (side + 1))
    };
    let base = cpu * config!(spill_stride) + base;
    let (half, quarter) = (mask >> 1, mask >> 2);
    // A null pointer's fault stays apart from those of the rest of its window.
    let anywhere = if fault.address < SPILL_ANYWHERE { 0 } else { SPILL_ANYWHERE };
    let place = match fault.region {
        0 => fault.address & !(SPILL_WINDOW - 1) | anywhere,
        region => region,
    };
    let what = evidence(fault);
    let whose = u64::from(fault.pid) ^ place >> 12;
    // One loop for all parts, which ends in one place, and the bucket found
    // beforehand: what comes after a branch is verified once for each way there.
    let bucket = buckets::index(fault.latency);
    let mut found = None;
    for probe in 0..3 * SPILL_PROBES {
        let (part, mask, place, pid, whose) = match probe / SPILL_PROBES {
            0 => (base, half, place, fault.pid, whose),
            1 => (base + half + 1, quarter, anywhere, fault.pid, whose),
            _ => (base + half + quarter + 2, quarter, anywhere, SPILL_ANYBODY, 0),
        };
        let hash = (what[0] ^ what[1].rotate_left(17) ^ whose).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let index = part + (((hash >> 32) as u32 + probe) & mask);
        let slot = element!(SPILLS, spills, index)?;
        // SAFETY: only this program writes this CPU's table of this lane.
        let slot = unsafe { &mut *slot };
        if slot.count == 0 {
            slot.common = *fault;
            slot.common.pid = pid;
            slot.header.pid = pid;
            if fault.region == 0 || probe >= SPILL_PROBES {
                slot.common.region = 0;
                slot.common.address = place;
            }
            found = Some((slot, index));
            break;
        }
        let there = if slot.common.region == 0 { slot.common.address } else { slot.common.region };
        if slot.common.pid == pid && there == place && evidence(&slot.common) == what {
            found = Some((slot, index));
            break;
        }
    }
    let (slot, index) = found?;
    fold(slot, fault.time, fault.latency, bucket);
    Some(index)
}

/// Everything of a fault that its kind depends on.
#[inline(always)]
fn evidence(fault: &Fault) -> [u64; 2] {
    [
        u64::from(fault.error)
            | u64::from(fault.flags) << 16
            | u64::from(fault.ret) << 32
            | u64::from(fault.marks) << 48,
        u64::from(fault.nature)
            | u64::from(fault.via) << 16
            | u64::from(fault.signal) << 24
            | u64::from(fault.code) << 32,
    ]
}

#[inline(always)]
fn fold(slot: &mut Spill, time: u64, latency: u64, bucket: usize) {
    slot.header.time = time;
    slot.total += latency;
    if latency > slot.max {
        slot.max = latency;
    }
    // SAFETY: a bucket of the slot's.
    unsafe { *slot.buckets.as_mut_ptr().add(bounded(bucket)) += 1 };
    // Last, so that a reader never sees a count without its common part.
    publish();
    slot.count += 1;
}

/// A bucket that is none becomes the first, in a way that the verifier of any kernel
/// understands: the compiler may compare one copy of the value and use another.
#[inline(always)]
fn bounded(bucket: usize) -> usize {
    let mut bucket = bucket as u64;
    // SAFETY: arithmetic on a register, and a jump over it.
    unsafe {
        asm!(
            "if {0} < {1} goto +1",
            "{0} = 0",
            inout(reg) bucket,
            const buckets::COUNT,
            options(nomem, nostack),
        );
    }
    bucket as usize
}

/// Tells the reader that a ring is half full.
#[inline(always)]
fn ring_the_bell() {
    if let Some(mut bell) = RARE.reserve::<Header>(0) {
        bell.write(Header {
            tag: tag::DOORBELL,
            cpu: 0,
            len: size_of::<Header>() as u32,
            time: 0,
            pid: 0,
            tid: 0,
        });
        bell.submit(u64::from(BPF_RB_FORCE_WAKEUP));
    }
}

/// Room for a rare record; counts where there is none.
#[inline(always)]
pub(crate) fn reserve<T: 'static>() -> Option<RingBufEntry<T>> {
    let entry = RARE.reserve::<T>(0);
    if entry.is_none() {
        count!(unsent);
    }
    entry
}

/// Sends a rare record.
#[inline(always)]
pub(crate) fn submit<T: 'static>(entry: RingBufEntry<T>) {
    let waiting = RARE.query(u64::from(BPF_RB_AVAIL_DATA));
    let wake = if waiting > RARE_WAKEUP { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    entry.submit(u64::from(wake));
}

/// Sends a rare record and wakes the reader.
#[inline(always)]
pub(crate) fn submit_now<T: 'static>(entry: RingBufEntry<T>) {
    entry.submit(u64::from(BPF_RB_FORCE_WAKEUP));
}

/// A rare record's header.
#[inline(always)]
pub(crate) fn header<T>(tag: u16, ids: Ids, time: u64) -> Header {
    Header {
        tag,
        // SAFETY: no arguments.
        cpu: unsafe { bpf_get_smp_processor_id() } as u16,
        len: size_of::<T>() as u32,
        time,
        pid: ids.pid,
        tid: ids.tid,
    }
}
