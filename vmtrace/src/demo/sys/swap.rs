//! Swap areas, and files whose place in the page cache matters.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::{Area, checked};

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Turns a swap area on, to be used before any other.
pub(crate) fn on(path: &Path) -> io::Result<()> {
    const FIRST: libc::c_int = 0x8000 | 0x7fff;
    let path = c_path(path)?;
    // SAFETY: the path is a live C string.
    checked(unsafe { libc::swapon(path.as_ptr(), FIRST) }).map(drop)
}

/// Turns it off again; what it holds returns to memory.
pub(crate) fn off(path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: the path is a live C string.
    checked(unsafe { libc::swapoff(path.as_ptr()) }).map(drop)
}

/// Drops a file's clean pages from the page cache, that file's only.
pub(crate) fn drop_cached(file: &File) -> io::Result<()> {
    file.sync_all()?;
    // SAFETY: integers only.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// A file in memory alone.
pub(crate) fn memory_file(name: &std::ffi::CStr) -> io::Result<File> {
    // SAFETY: the name is a live C string.
    let fd = checked(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) })?;
    // SAFETY: the descriptor was just made and has no other owner.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// The magic number of the file system that `path` lies on.
pub(crate) fn file_system(path: &Path) -> io::Result<i64> {
    let path = c_path(path)?;
    let mut found = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the path is a live C string and the buffer is of the type that is filled.
    checked(unsafe { libc::statfs(path.as_ptr(), found.as_mut_ptr()) })?;
    // SAFETY: all zeroes are a valid `statfs`, and the call has filled it besides.
    Ok(unsafe { found.assume_init() }.f_type)
}

/// Whether the kernel can poison memory: an empty range is checked for no more.
pub(crate) fn poison_supported() -> io::Result<()> {
    let nothing = Area::anonymous(1)?.part(0..0);
    nothing.advise(libc::MADV_HWPOISON)
}
