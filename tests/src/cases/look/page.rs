//! Pages in every state there is, made on purpose, and what a walk has to say of
//! each.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::sys::mapping::{Mapping, What};

const HUGE: usize = 2 << 20;
const GIGANTIC: usize = 1 << 30;
const MADV_PAGEOUT: i32 = 21;
const MADV_GUARD_INSTALL: i32 = 102;

/// What stands at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    /// A page of so many bytes.
    Page(u64),
    /// The zero page.
    Zero,
    /// Nothing.
    Empty,
    /// A page in swap.
    Swapped,
    /// A guard.
    Guard,
    /// Whatever is there.
    Anything,
}

/// The kinds that a touch would be; none where it would not fault.
pub(super) type Kinds = &'static [&'static str];

/// A page in a known state.
#[derive(Debug)]
pub(super) struct State {
    pub(super) name: &'static str,
    pub(super) address: u64,
    pub(super) is: Is,
    /// What a read would do, where this machine does not decide it.
    pub(super) read: Option<Kinds>,
    pub(super) write: Option<Kinds>,
    /// Shared with another process when it is looked at.
    pub(super) shared: bool,
    // In this order: a page is given back before its pool shrinks.
    _kept: Option<Mapping>,
    _grown: Option<Pool>,
}

impl State {
    fn new(name: &'static str, address: u64, is: Is, read: Kinds, write: Kinds) -> Self {
        let (read, write) = (Some(read), Some(write));
        Self { name, address, is, read, write, shared: false, _kept: None, _grown: None }
    }

    fn keep(self, mapping: Mapping) -> Self {
        Self { _kept: Some(mapping), ..self }
    }
}

const PAGE: Is = Is::Page(4096);

/// All that this machine lets us make, and why not the others.
pub(super) fn all(long: bool) -> Result<(Vec<State>, Vec<String>)> {
    let (mut made, mut missing) = (anonymous()?, Vec::new());
    made.extend(files()?);
    made.extend(addresses());
    let others = [thp(), hugetlb(HUGE, true), hugetlb(GIGANTIC, long), swapped(), guard()];
    for other in others {
        match other {
            Ok(state) => made.push(state),
            Err(why) => missing.push(why),
        }
    }
    // A fork write-protects all pages that it shares: such states come last.
    made.sort_by_key(|state| state.shared);
    Ok((made, missing))
}

fn anonymous() -> Result<Vec<State>> {
    let memory = || Mapping::new(What::Anonymous, 1);
    let (written, untouched, zero) = (memory()?, memory()?, memory()?);
    let (closed, shared, high) = (memory()?, memory()?, Mapping::new(What::High, 1)?);
    for one in [&written, &closed, &shared, &high] {
        one.write();
    }
    zero.read();
    closed.close()?;
    let common = Mapping::new(What::SharedAnonymous, 2)?;
    common.write_one(0);
    let shmem = &["shmem", "shmem-swap-in"];
    let absent = State { shared: true, ..State::new("", common.at(1), Is::Empty, shmem, shmem) };
    Ok(vec![
        State::new("anonymous", written.at(0), PAGE, &[], &[]).keep(written),
        State::new("untouched", untouched.at(0), Is::Empty, &["anon-read"], &["anon-zero"])
            .keep(untouched),
        State::new("zero page", zero.at(0), Is::Zero, &[], &["cow-zero"]).keep(zero),
        State::new("PROT_NONE", closed.at(0), PAGE, &["protection"], &["protection"]).keep(closed),
        State {
            shared: true,
            ..State::new("shared by fork", shared.at(0), PAGE, &[], &["cow-copy"]).keep(shared)
        },
        State::new("high", high.at(0), PAGE, &[], &[]).keep(high),
        State { name: "shared memory, untouched", ..absent },
        State::new("shared memory", common.at(0), PAGE, &[], &[]).keep(common),
    ])
}

