//! Reading the kernel's structs: directly through pointers whose type the
//! verifier knows (fentry, fexit), or through a helper (everything else).

use core::mem::size_of;

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use vmtrace_common::config::ABSENT;

/// A way to read a field of the kernel's.
///
/// An absent offset or an unreadable address reads as 0: evidence that is not
/// there, which is what the callers make of it.
pub(crate) trait Read {
    /// Reads eight bytes at `base + offset`.
    fn u64(base: u64, offset: u32) -> u64;
    /// Reads four bytes at `base + offset`.
    fn u32(base: u64, offset: u32) -> u32;
}

/// Plain loads: `base` came from a typed argument, and the verifier turns each
/// load into one that survives a bad address.
pub(crate) struct Direct;

/// `bpf_probe_read_kernel`.
pub(crate) struct Helper;

impl Read for Direct {
    #[inline(always)]
    fn u64(base: u64, offset: u32) -> u64 {
        if offset == ABSENT {
            return 0;
        }
        // SAFETY: the verifier accepts this load only where `base` is a typed
        // kernel pointer and `offset` lies within its struct.
        unsafe { core::ptr::read_volatile((base as *const u8).add(offset as usize).cast()) }
    }

    #[inline(always)]
    fn u32(base: u64, offset: u32) -> u32 {
        if offset == ABSENT {
            return 0;
        }
        // SAFETY: as above.
        unsafe { core::ptr::read_volatile((base as *const u8).add(offset as usize).cast()) }
    }
}

impl Read for Helper {
    #[inline(always)]
    fn u64(base: u64, offset: u32) -> u64 {
        probe(base, offset)
    }

    #[inline(always)]
    fn u32(base: u64, offset: u32) -> u32 {
        probe(base, offset)
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
