//! The session's settings, as the loader wrote them into `.rodata`.

use vmtrace_common::config::{Config, Offsets, VictimFields};

/// Overridden by the loader, then frozen: the verifier reads these as
/// constants, so a branch on one costs nothing.
#[unsafe(no_mangle)]
static CONFIG: Config = Config {
    everything: 0,
    follow: 1,
    own: 0,
    thread_mask: 0,
    crowd_mask: 0,
    ring_mask: 0,
    side_mask: 0,
    ring_stride: 1,
    spill_mask: 0,
    spill_side_mask: 0,
    spill_stride: 1,
    tlb_events: 0,
    task_btf: 0,
    tally: 0,
    min_latency: 0,
    only_major: 0,
    victim: VictimFields::ABSENT,
    at: Offsets::ABSENT,
};

/// The settings.
#[inline(always)]
pub(crate) fn settings() -> &'static Config {
    &CONFIG
}

/// Reads a setting in a way that the compiler may not fold: the loader replaces
/// its value after compilation.
#[inline(always)]
pub(crate) fn read<T: Copy>(setting: &'static T) -> T {
    // SAFETY: a reference is valid to read.
    unsafe { core::ptr::read_volatile(setting) }
}

/// Reads one field of [`Config`].
macro_rules! config {
    ($($field:ident).+) => {
        $crate::config::read(&$crate::config::settings().$($field).+)
    };
}

/// Reads one of the kernel's offsets.
macro_rules! at {
    ($field:ident) => {
        $crate::config::config!(at.$field)
    };
}

pub(crate) use {at, config};
