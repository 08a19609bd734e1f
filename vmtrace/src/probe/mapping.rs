//! Regions where the kernel side cannot see them (`tracepoint` backend): from
//! the kernel's stream of new mappings, and from `/proc/PID/maps` for what was
//! there before or what the stream leaves out (`mremap`, the stack of a new
//! program).
//!
//! It watches the records go by in their order and makes sure that no fault
//! passes whose region has not been described, as long as its process lives.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use vmtrace_common::evidence::{end, nature};
use vmtrace_common::record::{Exec, Fault, Header, PATH, Region, name, tag};

use super::namespace::Namespace;
use super::places::Places;
use crate::decode::{self, Rare, encode};
use crate::sys::perf::Changes;

const RECORD_LOST: u32 = 2;
const RECORD_COMM: u32 = 3;
const RECORD_MMAP2: u32 = 10;
/// In a COMM record's `misc`: the name is a new program's.
const MISC_COMM_EXEC: u16 = 1 << 13;
/// How much stack a new program is given to begin with.
///
/// <https://elixir.bootlin.com/linux/v6.12/source/fs/exec.c#L837>
const FIRST_STACK: u64 = 128 << 10;

/// What is known of one process's address space: where regions start and end.
type Space = BTreeMap<u64, u64>;

/// Something that happened.
#[derive(Debug)]
pub enum Change {
    /// A rare record.
    Record(Vec<u8>),
    /// A process gave up its address space: what follows is a new program's.
    NewImage(u32),
}

/// The regions described so far, and the streams that bring more.
#[derive(Debug)]
pub struct Mappings {
    streams: Vec<Changes>,
    spaces: HashMap<u32, Space>,
    /// What a new program mapped before it was said to have begun.
    beginning: HashMap<u32, Vec<Region>>,
    /// Addresses that were looked for in vain, by process and 64 KiB.
    missing: HashSet<(u32, u64)>,
    last: (u32, u64, u64),
    places: Places,
    namespace: Arc<Namespace>,
}

impl Mappings {
    /// Watches the CPUs.
    pub fn watch(cpus: &[u32], namespace: Arc<Namespace>) -> std::io::Result<Self> {
        Ok(Self {
            streams: cpus.iter().map(|&cpu| Changes::watch(cpu)).collect::<Result<_, _>>()?,
            spaces: HashMap::new(),
            beginning: HashMap::new(),
            missing: HashSet::new(),
            last: (0, 0, 0),
            places: Places::read(),
            namespace,
        })
    }

    /// Hands on what has come, each with its time, in no order.
    pub fn read(&mut self, mut take: impl FnMut(u64, Change)) {
        let mut lost = false;
        let (places, namespace) = (&self.places, &self.namespace);
        for stream in &mut self.streams {
            stream.read(|kind, misc, body| match kind {
                RECORD_MMAP2 => {
                    if let Some(mut region) = mapped(body, places)
                        && let Some(pid) = namespace.outside(region.header.pid)
                    {
                        region.header.pid = pid;
                        let time = region.header.time;
                        take(time, Change::Record(encode(&Rare::Region(Box::new(region)))));
                    }
                }
                RECORD_COMM if misc & MISC_COMM_EXEC != 0 => {
                    let pid = word(body, 0).and_then(|pid| namespace.outside(pid));
                    if let (Some(pid), Some(time)) = (pid, time(body)) {
                        take(time, Change::NewImage(pid));
                    }
                }
                RECORD_LOST => lost = true,
                _ => {}
            });
        }
        if lost {
            // What was not told has to be looked up again.
            self.forget_all();
        }
    }

    fn forget_all(&mut self) {
        // Whose they are stays known.
        self.spaces.values_mut().for_each(Space::clear);
        self.missing.clear();
        self.last = (0, 0, 0);
    }

    /// A process begins another program. All processes' are told of; one that
    /// is traced has been announced before.
    pub fn new_image(&mut self, pid: u32) {
        if self.spaces.remove(&pid).is_none() {
            return;
        }
        self.missing.retain(|(missing, _)| *missing != pid);
        self.last = (0, 0, 0);
        self.beginning.insert(pid, Vec::new());
    }

