//! One live trace: load, attach, read, stop.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use aya::{Ebpf, EbpfLoader};
use vmtrace_common::config::{Config, Offsets};
use vmtrace_common::counters::Counters;
use vmtrace_common::record::{Header, Totals, tag};
use vmtrace_common::thread::Thread;

use super::backend::{Attacher, Attempt, Backend, Link};
use super::cgroups::Cgroups;
use super::mapping::{Change, Mappings};
use super::namespace::Namespace;
use super::places::Places;
use super::rings::{Layout, Rings};
use super::spills::{Spills, Tables};
use super::target::{Room, Table, Target, encoded};
use super::{btf, preflight, programs, victim};
use crate::decode::{self, Rare, encode, header};
use crate::preface::Preface;
use crate::stream::Sink;
use crate::sys::pod::Wire;
use crate::sys::{clock, missed};

/// The eBPF programs, built from `vmtrace-ebpf` and committed beside it.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../vmtrace-ebpf/vmtrace.bpf.o");

/// What a reader of a report has to know who is in a container.
const NESTED: &str =
    "in a PID namespace: what is asked for goes by the ids seen here, a report by the kernel's own";

/// What a session is asked for.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct Options {
    /// Whom to trace.
    pub target: Target,
    /// What to call that in a report, where the target's own words do not do.
    pub named: Option<String>,
    /// One way to watch, or the best that works.
    pub backend: Option<Backend>,
    /// Bytes of fault ring to a CPU.
    pub ring_size: u64,
    /// Children of traced processes are traced.
    pub follow: bool,
    /// Faults shorter than this many nanoseconds are left out in the kernel.
    pub min_latency: u64,
    /// Only major faults are sent.
    pub only_major: bool,
    /// Each TLB flush is sent, not only counted.
    pub tlb_events: bool,
    /// The kernel side's diagnostics are wanted.
    pub verbose: bool,
    /// The spill tables' size.
    pub tables: Tables,
    /// Faults are counted in the kernel and not sent; the counts are read this often.
    pub tally: Option<Duration>,
}

impl Options {
    /// The usual way to trace `target`.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            named: None,
            backend: None,
            ring_size: 4 << 20,
            follow: true,
            min_latency: 0,
            only_major: false,
            tlb_events: false,
            verbose: false,
            tables: Tables::wanted(),
            tally: None,
        }
    }
}

/// A running trace.
pub struct Session {
    preface: Preface,
    attempts: Vec<Attempt>,
    /// Dropped first, so that no fault begins whose end is not seen.
    starts: Vec<Link>,
    others: Vec<Link>,
    rings: Rings,
    spills: Spills,
    table: Table,
    rare: RingBuf<MapData>,
    flushes: RingBuf<MapData>,
    counters: PerCpuArray<MapData, Wire<Counters>>,
    /// Where the kernel side does not see regions: who tells of them instead.
    mappings: Option<Mappings>,
    places: Places,
    cgroups: Cgroups,
    /// What was read and not handed on, in the order of its times.
    waiting: Vec<(u64, Change)>,
    full: u64,
    /// How often the spill tables are read whatever is full, and when they were.
    tally: Option<Duration>,
    tallied: u64,
    /// Programs that are loaded later refer to these by descriptor.
    _memory: [MapData; 3],
    ebpf: Ebpf,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("preface", &self.preface).finish_non_exhaustive()
    }
}

