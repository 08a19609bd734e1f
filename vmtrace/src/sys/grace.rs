//! Waiting for programs that were detached while they ran.

const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// Returns when no program runs any more that ran when it was called: each runs
/// within an RCU read-side section, and this waits for one grace period. Where
/// the kernel does not offer that (`nohz_full`), it returns at once.
///
/// <https://elixir.bootlin.com/linux/v6.12/source/kernel/sched/membarrier.c#L595>
pub fn period() {
    // SAFETY: a system call without a pointer.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
}
