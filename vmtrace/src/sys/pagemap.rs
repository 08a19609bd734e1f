//! The `PAGEMAP_SCAN` ioctl (kernel 6.7): the page map as stretches of equal
//! pages, so that empty address space costs nothing.
//! <https://docs.kernel.org/admin-guide/mm/pagemap.html>
#![expect(unsafe_code, reason = "an ioctl with a structure of its own")]

use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd as _;

/// Pages of a file, or shared anonymous ones.
pub(crate) const FILE: u64 = 1 << 2;
/// Pages in memory.
pub(crate) const PRESENT: u64 = 1 << 3;
/// Pages that are swapped out, or elsewhere.
pub(crate) const SWAPPED: u64 = 1 << 4;
/// The zero page.
pub(crate) const ZERO: u64 = 1 << 5;
/// Mapped by one huge entry.
pub(crate) const HUGE: u64 = 1 << 6;
/// Guard pages, since 6.15.
pub(crate) const GUARD: u64 = 1 << 8;

/// `struct page_region`: a stretch of pages that are alike.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) categories: u64,
}

/// `struct pm_scan_arg`.
#[repr(C)]
#[derive(Debug, Default)]
struct Arguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

const _: () = assert!(size_of::<Arguments>() == 96 && size_of::<Stretch>() == 24);

/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;

/// Fills `found` with stretches from `start` to `end`; answers how many, and how
/// far the walk came. `wanted` are the categories that this kernel knows.
pub(crate) fn scan(
    pagemap: &File,
    start: u64,
    end: u64,
    wanted: u64,
    found: &mut [Stretch],
) -> io::Result<(usize, u64)> {
    let mut arguments = Arguments {
        size: size_of::<Arguments>() as u64,
        start,
        end,
        vec: found.as_mut_ptr() as u64,
        vec_len: found.len() as u64,
        category_anyof_mask: wanted & (PRESENT | SWAPPED | GUARD),
        return_mask: wanted,
        ..Arguments::default()
    };
    // SAFETY: the descriptor is open; the kernel reads and writes `arguments`,
    // whose size it is told, and writes at most `vec_len` stretches to `vec`,
    // both borrowed for the whole call. `Stretch` is valid for any bytes.
    let count = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN, &raw mut arguments) };
    if count < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((usize::try_from(count).unwrap_or(0).min(found.len()), arguments.walk_end))
}