impl Session {
    /// Loads and attaches; from its return on every fault is seen.
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        if let Some(obstacle) = preflight::Circumstances::here().obstacle() {
            return Err(obstacle.into());
        }
        options.target.check()?;
        let namespace = Namespace::here().map_err(anyhow::Error::msg);
        let namespace = Arc::new(namespace.context("telling ids of this PID namespace")?);
        let own = namespace.own().context("finding our own id")?;
        let Loaded { mut ebpf, layout, online } = load_for(options, own)?;
        let kernel = aya::Btf::from_sys_fs().ok();
        let mut attacher = Attacher::new(&mut ebpf, kernel.as_ref(), &online);
        let (backend, mut others) = choose(&mut attacher, options.backend)?;
        others.extend(attacher.attach_all(programs::BESIDE)?);
        others.extend(attacher.attach_all(programs::LIFECYCLE)?);
        let attempts = std::mem::take(&mut attacher.attempts);
        let mut session = Self::around(ebpf, layout, options, Arc::clone(&namespace))?;
        session.attempts = attempts;
        session.others = others;
        session.preface = preface(backend, &session.attempts, options, layout.cpus);
        if namespace.is_nested() {
            session.preface.degradations.push(NESTED.to_owned());
        }
        if backend == Backend::Tracepoint {
            session.mappings =
                Some(Mappings::watch(&online, namespace).context("watching mappings")?);
        }
        for task in session.table.adopt(&options.target)? {
            session.waiting.push((0, Change::Record(encoded(task))));
        }
        let mut attacher = Attacher::new(&mut session.ebpf, kernel.as_ref(), &online);
        session.starts = attacher.attach_all(programs::STARTS)?;
        session.attempts.extend(std::mem::take(&mut attacher.attempts));
        Ok(session)
    }

    fn around(
        mut ebpf: Ebpf,
        layout: Layout,
        options: &Options,
        namespace: Arc<Namespace>,
    ) -> anyhow::Result<Self> {
        let mut map = |name: &str| ebpf.take_map(name).with_context(|| format!("map {name}"));
        let data = |map: Map| {
            let Map::Array(data) = map else { bail!("an array was expected, not {map:?}") };
            Ok(data)
        };
        let (slots, cursors, spills) =
            (data(map("RINGS")?)?, data(map("CURSORS")?)?, data(map("SPILLS")?)?);
        Ok(Self {
            preface: Preface::default(),
            attempts: Vec::new(),
            starts: Vec::new(),
            others: Vec::new(),
            rings: Rings::map(layout, slots.fd().as_fd(), cursors.fd().as_fd())?,
            spills: Spills::map(layout, options.tables, spills.fd().as_fd())?,
            rare: map("RARE")?.try_into()?,
            flushes: map("FLUSHES")?.try_into()?,
            counters: map("COUNTERS")?.try_into()?,
            table: Table::take(&mut ebpf, Room::of(&options.target), namespace)?,
            mappings: None,
            places: Places::read(),
            cgroups: Cgroups::new(),
            waiting: Vec::new(),
            full: 0,
            tally: options.tally,
            tallied: 0,
            _memory: [slots, cursors, spills],
            ebpf,
        })
    }

    /// The circumstances.
    pub fn preface(&self) -> &Preface {
        &self.preface
    }

    /// What became of each program.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// The loaded object, for the kernel side's log.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Readable when the reader had better look before its next tick.
    pub fn bell(&self) -> io::Result<OwnedFd> {
        self.rare.as_fd().try_clone_to_owned()
    }

    /// Hands on everything that has come since the last call, in the order the
    /// sink is promised.
    pub fn drain(&mut self, sink: &mut dyn Sink) {
        self.rings.look();
        // Every fault just seen ended before now; a rare record from later on
        // waits, or it would overtake a fault that is being written.
        let now = clock::monotonic_ns();
        self.read_rare();
        let due = self.waiting.partition_point(|(time, _)| *time <= now);
        let due: Vec<_> = self.waiting.drain(..due).collect();
        for (time, change) in due {
            self.faults_until(time, sink);
            if let Change::Record(record) = &change {
                self.cgroups.meet(record);
            }
            match (change, &mut self.mappings) {
                (Change::Record(record), Some(mappings)) => {
                    mappings.pass(&record, |record| sink.rare(record));
                }
                (Change::Record(record), None) => sink.rare(&record),
                (Change::NewImage(pid), Some(mappings)) => mappings.new_image(pid),
                (Change::NewImage(_), None) => {}
            }
        }
        self.faults_until(u64::MAX, sink);
        self.rings.release();
        self.cgroups.tell(false, |record| sink.rare(record));
        let full = self.rings.full();
        let due = self
            .tally
            .is_some_and(|every| u128::from(now.saturating_sub(self.tallied)) >= every.as_nanos());
        if due {
            self.tallied = now;
        }
        if full != self.full || due {
            self.full = full;
            self.collect_spills(sink);
        }
    }

    fn faults_until(&mut self, time: u64, sink: &mut dyn Sink) {
        let mappings = &mut self.mappings;
        self.rings.until(time, |faults| {
            if let Some(mappings) = mappings {
                mappings.describe(faults, |record| sink.rare(record));
            }
            sink.faults(faults);
        });
    }

    fn collect_spills(&mut self, sink: &mut dyn Sink) {
        self.spills.collect(|spill| sink.rare(&encode(&Rare::Spill(Box::new(*spill)))));
    }

    fn read_rare(&mut self) {
        let before = self.waiting.len();
        for ring in [&mut self.rare, &mut self.flushes] {
            while let Some(item) = ring.next() {
                // What has no header goes first: the sink counts it.
                let (tag, time) = header(&item).map_or((0, 0), |header| (header.tag, header.time));
                if tag == tag::DOORBELL {
                    continue;
                }
                let record = if tag == tag::REGION {
                    whole_region(&mut self.places, &item)
                } else {
                    item.to_vec()
                };
                self.waiting.push((time, Change::Record(record)));
            }
        }
        if let Some(mappings) = &mut self.mappings {
            mappings.read(|time, change| self.waiting.push((time, change)));
        }
        if self.waiting.len() != before {
            self.waiting.sort_by_key(|(time, _)| *time);
        }
    }

    /// Detaches, hands on what is left, and closes every account.
    pub fn stop(&mut self, sink: &mut dyn Sink) {
        self.starts.clear();
        self.others.clear();
        self.drain(sink);
        // Once more: what the programs sent while the first was at it.
        self.drain(sink);
        self.collect_spills(sink);
        self.cgroups.tell(true, |record| sink.rare(record));
        let now = clock::monotonic_ns();
        for (tid, thread) in self.table.threads() {
            sink.rare(&encode(&Rare::Totals(totals(tid, &thread, now))));
        }
        sink.rare(&encode(&Rare::Counters(self.counters(now))));
    }

    fn counters(&self, now: u64) -> Counters {
        let mut sum = Counters {
            header: Header {
                tag: tag::COUNTERS,
                len: len_of::<Counters>(),
                time: now,
                ..Header::default()
            },
            ..Counters::default()
        };
        if let Ok(values) = self.counters.get(&0, 0) {
            for Wire(cpu) in values.iter() {
                sum.untracked += cpu.untracked;
                sum.unsent += cpu.unsent;
                sum.unsent_tlb += cpu.unsent_tlb;
                sum.atomic += cpu.atomic;
            }
        }
        sum.missed = self.missed();
        sum
    }

    /// Times a program of ours was skipped because it was running already.
    fn missed(&self) -> u64 {
        let loaded = self.ebpf.programs().filter_map(|(_, program)| program.fd().ok());
        loaded.map(|program| missed::recursion(program.as_fd())).sum()
    }
}

