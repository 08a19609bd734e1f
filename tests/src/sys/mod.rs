//! The few system calls that std has no words for.
#![expect(unsafe_code, reason = "system calls")]

pub(crate) mod mapping;

use std::io::{Error, Result};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::Context as _;

const BPF_PROG_GET_NEXT_ID: libc::c_long = 11;

/// `union bpf_attr` as `BPF_PROG_GET_NEXT_ID` reads and writes it.
#[repr(C)]
#[derive(Default)]
struct NextId {
    start: u32,
    next: u32,
    open_flags: u32,
}

/// The ids of all loaded eBPF programs.
pub(crate) fn bpf_programs() -> anyhow::Result<Vec<u32>> {
    let mut found = Vec::new();
    loop {
        let start = found.last().copied().unwrap_or(0);
        let mut attr = NextId { start, ..NextId::default() };
        // SAFETY: the kernel reads and writes at most the size we name, which
        // is that of the structure the pointer leads to.
        let done = unsafe {
            libc::syscall(libc::SYS_bpf, BPF_PROG_GET_NEXT_ID, &raw mut attr, size_of::<NextId>())
        };
        if done == 0 {
            found.push(attr.next);
            continue;
        }
        let error = Error::last_os_error();
        if error.raw_os_error() == Some(libc::ENOENT) {
            return Ok(found);
        }
        return Err(error).context("cannot list the loaded eBPF programs");
    }
}

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Whether this is one of `cargo xtask vm`'s machines.
pub(crate) fn is_guest() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/hostname").is_ok_and(|name| name.trim() == "guest")
}

/// No address-space randomisation for what we start from here on: programs
/// then take the same number of faults each time.
pub(crate) fn fixed_addresses() -> Result<()> {
    // SAFETY: a flag of this process; no pointers are passed.
    let done = unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
    if done == -1 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// The processor's time that children took which have ended and were waited for.
pub(crate) fn childrens_time() -> Result<Duration> {
    // SAFETY: all zeros is a `struct rusage`: it holds numbers only.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer leads to a structure of the size that the kernel writes.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) } == -1 {
        return Err(Error::last_os_error());
    }
    let time = |time: libc::timeval| {
        let seconds = Duration::from_secs(time.tv_sec.cast_unsigned());
        seconds + Duration::from_micros(time.tv_usec.cast_unsigned())
    };
    Ok(time(usage.ru_utime) + time(usage.ru_stime))
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, signal: i32) -> Result<()> {
    let pid = i32::try_from(pid).map_err(Error::other)?;
    // SAFETY: no pointers are passed.
    let done = unsafe { libc::kill(pid, signal) };
    if done == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

/// The CPU time that this thread has used.
pub(crate) fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes to the structure that the pointer leads to. The
    // clock is every kernel's, so it cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    let (seconds, rest) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), rest.unwrap_or(0))
}

/// Closes a descriptor in a forked process, whose owner never comes to be dropped
/// there.
pub(crate) fn close(owner: &impl AsRawFd) {
    // SAFETY: the process that forked has its own; this one ends by `_exit` and
    // does not use it again.
    unsafe { libc::close(owner.as_raw_fd()) };
}

/// Keeps this thread on one CPU, if there is such a CPU.
pub(crate) fn stay_on(cpu: usize) {
    // SAFETY: all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: a CPU beyond the set's end is ignored; the kernel reads as much as
    // the pointer leads to.
    unsafe {
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
}
