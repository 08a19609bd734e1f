//! A timer that costs two system calls a ring. tokio's own wakes itself through
//! a descriptor when it is set, and again on the way to every time that is some
//! milliseconds off: five times as much, twenty times a second.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::ptr;
use std::time::Duration;

use tokio::io::unix::AsyncFd;

use super::ready;

/// Rings once each time it is set.
#[derive(Debug)]
pub struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    /// Not set.
    pub fn new() -> io::Result<Self> {
        // SAFETY: a plain system call.
        let fd = unsafe {
            libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else has.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        ready::readable(fd).map(Self)
    }

    /// Rings in a while from now on, and not at the time it was set to before.
    pub fn set(&self, after: Duration) -> io::Result<()> {
        let value = libc::timespec {
            tv_sec: libc::time_t::try_from(after.as_secs()).unwrap_or(libc::time_t::MAX),
            // Nothing at all would mean never.
            tv_nsec: after.subsec_nanos().max(1).into(),
        };
        let once = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: value,
        };
        // SAFETY: the descriptor is a timer's, and `once` valid for the call.
        let result = unsafe {
            libc::timerfd_settime(self.0.as_raw_fd(), 0, &raw const once, ptr::null_mut())
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Waits until it rings. Setting it anew makes unread what it rang before:
    /// there is nothing to read.
    pub async fn ring(&self) -> io::Result<()> {
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn it_rings_as_often_as_it_is_set() {
        let alarm = Alarm::new().unwrap();
        let after = Duration::from_millis(2);
        for _ in 0..3 {
            let begun = Instant::now();
            alarm.set(Duration::from_hours(1)).unwrap();
            alarm.set(after).unwrap();
            alarm.ring().await.unwrap();
            assert!(begun.elapsed() >= after);
        }
        alarm.set(Duration::ZERO).unwrap();
        alarm.ring().await.unwrap();
    }
}
