//! How often the kernel skipped a program because it was running already on
//! that CPU: faults that nobody told of.

use std::os::fd::{AsRawFd as _, BorrowedFd};

const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
/// Where `struct bpf_prog_info` keeps `recursion_misses` (5.12 and later).
///
/// <https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/bpf.h#L6529>
const RECURSION_MISSES: usize = 208;
const INFO: usize = 256;

#[repr(C)]
struct Query {
    fd: u32,
    len: u32,
    info: u64,
}

/// `recursion_misses` of one program; 0 where the kernel does not count them.
pub fn recursion(program: BorrowedFd<'_>) -> u64 {
    let mut info = [0_u8; INFO];
    let mut query = Query {
        fd: program.as_raw_fd().cast_unsigned(),
        len: u32::try_from(INFO).unwrap_or(0),
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the query and the buffer it points to are valid for the call,
    // which writes at most `len` bytes.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &raw mut query,
            libc::c_uint::try_from(size_of::<Query>()).unwrap_or(0),
        )
    };
    if answer != 0 || (query.len as usize) < RECURSION_MISSES + 8 {
        return 0;
    }
    let field = info[RECURSION_MISSES..].first_chunk().copied().unwrap_or_default();
    u64::from_ne_bytes(field)
}
