//! The arrays that the programs share with user space, which maps them.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use anyhow::{Context as _, bail};
use aya::Ebpf;
use aya::maps::{Map, MapData};
use vmtrace_common::config::Shared;
use vmtrace_common::record::{Fault, Spill};
use vmtrace_common::thread::{Cursor, Thread};

use super::preflight;

/// `BPF_MAP_TYPE_ARRAY`
const ARRAY: u32 = 2;
/// `BPF_F_MMAPABLE`
const MMAPABLE: u32 = 1 << 10;
/// The verifier follows an address as far as this (`BPF_MAX_VAR_OFF`).
const FOLLOWED: usize = 1 << 29;

/// One of them.
#[derive(Debug)]
pub(super) struct Array {
    name: &'static str,
    count: u32,
    /// Ours: of one value, whose address the programs have.
    whole: Option<MapData>,
    /// Else the object's, of as many values as there are elements.
    looked_up: Option<MapData>,
}

impl Array {
    fn of<T>(name: &'static str, count: u32) -> Self {
        let whole = create(name, size_of::<T>().saturating_mul(count as usize));
        Self { name, count, whole, looked_up: None }
    }

    /// What the programs are told.
    pub(super) fn shared(&self) -> Shared {
        let map = self.whole.as_ref().map_or(0, |map| map.fd().as_fd().as_raw_fd());
        Shared { map: map.cast_unsigned(), count: self.count }
    }

    /// The object's map of this name, and how many values it is to have.
    pub(super) fn values(&self) -> (&'static str, u32) {
        (self.name, if self.whole.is_some() { 1 } else { self.count })
    }

    fn take(&mut self, ebpf: &mut Ebpf) -> anyhow::Result<()> {
        let map = ebpf.take_map(self.name).with_context(|| format!("map {}", self.name))?;
        let Map::Array(map) = map else { bail!("{} is no array", self.name) };
        self.looked_up = Some(map);
        Ok(())
    }

    /// The map to be mapped.
    pub(super) fn fd(&self) -> anyhow::Result<BorrowedFd<'_>> {
        let map = self.whole.as_ref().or(self.looked_up.as_ref());
        Ok(map.with_context(|| format!("no map {}", self.name))?.fd().as_fd())
    }
}

/// A map of one value. Whatever the reason that there is none, it can be done without:
/// 5.10 wants values to be smaller. Where they have addresses, the programs take for
/// granted what came at about the same time: a typed current task (5.11), and loads
/// from nowhere that the kernel guards (5.12).
fn create(name: &str, size: usize) -> Option<MapData> {
    if preflight::version(&preflight::release()) < (5, 12) {
        return None;
    }
    let size = u32::try_from(size).ok().filter(|_| size < FOLLOWED)?;
    let map = aya_obj::Map::new_from_params(ARRAY, 4, size, 1, MMAPABLE);
    MapData::create(map, name, None).ok()
}

/// All of them, kept as long as programs may still be loaded, which refer to them by
/// descriptor.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) threads: Array,
    pub(super) rings: Array,
    pub(super) cursors: Array,
    pub(super) spills: Array,
}

/// How many elements each has.
pub(super) struct Counts {
    pub(super) threads: u32,
    pub(super) rings: u32,
    pub(super) cursors: u32,
    pub(super) spills: u32,
}

impl Memory {
    pub(super) fn new(counts: &Counts) -> Self {
        Self {
            threads: Array::of::<Thread>("THREADS", counts.threads),
            rings: Array::of::<Fault>("RINGS", counts.rings),
            cursors: Array::of::<Cursor>("CURSORS", counts.cursors),
            spills: Array::of::<Spill>("SPILLS", counts.spills),
        }
    }

    /// All four.
    pub(super) fn arrays(&self) -> [&Array; 4] {
        [&self.threads, &self.rings, &self.cursors, &self.spills]
    }

    /// Takes the object's own maps.
    pub(super) fn take(&mut self, ebpf: &mut Ebpf) -> anyhow::Result<()> {
        for array in [&mut self.threads, &mut self.rings, &mut self.cursors, &mut self.spills] {
            array.take(ebpf)?;
        }
        Ok(())
    }
}
