//! Gathers an address space. Every file may be refused or vanish; what is left
//! is still shown.

use std::io::{self, BufRead, BufReader};

use super::field::Amounts;
use super::region::Region;
use super::{bss, numa, scan, smaps, stacks};
use crate::inspect::pagemap::Words;
use crate::inspect::subject::Subject;
use crate::inspect::unseen::Unseen;

/// What to gather.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Cells of each region's picture; 0 leaves the page map alone.
    pub cells: usize,
    /// Each region's nodes, even on a machine with one.
    pub nodes: bool,
}

/// An address space at one moment.
#[derive(Clone, Debug)]
pub struct Space {
    /// Whose it is.
    pub pid: i32,
    /// The process's name. Hostile.
    pub comm: String,
    /// Its program. Hostile.
    pub exe: Option<String>,
    /// Its regions, in the order of their addresses.
    pub regions: Vec<Region>,
    /// The kernel's own totals (`smaps_rollup`), with fields that only it has.
    pub rollup: Option<(Amounts, Vec<(String, u64)>)>,
    /// What `status` says, in bytes, by the kernel's names: `VmPTE`, `VmPeak` …
    pub status: Vec<(String, u64)>,
    /// How many bits an address may have: 47 or 56.
    pub bits: u32,
    /// What could not be seen.
    pub unseen: Unseen,
}

impl Space {
    fn empty(subject: &Subject, unseen: Unseen) -> Self {
        Self {
            pid: subject.pid,
            comm: subject.comm.clone(),
            exe: subject.exe.clone(),
            regions: Vec::new(),
            rollup: None,
            status: Vec::new(),
            bits: address_bits(),
            unseen,
        }
    }

    /// A line of `status`, in bytes.
    pub fn status(&self, name: &str) -> Option<u64> {
        self.status.iter().find(|(key, _)| key == name).map(|&(_, bytes)| bytes)
    }

    /// The regions' amounts, added up.
    pub fn sum(&self) -> Amounts {
        let mut sum = Amounts::default();
        self.regions.iter().for_each(|region| sum.add(&region.bytes));
        sum
    }
}

/// Looks at a process's address space.
pub fn look(subject: &Subject, wanted: Wanted) -> Space {
    let mut unseen = Unseen::default();
    let status = unseen.keep("totals of the process", subject.text("status")).unwrap_or_default();
    if let Some(why) = without_space(&status) {
        unseen.note("regions", why);
        return Space::empty(subject, unseen);
    }
    let mut regions = read_regions(subject, &mut unseen);
    let rollup = unseen
        .keep("the kernel's own totals", subject.text("smaps_rollup"))
        .filter(|text| !text.is_empty())
        .map(|text| smaps::rollup(&text));
    if wanted.cells > 0 && !regions.is_empty() {
        let pagemap = subject.file("pagemap").map(Words::new);
        if let Some(pagemap) = unseen.keep("the page map", pagemap) {
            scan::fill(&pagemap, &mut regions, wanted.cells, &mut unseen);
        }
    }
    if wanted.nodes || has_nodes() {
        let text = unseen.keep("NUMA nodes", subject.text("numa_maps")).unwrap_or_default();
        numa::fill(&text, &mut regions);
    }
    bss::check(subject, &mut regions);
    stacks::fill(subject, &mut regions);
    Space { regions, rollup, status: status_amounts(&status), ..Space::empty(subject, unseen) }
}

/// The regions from `smaps`, or without amounts from `maps`.
fn read_regions(subject: &Subject, unseen: &mut Unseen) -> Vec<Region> {
    let exe = subject.exe.as_deref();
    let read = |name: &str| -> io::Result<Vec<Region>> {
        smaps::read(
            &mut BufReader::with_capacity(1 << 16, subject.file(name)?) as &mut dyn BufRead,
            exe,
        )
    };
    match read("smaps") {
        Ok(regions) if !regions.is_empty() => regions,
        Ok(_) => Vec::new(),
        Err(error) => {
            unseen.note("each region's amounts", error);
            unseen.keep("regions", read("maps")).unwrap_or_default()
        }
    }
}

/// Why a process has no address space at all, as its `status` tells.
fn without_space(status: &str) -> Option<&'static str> {
    if status.is_empty() || status.lines().any(|line| line.starts_with("VmSize:")) {
        None
    } else if status.lines().any(|line| line.starts_with("State:\tZ")) {
        Some("the process has ended; its parent has not collected it yet")
    } else {
        Some("a kernel thread has no address space of its own")
    }
}

fn has_nodes() -> bool {
    std::path::Path::new("/sys/devices/system/node/node1").exists()
}

/// The lines of `status` that are amounts.
fn status_amounts(text: &str) -> Vec<(String, u64)> {
    let amount = |line: &str| {
        let (key, value) = line.split_once(':')?;
        let kib: u64 = value.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some((key.to_owned(), kib * 1024))
    };
    text.lines().filter_map(amount).collect()
}

/// How many bits a user address may have here. The flag `la57` is there only
/// where the kernel runs with five levels: it clears it otherwise.
pub fn address_bits() -> u32 {
    let cpus = std::fs::File::open("/proc/cpuinfo").map(BufReader::new);
    let flags = cpus
        .ok()
        .and_then(|cpus| cpus.lines().map_while(Result::ok).find(|line| line.starts_with("flags")));
    let five = flags.is_some_and(|flags| flags.split_ascii_whitespace().any(|flag| flag == "la57"));
    if five { 56 } else { 47 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_a_status() {
        let text = "Name:\tx\nVmPTE:\t     120 kB\nThreads:\t1\nVmSwap:\t       0 kB\n";
        assert_eq!(status_amounts(text), [("VmPTE".to_owned(), 122_880), ("VmSwap".to_owned(), 0)]);
    }
}
