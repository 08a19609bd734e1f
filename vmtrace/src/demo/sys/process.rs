//! Processes and threads: fork, wait, what the kernel counted, where they run.

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};

use super::{Area, PAGE, checked, checked_long, touch};

/// The kernel's own count of a thread's faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// `ru_minflt`.
    pub(crate) minor: u64,
    /// `ru_majflt`.
    pub(crate) major: u64,
}

impl Usage {
    /// What this thread took so far.
    ///
    /// With the stack settled it takes no fault of its own: `getrusage` is a
    /// system call and fills a buffer on the stack.
    pub(crate) fn now() -> io::Result<Self> {
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the buffer is of the type that the call fills.
        checked(unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) })?;
        // SAFETY: all zeroes are a valid `rusage`, and the call has filled it besides.
        Ok(Self::from(unsafe { usage.assume_init() }))
    }

    /// What was added since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { minor: self.minor - before.minor, major: self.major - before.major }
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { minor: self.minor + other.minor, major: self.major + other.major }
    }
}

impl From<libc::rusage> for Usage {
    fn from(usage: libc::rusage) -> Self {
        Self { minor: usage.ru_minflt.unsigned_abs(), major: usage.ru_majflt.unsigned_abs() }
    }
}

/// Which of the two processes a fork returned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The old one, with the new one's id.
    Parent(i32),
    /// The new one.
    Child,
}

/// Forks. Call it only while this process has one thread.
pub(crate) fn fork() -> io::Result<Side> {
    // SAFETY: with one thread there is no lock that the child could find held by nobody.
    match checked(unsafe { libc::fork() })? {
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(pid)),
    }
}

/// How a child ended, and what it used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// The exit status, where it exited.
    pub(crate) code: Option<i32>,
    /// The signal that killed it, where one did.
    pub(crate) signal: Option<i32>,
    /// The faults of its whole life.
    pub(crate) usage: Usage,
}

/// Waits for a child to be gone, its memory with it.
pub(crate) fn wait(pid: i32) -> io::Result<Ended> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `status` is a live integer and `usage` of the type that the call fills.
    while unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) } == -1 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
    let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
    // SAFETY: all zeroes are a valid `rusage`, and the call has filled it besides.
    let usage = Usage::from(unsafe { usage.assume_init() });
    Ok(Ended { code, signal, usage })
}

/// Ends this process at once: a forked child must not run its parent's destructors.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Kills a process that this one started.
pub(crate) fn kill(pid: i32) -> io::Result<()> {
    // SAFETY: integers only.
    checked(unsafe { libc::kill(pid, libc::SIGKILL) }).map(drop)
}

/// The calling thread's id.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: takes nothing and always succeeds.
    unsafe { libc::gettid() }.cast_unsigned()
}

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    // SAFETY: takes nothing and always succeeds.
    unsafe { libc::geteuid() == 0 }
}

/// The CPUs that this thread may run on.
pub(crate) fn cpus() -> io::Result<Vec<usize>> {
    // SAFETY: all zeroes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: `set` is live and of the size that is passed.
    checked(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) })?;
    let count = usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
    // SAFETY: every index is below CPU_SETSIZE.
    Ok((0..count).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
}

/// Keeps this thread on one CPU.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: all zeroes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: `set` is live, and CPU_SET ignores an index past its end.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` is live and of the size that is passed.
    checked(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) })
        .map(drop)
}

/// Turns transparent huge pages off, or on, for this process and what it forks.
pub(crate) fn disable_huge_pages(disabled: bool) -> io::Result<()> {
    let flag = libc::c_ulong::from(disabled);
    // SAFETY: integers only.
    checked(unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, flag, 0, 0, 0) }).map(drop)
}

/// Calls this thread by a name, as `ps` and a trace show it: its first 15 bytes.
pub(crate) fn rename(name: &str) -> io::Result<()> {
    let name = std::ffi::CString::new(name)?;
    // SAFETY: a live C string, of which the kernel reads 15 bytes at most.
    checked(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) }).map(drop)
}

/// Has the kernel kill this process when its parent dies.
pub(crate) fn die_with_parent() -> io::Result<()> {
    // SAFETY: integers only.
    checked(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }).map(drop)
}

/// Limits how far the main stack may grow, in bytes.
pub(crate) fn limit_stack(bytes: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) })?;
    limit.rlim_cur = bytes.min(limit.rlim_max);
    // SAFETY: `limit` is live.
    checked(unsafe { libc::setrlimit(libc::RLIMIT_STACK, &raw const limit) }).map(drop)
}

/// Hands a bad pointer to the kernel: `getcpu` stores one integer through it.
///
/// One `put_user`, so one fault, unlike `write`, whose copy loop tries again:
/// <https://elixir.bootlin.com/linux/v6.12/source/kernel/sys.c> (`getcpu`).
pub(crate) fn store_through_kernel(area: Area, offset: usize) -> io::Result<()> {
    assert!(offset < area.len(), "an address past the area");
    let nowhere = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the kernel checks the address; an area holds no Rust value.
    let result =
        unsafe { libc::syscall(libc::SYS_getcpu, area.start() + offset, nowhere, nowhere) };
    checked_long(result).map(drop)
}

/// Touches the stack well below where anything measured will reach.
#[inline(never)]
#[expect(clippy::large_stack_arrays, reason = "to reach far down the stack is what it is for")]
pub(crate) fn settle_stack() {
    let mut room = [0u8; 64 * PAGE];
    for page in room.chunks_mut(PAGE) {
        page[0] = 1;
    }
    std::hint::black_box(&mut room);
}

/// Touches every page of a mapping that was there before, so that it will not
/// fault later. A write changes nothing.
pub(crate) fn settle(range: std::ops::Range<usize>, writable: bool) {
    for address in range.step_by(PAGE) {
        if writable {
            touch::renew(address);
        } else {
            touch::load(address);
        }
    }
}