/// A region's record with its path put together: the kernel side sends it in
/// pieces, relative to a mount.
fn whole_region(places: &mut Places, record: &[u8]) -> Vec<u8> {
    match decode::rare(record) {
        Ok(Rare::Region(mut region)) => {
            places.complete(&mut region);
            encode(&Rare::Region(region))
        }
        _ => record.to_vec(),
    }
}

fn kernel_offsets() -> anyhow::Result<Offsets> {
    let data = fs::read(btf::VMLINUX).with_context(|| format!("reading {}", btf::VMLINUX))?;
    let btf = btf::Btf::parse(&data).with_context(|| format!("reading {}", btf::VMLINUX))?;
    Ok(btf.offsets())
}

fn configure(options: &Options, own: u32, layout: Layout, at: Offsets) -> Config {
    let room = Room::of(&options.target);
    Config {
        everything: u32::from(options.target == Target::All),
        follow: u32::from(options.follow),
        own,
        thread_mask: room.own - 1,
        crowd_mask: room.crowd - 1,
        ring_mask: layout.main - 1,
        side_mask: layout.side - 1,
        ring_stride: layout.stride(),
        spill_mask: options.tables.main - 1,
        spill_side_mask: options.tables.side - 1,
        spill_stride: options.tables.stride(),
        tlb_events: u32::from(options.tlb_events),
        tally: u32::from(options.tally.is_some()),
        task_btf: u32::from(preflight::version(&preflight::release()) >= (5, 11)),
        min_latency: options.min_latency,
        only_major: u32::from(options.only_major),
        victim: victim::fields(),
        at,
    }
}

/// The object, loaded and not attached.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    pub(super) layout: Layout,
    pub(super) online: Vec<u32>,
}

