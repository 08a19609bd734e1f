//! Perf software events on one CPU: a program run at each, and the kernel's stream
//! of address-space changes, `PERF_RECORD_MMAP2` of a dummy event.
//!
//! aya does not read an event's records, and those that it attaches programs to have
//! the kernel prepare a sample before each run.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

/// `struct perf_event_attr` as of its sixth version, 112 bytes.
///
/// <https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/perf_event.h#L389>
#[repr(C)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    bp_type: u32,
    unused: [u64; 4],
    sample_stack_user: u32,
    clockid: i32,
    unused_too: [u64; 2],
}

const _: () = assert!(size_of::<Attributes>() == 112);

impl Default for Attributes {
    /// Those of a software event.
    fn default() -> Self {
        Self {
            kind: TYPE_SOFTWARE,
            size: 112,
            config: 0,
            sample_period: 0,
            sample_type: 0,
            read_format: 0,
            flags: 0,
            wakeup: 0,
            bp_type: 0,
            unused: [0; 4],
            sample_stack_user: 0,
            clockid: 0,
            unused_too: [0; 2],
        }
    }
}

const TYPE_SOFTWARE: u32 = 1;
/// The fault needed no I/O.
pub const PAGE_FAULTS_MIN: u64 = 5;
/// It did.
pub const PAGE_FAULTS_MAJ: u64 = 6;
const COUNT_DUMMY: u64 = 9;
const SAMPLE_TID: u64 = 1 << 1;
const SAMPLE_TIME: u64 = 1 << 2;
const FLAG_DISABLED: u64 = 1 << 0;
const FLAG_MMAP: u64 = 1 << 8;
const FLAG_COMM: u64 = 1 << 9;
const FLAG_COMM_EXEC: u64 = 1 << 24;
const FLAG_WATERMARK: u64 = 1 << 14;
const FLAG_MMAP_DATA: u64 = 1 << 17;
const FLAG_SAMPLE_ID_ALL: u64 = 1 << 18;
const FLAG_MMAP2: u64 = 1 << 23;
const FLAG_USE_CLOCKID: u64 = 1 << 25;
const FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;

/// `_IO('$', 0)`
const IOC_ENABLE: libc::c_ulong = 0x2400;
/// `_IOW('$', 8, __u32)`
const IOC_SET_BPF: libc::c_ulong = 0x4004_2408;

const PAGE: usize = 4096;
/// Data pages of a ring: half a megabyte, some 3 000 mappings.
const PAGES: usize = 128;
/// Where the control page keeps its positions.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;

/// Runs `program` at each software event `config` on `cpu`, whatever process it is
/// of, until what it answers is dropped. No sample is asked for: preparing one costs
/// the kernel 75 instructions from 6.2 on, and the program has no use for it.
pub fn run(program: BorrowedFd<'_>, config: u64, cpu: u32) -> io::Result<OwnedFd> {
    let attributes =
        Attributes { config, sample_period: 1, flags: FLAG_DISABLED, ..Attributes::default() };
    let event = open(&attributes, cpu)?;
    for (request, argument) in [(IOC_SET_BPF, program.as_raw_fd()), (IOC_ENABLE, 0)] {
        // SAFETY: a descriptor that is open; no memory is read or written.
        if unsafe { libc::ioctl(event.as_raw_fd(), request, argument) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(event)
}

/// Opens a software event for all processes on `cpu`.
fn open(attributes: &Attributes, cpu: u32) -> io::Result<OwnedFd> {
    let cpu = libc::c_int::try_from(cpu).unwrap_or(-1);
    // SAFETY: the attributes are valid for the call, of the size they say.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            ptr::from_ref(attributes),
            -1,
            cpu,
            -1,
            FLAG_FD_CLOEXEC,
        )
    };
    match i32::try_from(fd) {
        // SAFETY: a new descriptor that nobody else has.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// One CPU's changes.
#[derive(Debug)]
pub struct Changes {
    _event: OwnedFd,
    base: NonNull<u8>,
    tail: u64,
}

// SAFETY: the mapping belongs to this value alone; what is concurrent about it
// is the kernel, whatever thread reads.
unsafe impl Send for Changes {}

impl Changes {
    /// Watches every process's mappings on `cpu`.
    pub fn watch(cpu: u32) -> io::Result<Self> {
        let attributes = Attributes {
            config: COUNT_DUMMY,
            sample_type: SAMPLE_TID | SAMPLE_TIME,
            flags: FLAG_MMAP
                | FLAG_MMAP2
                | FLAG_MMAP_DATA
                | FLAG_COMM
                | FLAG_COMM_EXEC
                | FLAG_SAMPLE_ID_ALL
                | FLAG_WATERMARK
                | FLAG_USE_CLOCKID,
            wakeup: u32::MAX,
            clockid: libc::CLOCK_MONOTONIC,
            ..Attributes::default()
        };
        let event = open(&attributes, cpu)?;
        // SAFETY: a new mapping of a descriptor that is open.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                (PAGES + 1) * PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                event.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { _event: event, base, tail: 0 })
    }

    /// Hands on each record that has come: its type, its header's `misc`, and
    /// what follows.
    pub fn read(&mut self, mut take: impl FnMut(u32, u16, &[u8])) {
        let head = self.position(DATA_HEAD).load(Ordering::Acquire);
        let mut record = Vec::new();
        while self.tail < head {
            let header = self.copy(self.tail, 8, &mut record);
            let kind = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
            let misc = u16::from_ne_bytes([header[4], header[5]]);
            let len = u64::from(u16::from_ne_bytes([header[6], header[7]]));
            if len < 8 || len > head - self.tail {
                // Not a record: nothing after it can be found either.
                self.tail = head;
                break;
            }
            let body = self.copy(self.tail + 8, usize::try_from(len - 8).unwrap_or(0), &mut record);
            take(kind, misc, body);
            self.tail += len;
        }
        self.position(DATA_TAIL).store(self.tail, Ordering::Release);
    }

    fn position(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: within the control page, aligned, a whole word to both sides.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }

    /// Copies `len` bytes from `position` on, around the ring's end.
    fn copy<'a>(&self, position: u64, len: usize, to: &'a mut Vec<u8>) -> &'a [u8] {
        const SIZE: usize = PAGES * PAGE;
        to.clear();
        let begin = usize::try_from(position % SIZE as u64).unwrap_or(0);
        let before_end = len.min(SIZE - begin);
        for (place, len) in [(begin, before_end), (0, len - before_end)] {
            // SAFETY: within the data pages; the kernel wrote it before `head`
            // and leaves it alone until `tail` has passed it.
            let part = unsafe {
                std::slice::from_raw_parts(self.base.as_ptr().add(PAGE + place), len.min(SIZE))
            };
            to.extend_from_slice(part);
        }
        to
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of this length, and nobody uses it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), (PAGES + 1) * PAGE) };
    }
}
