//! One live trace: load, attach, read, stop.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray, RingBuf};
use vmtrace_common::counters::Counters;
use vmtrace_common::record::{Header, Totals, tag};
use vmtrace_common::thread::{Thread, state};

use super::backend::{Attacher, Attempt, Backend, Link};
use super::cgroups::Cgroups;
use super::load::{Loaded, load};
use super::mapping::{Change, Mappings};
use super::memory::Memory;
use super::namespace::Namespace;
use super::places::Places;
use super::rings::{Layout, Rings};
use super::spills::{Spills, Tables};
use super::target::{Room, Table, Target, encoded};
use super::{head, preflight, programs};
use crate::decode::{self, Rare, encode, header};
use crate::preface::Preface;
use crate::stream::Sink;
use crate::sys::pod::Wire;
use crate::sys::{clock, grace, missed};

/// What a reader of a report has to know who is in a container.
const NESTED: &str =
    "in a PID namespace: what is asked for goes by the ids seen here, a report by the kernel's own";

/// How often a session that ends looks whether a fault ended meanwhile.
const LAST_LOOKS: usize = 8;

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
    /// Nothing came by the last look.
    quiet: bool,
    /// How often the spill tables are read whatever is full, and when they were.
    tally: Option<Duration>,
    tallied: u64,
    _memory: Memory,
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
        let Loaded { ebpf, memory, layout, online } = load(options, own)?;
        let kernel = aya::Btf::from_sys_fs().ok();
        // Before any program runs: the programs find their rings through what this
        // writes.
        let mut session = Self::around(ebpf, memory, layout, options, Arc::clone(&namespace))?;
        let mut attacher = Attacher::new(&mut session.ebpf, kernel.as_ref(), &online);
        let (backend, mut others) = choose(&mut attacher, options.backend)?;
        others.extend(attacher.attach_all(programs::BESIDE)?);
        others.extend(attacher.attach_all(programs::LIFECYCLE)?);
        session.attempts = std::mem::take(&mut attacher.attempts);
        session.others = others;
        session.preface = head::preface(backend, &session.attempts, options, layout.cpus);
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
        memory: Memory,
        layout: Layout,
        options: &Options,
        namespace: Arc<Namespace>,
    ) -> anyhow::Result<Self> {
        let mut map = |name: &str| ebpf.take_map(name).with_context(|| format!("map {name}"));
        Ok(Self {
            preface: Preface::default(),
            attempts: Vec::new(),
            starts: Vec::new(),
            others: Vec::new(),
            rings: Rings::map(layout, memory.rings.fd()?, memory.cursors.fd()?)?,
            spills: Spills::map(layout, options.tables, memory.spills.fd()?)?,
            rare: map("RARE")?.try_into()?,
            flushes: map("FLUSHES")?.try_into()?,
            counters: map("COUNTERS")?.try_into()?,
            table: Table::take(
                &mut ebpf,
                memory.threads.fd()?,
                Room::of(&options.target),
                namespace,
            )?,
            mappings: None,
            places: Places::read(),
            cgroups: Cgroups::new(),
            waiting: Vec::new(),
            full: 0,
            quiet: false,
            tally: options.tally,
            tallied: 0,
            _memory: memory,
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

    /// Whether the last look found nothing: the next need not be so soon.
    pub const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Hands on everything that has come since the last call, in the order the
    /// sink is promised.
    pub fn drain(&mut self, sink: &mut dyn Sink) {
        // What is from before now is there to be seen. What comes meanwhile, of
        // either kind, waits: it would overtake what was not looked at.
        let now = clock::monotonic_ns();
        self.rings.look();
        self.read_rare();
        // A storm of mappings would fill their rings in a longer while.
        self.quiet = self.mappings.is_none() && self.waiting.is_empty() && !self.rings.have_more();
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
        self.faults_until(now + 1, sink);
        self.rings.release();
        self.cgroups.tell(false, |record| sink.rare(record));
        let full = self.rings.full();
        let due = self
            .tally
            .is_some_and(|every| u128::from(now.saturating_sub(self.tallied)) >= every.as_nanos());
        if due {
            self.tallied = now;
        }
        if due || self.tally.is_none() && full != self.full {
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
        grace::period();
        self.drain(sink);
        let mut threads = self.table.threads();
        // Who sleeps in the handler meanwhile comes back by the way it went, past
        // our programs. Its fault is in both, its ring and its account, or in neither.
        for _ in 0..LAST_LOOKS {
            self.rings.look();
            if !self.rings.have_more() {
                break;
            }
            self.drain(sink);
            threads = self.table.threads();
        }
        self.collect_spills(sink);
        self.cgroups.tell(true, |record| sink.rare(record));
        let now = clock::monotonic_ns();
        for (tid, thread) in threads {
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

/// A thread's account at the session's end. A fault that is open then has an end
/// that nobody will see; the kernel has not counted it either.
fn totals(tid: u32, thread: &Thread, time: u64) -> Totals {
    let (tag, len) = (tag::TOTALS, len_of::<Totals>());
    let totals = thread.totals(Header { tag, cpu: 0, len, time, pid: thread.pid, tid });
    let open = matches!(thread.state, state::OPEN | state::FAILED);
    Totals { stale: totals.stale + u64::from(open), ..totals }
}

fn len_of<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(u32::MAX)
}
