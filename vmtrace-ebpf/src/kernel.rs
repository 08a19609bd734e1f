//! Reading the kernel's structs: directly through pointers whose type the
//! verifier knows (fentry, fexit), or through a helper (everything else).

use core::{arch::asm, mem::size_of};

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use vmtrace_common::config::{ABSENT, blank};

use crate::config::setting;

/// A way to read a field of the kernel's, named by the place of its offset in
/// [`Config`](vmtrace_common::config::Config).
///
/// An absent field or an unreadable address reads as 0: evidence that is not
/// there, which is what the callers make of it.
pub(crate) trait Read {
    /// Reads eight bytes.
    fn u64<const PLACE: usize>(base: u64) -> u64;
    /// Reads four bytes.
    fn u32<const PLACE: usize>(base: u64) -> u32;
    /// Reads the eight bytes at `address` themselves.
    fn word(address: u64) -> u64;
}

/// Plain loads: `base` came from a typed argument, and the verifier turns each
/// load into one that survives a bad address. The loader makes one whose field is
/// absent a zero.
pub(crate) struct Direct;

/// `bpf_probe_read_kernel`.
pub(crate) struct Helper;

/// A load whose offset is a blank.
macro_rules! load {
    ($type:literal, $base:expr, $place:expr) => {{
        let value: u64;
        // SAFETY: the verifier accepts this load only where `base` is a typed
        // kernel pointer and the offset lies within its struct.
        unsafe {
            asm!(
                concat!("{0} = *(", $type, " *)({1} + {2})"),
                out(reg) value,
                in(reg) $base,
                const blank::LOAD as usize + $place / 4,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        value
    }};
}

impl Read for Direct {
    #[inline(always)]
    fn u64<const PLACE: usize>(base: u64) -> u64 {
        load!("u64", base, PLACE)
    }

    #[inline(always)]
    fn u32<const PLACE: usize>(base: u64) -> u32 {
        load!("u32", base, PLACE) as u32
    }

    #[inline(always)]
    fn word(address: u64) -> u64 {
        // SAFETY: as above.
        unsafe { core::ptr::read_volatile(address as *const u64) }
    }
}

impl Read for Helper {
    #[inline(always)]
    fn u64<const PLACE: usize>(base: u64) -> u64 {
        probe(base, setting::<PLACE>())
    }

    #[inline(always)]
    fn u32<const PLACE: usize>(base: u64) -> u32 {
        probe(base, setting::<PLACE>())
    }

    #[inline(always)]
    fn word(address: u64) -> u64 {
        probe(address, 0)
    }
}

/// Reads a `T` at `base + offset` by the helper; 0 where that fails.
///
/// The helper itself writes zeroes where it fails, and it fails below user
/// space's end: so there is nothing to branch on, and each branch saved is half
/// the paths that the verifier follows.
#[inline(always)]
pub(crate) fn probe<T: Default>(base: u64, offset: u32) -> T {
    if offset == ABSENT {
        return T::default();
    }
    let mut value = T::default();
    let from = base.wrapping_add(u64::from(offset));
    // SAFETY: `value` has room for what is written; the helper checks `from`.
    unsafe {
        bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, from as *const _)
    };
    value
}

/// Copies a zero-terminated string of at most `size` bytes to `to`; answers its
/// length with the zero, or 0.
///
/// # Safety
///
/// `to` must have room for `size` bytes.
#[inline(always)]
pub(crate) unsafe fn text(to: *mut u8, size: u32, from: u64) -> u32 {
    // SAFETY: the caller vouches for `to`; the helper checks `from`.
    let read = unsafe { bpf_probe_read_kernel_str(to.cast(), size, from as *const _) };
    if read < 0 { 0 } else { read as u32 }
}