/// Loads the object as `options` want it; `own` is what never is traced.
pub(super) fn load_for(options: &Options, own: u32) -> anyhow::Result<Loaded> {
    let online =
        aya::util::online_cpus().map_err(|(_, error)| error).context("listing the CPUs")?;
    let cpus = online.iter().max().map_or(1, |last| last + 1);
    let layout = Layout::new(cpus, options.ring_size);
    let config = configure(options, own, layout, kernel_offsets()?);
    Ok(Loaded { ebpf: load(options, layout, &config)?, layout, online })
}

fn load(options: &Options, layout: Layout, config: &Config) -> anyhow::Result<Ebpf> {
    let config = Wire(*config);
    let room = Room::of(&options.target);
    let level: u8 = if options.verbose { 4 } else { 0 };
    EbpfLoader::new()
        .override_global("CONFIG", &config, true)
        .override_global(aya_log::LEVEL, &level, false)
        .map_max_entries("THREADS", room.slots())
        .map_max_entries("CLAIMS", room.slots())
        .map_max_entries("CROWD", room.crowd)
        .map_max_entries("RARE", room.rare)
        .map_max_entries("RINGS", layout.slots())
        .map_max_entries("CURSORS", layout.rings())
        .map_max_entries("SPILLS", options.tables.stride() * layout.cpus)
        .load(OBJECT)
        .context("loading the eBPF object")
}

/// Attaches the backend that was asked for, or the best that attaches.
fn choose(
    attacher: &mut Attacher<'_>,
    wanted: Option<Backend>,
) -> anyhow::Result<(Backend, Vec<Link>)> {
    let candidates = wanted.map_or_else(|| Backend::ALL.to_vec(), |one| vec![one]);
    let mut reasons = Vec::new();
    for backend in candidates {
        match attacher.attach_backend(backend) {
            Ok(links) => return Ok((backend, links)),
            Err(error) => reasons.push(format!("{backend}: {error}")),
        }
    }
    bail!("no way to watch page faults works here; tried {}", reasons.join("; "))
}

fn preface(backend: Backend, attempts: &[Attempt], options: &Options, cpus: u32) -> Preface {
    let mut degradations: Vec<_> = attempts
        .iter()
        .filter(|attempt| {
            backend
                .programs()
                .iter()
                .chain(programs::BESIDE)
                .chain(programs::LIFECYCLE)
                .any(|p| p.name == attempt.program.name)
        })
        .filter_map(|attempt| {
            let why = attempt.outcome.as_ref().err()?;
            let place = attempt.program.places.first()?;
            Some(format!(
                "{}: no {} on {place} ({why})",
                attempt.program.without?,
                attempt.program.hook.name()
            ))
        })
        .collect();
    if options.tally.is_some() && backend == Backend::Tracepoint {
        degradations.push(
            "--tally tells regions apart by 2 MiB: the tracepoint backend does not see them"
                .to_owned(),
        );
    }
    Preface {
        backend: backend.name().to_owned(),
        degradations,
        kernel: preflight::release(),
        host: fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
        command_line: std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect(),
        target: options.named.clone().unwrap_or_else(|| options.target.describe()),
        started_wall_ns: clock::wall_ns(),
        started_ns: clock::monotonic_ns(),
        cpu_nodes: (0..cpus).map(node_of).collect(),
        hosts: Vec::new(),
    }
}

fn node_of(cpu: u32) -> u32 {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}");
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .find_map(|entry| entry.file_name().to_str()?.strip_prefix("node")?.parse().ok())
        .unwrap_or(0)
}

fn totals(tid: u32, thread: &Thread, time: u64) -> Totals {
    Totals {
        header: Header {
            tag: tag::TOTALS,
            cpu: 0,
            len: len_of::<Totals>(),
            time,
            pid: thread.pid,
            tid,
        },
        min_flt: thread.min_last - thread.min_base,
        maj_flt: thread.maj_last - thread.maj_base,
        seen: thread.seen,
        emitted: thread.emitted,
        spilled: thread.spilled,
        lost: thread.lost,
        filtered: thread.filtered,
        stale: thread.stale,
        flushes: thread.flushes,
        pages: thread.pages,
        full_flushes: thread.full_flushes,
    }
}

fn len_of<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(u32::MAX)
}
