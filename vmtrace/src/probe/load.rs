//! The eBPF object, loaded as a session wants it.

use std::fs;

use anyhow::Context as _;
use aya::{Ebpf, EbpfLoader};
use vmtrace_common::config::{ABSENT, Config, Offsets};

use super::memory::{Array, Counts, Memory};
use super::rings::Layout;
use super::session::Options;
use super::target::{Room, Target};
use super::{blanks, btf, preflight, victim};

/// The eBPF programs, built from `vmtrace-ebpf` and committed beside it.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../vmtrace-ebpf/vmtrace.bpf.o");

fn kernel_offsets() -> anyhow::Result<Offsets> {
    let data = fs::read(btf::VMLINUX).with_context(|| format!("reading {}", btf::VMLINUX))?;
    let btf = btf::Btf::parse(&data).with_context(|| format!("reading {}", btf::VMLINUX))?;
    Ok(btf.offsets())
}

fn configure(
    options: &Options,
    own: u32,
    layout: Layout,
    memory: &Memory,
    mut at: Offsets,
) -> Config {
    let room = Room::of(&options.target);
    let tally = options.tally.is_some();
    if tally {
        // Nobody asks a tally which code it was.
        at.regs_ip = ABSENT;
    }
    let version = preflight::version(&preflight::release());
    let task_btf = version >= (5, 11);
    Config {
        everything: u32::from(options.target == Target::All),
        follow: u32::from(options.follow),
        own,
        thread_mask: room.own - 1,
        crowd_mask: room.crowd - 1,
        ring_mask: layout.main - 1,
        ring_room: if tally { 0 } else { layout.main },
        ring_bell: layout.main / 2,
        side_mask: layout.side - 1,
        side_room: if tally { 0 } else { layout.side },
        side_bell: layout.side / 2,
        spill_mask: options.tables.main - 1,
        spill_side_mask: options.tables.side - 1,
        spill_stride: options.tables.stride(),
        tlb_events: u32::from(options.tlb_events),
        cpus: layout.cpus,
        tally: u32::from(tally),
        task_btf: u32::from(task_btf),
        min_latency: options.min_latency,
        only_major: u32::from(options.only_major),
        filtered: u32::from(options.only_major || options.min_latency != 0),
        selective: u32::from(tally || options.only_major || options.min_latency != 0),
        user_regs: u32::from(version >= (5, 15) && at.regs_ip != ABSENT),
        current_mm: if task_btf && at.mm_change != ABSENT { at.task_mm } else { ABSENT },
        threads: memory.threads.shared(),
        rings: memory.rings.shared(),
        cursors: memory.cursors.shared(),
        spills: memory.spills.shared(),
        victim: victim::fields(),
        at,
    }
}

/// The object, loaded and not attached.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    pub(super) memory: Memory,
    pub(super) layout: Layout,
    pub(super) online: Vec<u32>,
}

/// Loads the object as `options` want it; `own` is what never is traced.
pub(super) fn load(options: &Options, own: u32) -> anyhow::Result<Loaded> {
    let online =
        aya::util::online_cpus().map_err(|(_, error)| error).context("listing the CPUs")?;
    let cpus = online.iter().max().map_or(1, |last| last + 1);
    let layout = Layout::new(cpus, options.ring_size);
    let mut memory = Memory::new(&Counts {
        threads: Room::of(&options.target).slots(),
        rings: layout.slots(),
        cursors: layout.rings(),
        spills: options.tables.stride() * cpus,
    });
    let config = configure(options, own, layout, &memory, kernel_offsets()?);
    let mut ebpf = object(options, &memory, &config)?;
    memory.take(&mut ebpf)?;
    Ok(Loaded { ebpf, memory, layout, online })
}

fn object(options: &Options, memory: &Memory, config: &Config) -> anyhow::Result<Ebpf> {
    let room = Room::of(&options.target);
    let level: u8 = if options.verbose { 4 } else { 0 };
    let mut loader = EbpfLoader::new();
    loader
        .override_global(aya_log::LEVEL, &level, false)
        .map_max_entries("CLAIMS", room.slots())
        .map_max_entries("CROWD", room.crowd)
        .map_max_entries("RARE", room.rare);
    for (name, values) in memory.arrays().map(Array::values) {
        loader.map_max_entries(name, values);
    }
    loader.load(&blanks::fill(OBJECT, config)?).context("loading the eBPF object")
}
