//! Where memory lies: policies and moving pages between nodes.

use std::io;
use std::ptr;

use super::{Area, PAGE, checked_long};

const MPOL_PREFERRED: libc::c_int = 1;
const MPOL_LOCAL: libc::c_int = 4;
const MPOL_MF_MOVE: libc::c_int = 2;

/// Takes this process out of NUMA balancing: an explicit policy lacks the flag
/// that lets hints be planted.
///
/// <https://elixir.bootlin.com/linux/v6.12/source/mm/mempolicy.c> (`vma_policy_mof`)
pub(crate) fn stay_local() -> io::Result<()> {
    let none = ptr::null::<libc::c_ulong>();
    // SAFETY: no mask is passed.
    checked_long(unsafe { libc::syscall(libc::SYS_set_mempolicy, MPOL_LOCAL, none, 0) }).map(drop)
}

/// Takes part in NUMA balancing again.
pub(crate) fn balance() -> io::Result<()> {
    let none = ptr::null::<libc::c_ulong>();
    // SAFETY: no mask is passed.
    checked_long(unsafe { libc::syscall(libc::SYS_set_mempolicy, 0, none, 0) }).map(drop)
}

/// Has this process's next pages come from a node.
pub(crate) fn prefer(node: u32) -> io::Result<()> {
    let mask: libc::c_ulong = 1 << node;
    let bits = libc::c_ulong::BITS;
    // SAFETY: the mask is live and as long as is said.
    let result =
        unsafe { libc::syscall(libc::SYS_set_mempolicy, MPOL_PREFERRED, &raw const mask, bits) };
    checked_long(result).map(drop)
}

/// Moves one page of an area to a node.
pub(crate) fn move_page(area: Area, page: usize, node: i32) -> io::Result<()> {
    let address = area.start() + page * PAGE;
    let mut status = 0i32;
    // SAFETY: three live arrays of one element each; the page's content does not change.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            0,
            1,
            &raw const address,
            &raw const node,
            &raw mut status,
            MPOL_MF_MOVE,
        )
    };
    checked_long(result).map(drop)
}
