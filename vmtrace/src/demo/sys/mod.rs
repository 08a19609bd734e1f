//! The only room of the scenarios where system calls are made by hand: safe
//! wrappers for memory, processes, signals, pagers, swap and NUMA.
//!
//! The scenarios mean to fault. What keeps that sound is [`Area`]: memory that
//! holds no Rust value and to which no reference is ever made, so that
//! whatever becomes of it, nothing that Rust relies on does.
#![expect(unsafe_code, reason = "page faults are made with mmap, fork, signals and raw accesses")]

pub(super) mod memory;
pub(super) mod numa;
pub(super) mod process;
pub(super) mod signal;
pub(super) mod swap;
pub(super) mod touch;
pub(super) mod userfault;

pub(super) use memory::Area;

use std::io;

/// The page size that x86-64 has.
pub(super) const PAGE: usize = 4096;
/// The size of a huge page at the PMD level.
pub(super) const HUGE: usize = 2 << 20;

/// Turns the `-1` of a C function into the error it stands for.
fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The same for a raw system call.
fn checked_long(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