    /// Hands on a record, and what follows from it; regions of processes that
    /// are not traced are kept back.
    pub fn pass(&mut self, record: &[u8], mut take: impl FnMut(&[u8])) {
        let Ok(known) = decode::rare(record) else { return take(record) };
        match known {
            Rare::Region(region) => {
                let pid = region.header.pid;
                if let Some(beginning) = self.beginning.get_mut(&pid) {
                    beginning.push(*region);
                }
                if self.spaces.contains_key(&pid) || self.beginning.contains_key(&pid) {
                    self.enter(pid, region.start, region.end);
                    take(record);
                }
            }
            Rare::Task(task) => {
                let pid = task.header.pid;
                take(record);
                if task.header.tid == pid && task.header.time != 0 {
                    let space = self.spaces.get(&task.parent).cloned().unwrap_or_default();
                    self.spaces.insert(pid, space);
                } else if let Entry::Vacant(space) = self.spaces.entry(pid) {
                    // It was there before us, and may be gone before its first
                    // fault is read.
                    space.insert(Space::new());
                    self.look_up(pid, task.header.time, &mut take);
                }
            }
            Rare::Exec(exec) => {
                take(record);
                let pid = exec.header.pid;
                self.spaces.insert(pid, Space::new());
                let stack = first_stack(&exec);
                for mut region in self.beginning.remove(&pid).into_iter().flatten().chain(stack) {
                    region.header.time = exec.header.time;
                    self.enter(pid, region.start, region.end);
                    take(&encode(&Rare::Region(Box::new(region))));
                }
            }
            Rare::Exit(totals) => {
                take(record);
                if totals.header.pid == totals.header.tid {
                    self.beginning.remove(&totals.header.pid);
                }
            }
            Rare::Totals(_)
            | Rare::Rename(_)
            | Rare::Tlb(_)
            | Rare::Victim(_)
            | Rare::Oom(_)
            | Rare::Spill(_)
            | Rare::Cgroup(_)
            | Rare::GroupName(_)
            | Rare::Counters(_)
            | Rare::Doorbell(_) => take(record),
        }
    }

    fn enter(&mut self, pid: u32, start: u64, end: u64) {
        self.last = (0, 0, 0);
        let space = self.spaces.entry(pid).or_default();
        let covered: Vec<u64> = space
            .range(..end)
            .rev()
            .take_while(|(_, old_end)| **old_end > start)
            .map(|(old_start, _)| *old_start)
            .collect();
        for old_start in covered {
            let Some(old_end) = space.remove(&old_start) else { continue };
            if old_start < start {
                space.insert(old_start, start);
            }
            if old_end > end {
                space.insert(end, old_end);
            }
        }
        space.insert(start, end);
    }

    /// Describes what `faults` touch and is not known yet.
    pub fn describe(&mut self, faults: &[Fault], mut take: impl FnMut(&[u8])) {
        for fault in faults {
            let (pid, start, end) = self.last;
            if pid == fault.pid && start <= fault.address && fault.address < end {
                continue;
            }
            let hopeless = fault.end() == end::SIGNAL
                || self.missing.contains(&(fault.pid, fault.address >> 16));
            if hopeless || self.knows(fault) {
                continue;
            }
            self.look_up(fault.pid, fault.time, &mut take);
            if !self.knows(fault) {
                self.missing.insert((fault.pid, fault.address >> 16));
            }
        }
    }

    /// Describes what a process has mapped now.
    fn look_up(&mut self, pid: u32, time: u64, take: &mut impl FnMut(&[u8])) {
        let regions = self.namespace.inside(pid).map(|pid| self.places.regions_of(pid));
        for mut region in regions.into_iter().flatten() {
            (region.header.pid, region.header.time) = (pid, time);
            self.enter(pid, region.start, region.end);
            take(&encode(&Rare::Region(Box::new(region))));
        }
    }

    fn knows(&mut self, fault: &Fault) -> bool {
        let Some(space) = self.spaces.get(&fault.pid) else { return false };
        let Some((&start, &end)) = space.range(..=fault.address).next_back() else { return false };
        if fault.address >= end {
            return false;
        }
        self.last = (fault.pid, start, end);
        true
    }
}

