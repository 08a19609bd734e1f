//! A pager in user space: `userfaultfd`, as much of it as serving missing
//! pages takes.
//!
//! <https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/userfaultfd.h>

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};

use super::{Area, PAGE, checked, checked_long};

const API: u64 = 0xaa;
const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;
const UFFDIO_COPY: libc::c_ulong = 0xc028_aa03;
const REGISTER_MODE_MISSING: u64 = 1;
const EVENT_PAGEFAULT: u8 = 0x12;
/// Faults of the kernel itself are left out: all that an ordinary user may ask for.
const UFFD_USER_MODE_ONLY: libc::c_int = 1;

#[repr(C)]
struct Api {
    version: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct Register {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
struct Copy {
    dst: u64,
    src: u64,
    len: u64,
    mode: u64,
    copied: i64,
}

/// A pager of this process.
#[derive(Debug)]
pub(crate) struct Pager(File);

impl Pager {
    /// Opens one.
    pub(crate) fn open() -> io::Result<Self> {
        // SAFETY: integers only.
        let whole = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        let fd = checked_long(whole).or_else(|_| {
            let flags = libc::O_CLOEXEC | UFFD_USER_MODE_ONLY;
            // SAFETY: integers only.
            checked_long(unsafe { libc::syscall(libc::SYS_userfaultfd, flags) })
        })?;
        let fd = i32::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: the descriptor was just made and has no other owner.
        let pager = Self(unsafe { File::from_raw_fd(fd) });
        let mut api = Api { version: API, features: 0, ioctls: 0 };
        // SAFETY: UFFDIO_API reads and writes one `struct uffdio_api`.
        checked(unsafe { libc::ioctl(fd, UFFDIO_API, &raw mut api) })?;
        Ok(pager)
    }

    /// Asks to be told of the area's missing pages.
    pub(crate) fn register(&self, area: Area) -> io::Result<()> {
        let mut register = Register {
            start: area.start() as u64,
            len: area.len() as u64,
            mode: REGISTER_MODE_MISSING,
            ioctls: 0,
        };
        // SAFETY: UFFDIO_REGISTER reads and writes one `struct uffdio_register`.
        checked(unsafe { libc::ioctl(self.0.as_raw_fd(), UFFDIO_REGISTER, &raw mut register) })
            .map(drop)
    }

    /// Waits for the next missing page: its address.
    pub(crate) fn wait(&self) -> io::Result<usize> {
        // struct uffd_msg is 32 bytes: the event at 0, a page fault's address at 16.
        let mut message = [0u8; 32];
        (&self.0).read_exact(&mut message)?;
        if message[0] != EVENT_PAGEFAULT {
            return Err(io::Error::other(format!("an event {:#x} nobody asked for", message[0])));
        }
        let mut address = [0u8; 8];
        address.copy_from_slice(&message[16..24]);
        Ok(usize::from_ne_bytes(address) / PAGE * PAGE)
    }

    /// Puts a copy of `page` at `address` and wakes who waits for it.
    pub(crate) fn serve(&self, address: usize, page: &[u8; PAGE]) -> io::Result<()> {
        let mut copy = Copy {
            dst: address as u64,
            src: page.as_ptr().expose_provenance() as u64,
            len: PAGE as u64,
            mode: 0,
            copied: 0,
        };
        // SAFETY: UFFDIO_COPY reads and writes one `struct uffdio_copy`; it fills a missing
        // page of a registered area, which holds no Rust value.
        checked(unsafe { libc::ioctl(self.0.as_raw_fd(), UFFDIO_COPY, &raw mut copy) }).map(drop)
    }
}
