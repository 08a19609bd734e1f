//! Reading the kernel's structs: directly through pointers whose type the
//! verifier knows (fentry, fexit), or through a helper (everything else).

use aya_ebpf::helpers::{bpf_probe_read_kernel, generated::bpf_probe_read_kernel_str};
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
#[inline(always)]
pub(crate) fn probe<T: Default>(base: u64, offset: u32) -> T {
    if offset == ABSENT || base == 0 {
        return T::default();
    }
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel((base + u64::from(offset)) as *const T) }.unwrap_or_default()
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
