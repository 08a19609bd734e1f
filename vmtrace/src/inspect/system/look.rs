//! Gathers the machine's memory.

use std::fs;
use std::io;
use std::time::Instant;

use serde::Serialize;

use super::overcommit::Overcommit;
use super::rates::{Pressure, pressure};
use super::settings::{self, Setting};
use super::slab::{self, Cache};
use super::swap::{self, Area, Zswap};
use super::zones::{self, Zone};
use crate::inspect::meminfo::{Numbers, meminfo, vmstat};
use crate::inspect::unseen::Unseen;

/// A pool of hugetlb pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pool {
    /// The size of a page in bytes.
    pub page: u64,
    /// Pages in it.
    pub total: u64,
    /// Not in use.
    pub free: u64,
    /// Promised, not yet in use.
    pub reserved: u64,
    /// Beyond what was asked for.
    pub surplus: u64,
}

/// A NUMA node.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    /// Its number.
    pub node: u32,
    /// Its own meminfo, in bytes.
    pub memory: Numbers,
    /// Its allocation counters.
    pub numastat: Numbers,
}

/// The machine's memory at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Memory {
    /// When `vmstat` was read.
    #[serde(skip)]
    pub at: Instant,
    /// `/proc/meminfo` in bytes.
    pub meminfo: Numbers,
    /// `/proc/vmstat`.
    #[serde(skip)]
    pub vmstat: Numbers,
    /// Pools of hugetlb pages.
    pub hugetlb: Vec<Pool>,
    /// Zones.
    pub zones: Vec<Zone>,
    /// Nodes.
    pub nodes: Vec<Node>,
    /// The largest slab caches.
    pub slabs: Vec<Cache>,
    /// The largest users of vmalloc.
    pub vmalloc: Vec<(String, u64)>,
    /// Swap areas.
    pub swap: Vec<Area>,
    /// zswap.
    pub zswap: Option<Zswap>,
    /// What is promised.
    pub overcommit: Overcommit,
    /// Settings of transparent huge pages.
    pub thp: Vec<Setting>,
    /// Other settings.
    pub settings: Vec<Setting>,
    /// Pressure on memory.
    pub pressure: Option<Pressure>,
    /// What could not be seen.
    pub unseen: Unseen,
}

/// So many of the largest are kept.
const LARGEST: usize = 12;

/// Looks at the machine's memory.
pub fn look() -> Memory {
    let mut unseen = Unseen::default();
    let mut text = |what: &str, path: &str| unseen.keep(what, read(path)).unwrap_or_default();
    let memory = meminfo(&text("amounts", "/proc/meminfo"));
    let at = Instant::now();
    let vmstat = vmstat(&text("rates", "/proc/vmstat"));
    let mut zones = zones::parse(&text("zones", "/proc/zoneinfo"));
    zones::add_orders(&mut zones, &text("free lists", "/proc/buddyinfo"));
    let mut slabs = slab::parse(&text("slab caches", "/proc/slabinfo"));
    slabs.truncate(LARGEST);
    let mut vmalloc = slab::vmalloc(&text("users of vmalloc", "/proc/vmallocinfo"));
    vmalloc.truncate(LARGEST);
    let pressure = fs::read_to_string("/proc/pressure/memory").ok().as_deref().and_then(pressure);
    if pressure.is_none() {
        unseen.note("pressure", "the kernel was built or started without PSI (boot with psi=1)");
    }
    let zswap = swap::zswap(memory.get("Zswapped").copied(), memory.get("Zswap").copied());
    Memory {
        at,
        overcommit: overcommit(&memory),
        hugetlb: pools(),
        nodes: nodes(),
        meminfo: memory,
        vmstat,
        zones,
        slabs,
        vmalloc,
        swap: swap::look(),
        zswap,
        thp: settings::thp(),
        settings: settings::others(),
        pressure,
        unseen,
    }
}

/// Only what rates need: for the first of two looks.
pub fn glance() -> io::Result<(Instant, Numbers)> {
    Ok((Instant::now(), vmstat(&fs::read_to_string("/proc/vmstat")?)))
}

fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(path).map_err(|error| {
        let why = if error.kind() == io::ErrorKind::PermissionDenied {
            format!("{path} may be read only by root")
        } else {
            format!("{path}: {error}")
        };
        io::Error::new(error.kind(), why)
    })
}

fn overcommit(memory: &Numbers) -> Overcommit {
    let of = |key: &str| memory.get(key).copied().unwrap_or(0);
    let sysctl = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/vm/{name}")).unwrap_or_default();
        text.trim().parse::<u64>().unwrap_or(0)
    };
    Overcommit {
        mode: sysctl("overcommit_memory"),
        ratio: sysctl("overcommit_ratio"),
        total: of("MemTotal") + of("SwapTotal"),
        limit: of("CommitLimit"),
        committed: of("Committed_AS"),
        admin_reserve: sysctl("admin_reserve_kbytes") * 1024,
        user_reserve: sysctl("user_reserve_kbytes") * 1024,
    }
}

fn pools() -> Vec<Pool> {
    let entries = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten();
    let mut pools: Vec<Pool> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let number = |name: &str| -> Option<u64> {
                fs::read_to_string(entry.path().join(name)).ok()?.trim().parse().ok()
            };
            Some(Pool {
                page: kib * 1024,
                total: number("nr_hugepages")?,
                free: number("free_hugepages")?,
                reserved: number("resv_hugepages").unwrap_or(0),
                surplus: number("surplus_hugepages").unwrap_or(0),
            })
        })
        .collect();
    pools.sort_by_key(|pool| pool.page);
    pools
}

fn nodes() -> Vec<Node> {
    let entries = fs::read_dir("/sys/devices/system/node").into_iter().flatten();
    let mut nodes: Vec<Node> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let node = entry.file_name().to_str()?.strip_prefix("node")?.parse().ok()?;
            let memory = meminfo(&fs::read_to_string(entry.path().join("meminfo")).ok()?);
            let numastat = fs::read_to_string(entry.path().join("numastat")).unwrap_or_default();
            Some(Node { node, memory, numastat: vmstat(&numastat) })
        })
        .collect();
    nodes.sort_by_key(|node| node.node);
    nodes
}