fn files() -> Result<Vec<State>> {
    let path = std::env::temp_dir().join(format!("vmtrace-walk-{}", std::process::id()));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
    let mut file = file.context("cannot make the file to map")?;
    file.write_all(&[7; 4 * 4096])?;
    std::fs::remove_file(&path)?;
    let map = |what| Mapping::new(what, 1);
    let (absent, read, copied) =
        (map(What::Private(&file))?, map(What::Private(&file))?, map(What::Private(&file))?);
    let shared = map(What::Shared(&file))?;
    copied.write();
    read.read();
    shared.read();
    // A file in memory has no page that would have to be read.
    let untouched = State { read: None, ..State::new("", absent.at(0), Is::Empty, &[], &[]) };
    Ok(vec![
        State { name: "file, untouched", write: None, ..untouched }.keep(absent),
        State::new("file", read.at(0), PAGE, &[], &["cow-copy"]).keep(read),
        State::new("file, copied", copied.at(0), PAGE, &[], &[]).keep(copied),
        // Whether its first write is told to the file depends on the file system.
        State { write: None, ..State::new("shared file", shared.at(0), PAGE, &[], &[]) }
            .keep(shared),
    ])
}

/// Addresses that no page can be at.
fn addresses() -> Vec<State> {
    let nowhere = |name, address, kinds| State::new(name, address, Is::Anything, kinds, kinds);
    vec![
        nowhere("null", 16, &["null"]),
        nowhere("non-canonical", 0x8000_0000_0000_0000, &["non-canonical"]),
        nowhere("kernel half", 0xffff_ffff_8000_0000, &["unmapped"]),
    ]
}

/// A page in a state that not every machine has, or why this one has it not.
type Made = Result<State, String>;

fn memory(what: What<'_>, pages: usize) -> Result<Mapping, String> {
    Mapping::new(what, pages).map_err(|error| format!("mapping {what:?}: {error}"))
}

fn thp() -> Made {
    let memory = memory(What::Anonymous, 2 * HUGE / 4096)?;
    let settings = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    if settings.is_ok_and(|text| text.contains("[never]")) || !memory.advise(libc::MADV_HUGEPAGE) {
        return Err("THP: it is off here".to_owned());
    }
    let first = memory.aligned(HUGE);
    memory.write_one(first);
    let state = State::new("THP", memory.at(first + 5), Is::Page(HUGE as u64), &[], &[]);
    Ok(state.keep(memory))
}

/// A pool of huge pages that was made larger, and becomes what it was.
#[derive(Debug)]
struct Pool {
    size: PathBuf,
    was: String,
}

impl Pool {
    fn grow(size: PathBuf) -> Option<Self> {
        let was = std::fs::read_to_string(&size).ok()?;
        let more = was.trim().parse::<u64>().ok()? + 1;
        // One that cannot grow takes the number and says nothing.
        std::fs::write(&size, more.to_string()).ok()?;
        Some(Self { size, was })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = std::fs::write(&self.size, &self.was);
    }
}

/// A page of the pool, which may be given one if it has none.
fn hugetlb(size: usize, grow: bool) -> Made {
    let name = if size == HUGE { "hugetlb" } else { "hugetlb 1 GiB" };
    let pool = PathBuf::from(format!("/sys/kernel/mm/hugepages/hugepages-{}kB", size >> 10));
    let is_empty = || {
        let free = std::fs::read_to_string(pool.join("free_hugepages"));
        free.map_or(true, |free| free.trim() == "0")
    };
    let grown = if is_empty() && grow { Pool::grow(pool.join("nr_hugepages")) } else { None };
    if is_empty() {
        return Err(format!("{name}: no such page is free"));
    }
    let memory = memory(What::Hugetlb(size), size / 4096)?;
    memory.write_one(0);
    let state = State::new(name, memory.at(7), Is::Page(size as u64), &[], &[]);
    Ok(State { _grown: grown, ..state.keep(memory) })
}

fn swapped() -> Made {
    let memory = memory(What::Anonymous, 16)?;
    memory.write();
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    if swaps.lines().count() < 2 {
        return Err("swapped: there is no swap".to_owned());
    }
    if !memory.advise(MADV_PAGEOUT) {
        return Err("swapped: this kernel has no MADV_PAGEOUT".to_owned());
    }
    let touch: Kinds = &["swap-in", "swap-cache"];
    Ok(State::new("swapped", memory.at(3), Is::Swapped, touch, touch).keep(memory))
}

fn guard() -> Made {
    let memory = memory(What::Anonymous, 1)?;
    if !memory.advise(MADV_GUARD_INSTALL) {
        return Err("guard: this kernel has no MADV_GUARD_INSTALL".to_owned());
    }
    let touch: Kinds = &["unmapped"];
    Ok(State::new("guard", memory.at(0), Is::Guard, touch, touch).keep(memory))
}
