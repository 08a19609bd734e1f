//! Whose turn it is on a busy machine.

/// `nice` of a reader: it is served before what it reads from, or rings fill
/// while it waits behind everybody who fills them.
const READER: i32 = -15;

/// Puts the calling thread, and threads it starts later, before ordinary ones.
/// Without the right to (`CAP_SYS_NICE`) it stays where it is.
pub fn before_others() {
    // SAFETY: a plain system call; on Linux it is about the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, READER) };
}