/// A new program's stack, which the stream leaves out.
fn first_stack(exec: &Exec) -> Option<Region> {
    if exec.stack == 0 || exec.stack_end <= exec.stack {
        return None;
    }
    let place = Place {
        start: (exec.stack & !0xfff).saturating_sub(FIRST_STACK),
        end: (exec.stack_end + 0xfff) & !0xfff,
        offset: 0,
        inode: 0,
        device: 0,
        nature: nature::KNOWN | nature::READ | nature::WRITE | nature::GROWS_DOWN,
    };
    let header = Header { tag: tag::REGION, ..exec.header };
    Some(record(place, header, b"[stack]"))
}

fn word(body: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(body.get(at..at + 4)?.try_into().ok()?))
}

fn long(body: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(body.get(at..at + 8)?.try_into().ok()?))
}

/// The sample's time, which ends every record.
fn time(body: &[u8]) -> Option<u64> {
    long(body, body.len().checked_sub(8)?)
}

/// A mapping record: pid, tid, address, length, offset, device, inode,
/// generation, protection, flags, name, and the sample's pid, tid and time.
fn mapped(body: &[u8], places: &Places) -> Option<Region> {
    const FIXED: usize = 64;
    const SAMPLE: usize = 16;
    const MAP_SHARED: u32 = 1;
    const MAP_HUGETLB: u32 = 0x4_0000;
    let text = body.get(FIXED..body.len().checked_sub(SAMPLE)?)?;
    let text = text.split(|&byte| byte == 0).next()?;
    let (start, len) = (long(body, 8)?, long(body, 16)?);
    let (protection, flags) = (word(body, 56)?, word(body, 60)?);
    let device = word(body, 32)? << 20 | word(body, 36)?;
    let inode = long(body, 40)?;
    let mut bits = nature::KNOWN | u16::try_from(protection & 7).ok()? << 5;
    if flags & MAP_SHARED != 0 {
        bits |= nature::SHARED;
    }
    if flags & MAP_HUGETLB != 0 {
        bits |= nature::HUGETLB;
    }
    let header = Header {
        tag: tag::REGION,
        pid: word(body, 0)?,
        tid: word(body, 4)?,
        time: time(body)?,
        ..Header::default()
    };
    // The stream's word for no name.
    let text = if text == b"//anon" { &b""[..] } else { text };
    Some(places.region(
        Place {
            start,
            end: start.checked_add(len)?,
            offset: long(body, 24)?,
            inode,
            device,
            nature: bits,
        },
        header,
        text,
    ))
}

/// Where a region lies and what it maps.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// First address.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// In the file.
    pub offset: u64,
    /// The file's.
    pub inode: u64,
    /// The file's.
    pub device: u32,
    /// As far as the source tells it.
    pub nature: u16,
}

/// A region's record, named as `/proc/PID/maps` would name it.
pub fn record(place: Place, mut header: Header, text: &[u8]) -> Region {
    let mut region = Region {
        header: Header::default(),
        start: place.start,
        end: place.end,
        offset: place.offset,
        inode: place.inode,
        device: place.device,
        nature: place.nature,
        naming: name::NONE,
        components: 0,
        special: name::PLAIN,
        mount: 0,
        reserved: 0,
        name_len: 0,
        name: [0; PATH],
    };
    header.len = u32::try_from(size_of::<Region>()).unwrap_or(0);
    region.header = header;
    set_name(&mut region, text);
    region
}

/// Writes a whole name into a region's record.
pub fn set_name(region: &mut Region, text: &[u8]) {
    let (text, special) = match text {
        b"[heap]" => (&b""[..], name::HEAP),
        b"[stack]" => (&b""[..], name::STACK),
        b"[vdso]" => (&b""[..], name::VDSO),
        other => match other.strip_suffix(b" (deleted)") {
            Some(rest) => (rest, name::DELETED),
            None => (other, name::PLAIN),
        },
    };
    region.special |= special;
    if let Some(given) = text.strip_prefix(b"[anon:") {
        region.naming = name::ANONYMOUS;
        return copy_name(region, given.strip_suffix(b"]").unwrap_or(given));
    }
    if !text.is_empty() {
        region.naming = name::WHOLE;
    }
    copy_name(region, text);
}

fn copy_name(region: &mut Region, text: &[u8]) {
    let len = text.len().min(PATH);
    if len < text.len() {
        region.naming = name::TRUNCATED;
    }
    region.name = [0; PATH];
    region.name[..len].copy_from_slice(&text[..len]);
    region.name_len = u32::try_from(len).unwrap_or(0);
}
