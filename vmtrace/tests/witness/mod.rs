//! An independent witness: the kernel's own page-fault software events, one
//! sample per fault with its address, over this process's children.
//!
//! <https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/perf_event.h>
#![expect(
    unsafe_code,
    reason = "perf_event_open is a raw system call and its ring is shared memory"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which of the kernel's three events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Every user-address fault, before it is handled.
    Any,
    /// A fault that was counted in `min_flt`.
    Minor,
    /// A fault that was counted in `maj_flt`.
    Major,
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) event: Event,
    pub(crate) pid: u32,
    pub(crate) address: u64,
}

const EVENTS: [(Event, u64); 3] = [(Event::Any, 2), (Event::Minor, 5), (Event::Major, 6)];
/// Data pages of each ring: a power of two.
const PAGES: usize = 2048;
const PAGE: usize = 4096;
const LENGTH: usize = (1 + PAGES) * PAGE;

const TYPE_SOFTWARE: u64 = 1;
const ATTR_SIZE: u64 = 64;
const SAMPLE_TID: u64 = 1 << 1;
const SAMPLE_ADDR: u64 = 1 << 3;
const SAMPLE_IDENTIFIER: u64 = 1 << 16;
const INHERIT: u64 = 1 << 1;
const IOC_SET_OUTPUT: libc::c_ulong = 0x2405;
const IOC_ID: libc::c_ulong = 0x8008_2407;
const RECORD_LOST: u32 = 2;
const RECORD_SAMPLE: u32 = 9;

struct Ring {
    start: *mut u8,
    read: u64,
    ids: Vec<(u64, Event)>,
    _events: Vec<File>,
}

/// The events over all CPUs.
pub(crate) struct Witness(Vec<Ring>);

impl Witness {
    /// Begins; processes started by this thread from now on are seen.
    pub(crate) fn begin() -> io::Result<Self> {
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
        let last = online.trim().rsplit([',', '-']).next().unwrap_or("0");
        let last: i32 = last.parse().map_err(io::Error::other)?;
        (0..=last).map(Ring::open).collect::<io::Result<_>>().map(Self)
    }

    /// All that was seen since the last time.
    pub(crate) fn samples(&mut self) -> Vec<Sample> {
        self.0.iter_mut().flat_map(Ring::drain).collect()
    }
}

fn open_event(cpu: i32, config: u64) -> io::Result<File> {
    let attributes: [u64; 8] = [
        TYPE_SOFTWARE | ATTR_SIZE << 32,
        config,
        1,
        SAMPLE_TID | SAMPLE_ADDR | SAMPLE_IDENTIFIER,
        0,
        INHERIT,
        0,
        0,
    ];
    // SAFETY: the attributes are a live `perf_event_attr` of the first published size.
    let fd =
        unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), 0, cpu, -1, 8) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and has no other owner.
    Ok(unsafe { File::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?) })
}

impl Ring {
    fn open(cpu: i32) -> io::Result<Self> {
        let mut ids = Vec::new();
        let mut events: Vec<File> = Vec::new();
        for (event, config) in EVENTS {
            let file = open_event(cpu, config)?;
            let mut id = 0u64;
            // SAFETY: PERF_EVENT_IOC_ID writes one 64-bit integer.
            if unsafe { libc::ioctl(file.as_raw_fd(), IOC_ID, &raw mut id) } == -1 {
                return Err(io::Error::last_os_error());
            }
            ids.push((id, event));
            events.push(file);
        }
        let first = events[0].as_raw_fd();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), LENGTH, protection, libc::MAP_SHARED, first, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        for event in &events[1..] {
            // SAFETY: integers only.
            if unsafe { libc::ioctl(event.as_raw_fd(), IOC_SET_OUTPUT, first) } == -1 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Self { start: start.cast(), read: 0, ids, _events: events })
    }

    /// The ring's head or tail: 64-bit integers at 1024 and 1032 of its first page.
    fn position(&self, at: usize) -> &AtomicU64 {
        // SAFETY: the first page is mapped while `self` lives, and both sides access the
        // two positions as aligned 64-bit integers.
        unsafe { AtomicU64::from_ptr(self.start.add(at).cast()) }
    }

    fn bytes(&self, at: u64, length: usize) -> Vec<u8> {
        let size = PAGES * PAGE;
        let byte = |index: usize| {
            let offset = (usize::try_from(at).unwrap() + index) % size;
            // SAFETY: inside the data pages, and the kernel does not write between tail and head.
            unsafe { self.start.add(PAGE + offset).read_volatile() }
        };
        (0..length).map(byte).collect()
    }

    fn drain(&mut self) -> Vec<Sample> {
        let head = self.position(1024).load(Ordering::Acquire);
        let mut samples = Vec::new();
        while self.read < head {
            let header = self.bytes(self.read, 8);
            let kind = u32::from_ne_bytes(header[..4].try_into().unwrap());
            let length = u16::from_ne_bytes(header[6..].try_into().unwrap());
            let body = self.bytes(self.read + 8, usize::from(length) - 8);
            assert_ne!(kind, RECORD_LOST, "the witness lost samples");
            if kind == RECORD_SAMPLE {
                samples.push(self.sample(&body));
            }
            self.read += u64::from(length);
        }
        self.position(1032).store(self.read, Ordering::Release);
        samples
    }

    /// A sample's body: identifier, pid, tid, address.
    fn sample(&self, body: &[u8]) -> Sample {
        let word = |at: usize| u64::from_ne_bytes(body[at..at + 8].try_into().unwrap());
        let id = word(0);
        let event = self.ids.iter().find(|one| one.0 == id).expect("a sample of some event").1;
        let pid = u32::from_ne_bytes(body[8..12].try_into().unwrap());
        Sample { event, pid, address: word(16) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping is this ring's own and nothing refers to it any more.
        unsafe { libc::munmap(self.start.cast(), LENGTH) };
    }
}
