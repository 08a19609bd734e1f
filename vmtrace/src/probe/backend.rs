//! Choosing how to watch, by loading and attaching, never by version number.

use std::any::Any;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;

use anyhow::{Context as _, anyhow, bail};
use aya::programs::{FEntry, FExit, KProbe, PerfEvent, ProgramError, RawTracePoint, TracePoint};
use aya::{Btf, Ebpf};

use super::programs::{self, Hook, Program};
use crate::sys::perf;

/// How the probes are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backend {
    /// Raw tracepoints, fentry and fexit.
    Fentry,
    /// Raw tracepoints, kprobes and kretprobes.
    Kprobe,
    /// Raw tracepoints and perf software events.
    Tracepoint,
}

impl Backend {
    /// All of them, the best first.
    pub const ALL: [Self; 3] = [Self::Fentry, Self::Kprobe, Self::Tracepoint];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
        }
    }

    /// Its own programs.
    pub fn programs(self) -> &'static [Program] {
        match self {
            Self::Fentry => programs::FENTRY,
            Self::Kprobe => programs::KPROBE,
            Self::Tracepoint => programs::TRACEPOINT,
        }
    }

    /// Lists of programs of which it needs one.
    fn beginnings(self) -> &'static [&'static [Program]] {
        match self {
            Self::Fentry => programs::FENTRY_BEGINNINGS,
            Self::Kprobe | Self::Tracepoint => &[],
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What became of one program.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Which.
    pub program: &'static Program,
    /// Where it attached, or why it did not.
    pub outcome: Result<String, String>,
}

/// Holds a program in its place; dropping it takes the program away.
pub type Link = Box<dyn Any + Send>;

/// Attaches programs and remembers what became of each.
#[derive(Debug)]
pub struct Attacher<'a> {
    ebpf: &'a mut Ebpf,
    btf: Option<&'a Btf>,
    cpus: &'a [u32],
    /// What was tried so far.
    pub attempts: Vec<Attempt>,
}

impl<'a> Attacher<'a> {
    /// Attaches programs of `ebpf`; `btf` is the kernel's.
    pub fn new(ebpf: &'a mut Ebpf, btf: Option<&'a Btf>, cpus: &'a [u32]) -> Self {
        Self { ebpf, btf, cpus, attempts: Vec::new() }
    }

    /// Attaches everything that is `backend`'s own.
    pub fn attach_backend(&mut self, backend: Backend) -> anyhow::Result<Vec<Link>> {
        let mut links = self.attach_all(backend.programs())?;
        let mut failure = None;
        for beginnings in backend.beginnings() {
            let tried = self.attempts.len();
            match self.attach_all(beginnings) {
                Ok(these) => {
                    links.extend(these);
                    return Ok(links);
                }
                Err(error) => {
                    // The next list does the same; only the last one's failure is one.
                    self.attempts.truncate(tried);
                    failure = Some(error);
                }
            }
        }
        failure.map_or(Ok(links), Err)
    }

    /// Attaches all of `programs`; fails where one that nothing works without
    /// cannot be attached, with what it answered.
    pub fn attach_all(&mut self, programs: &'static [Program]) -> anyhow::Result<Vec<Link>> {
        let mut links = Vec::new();
        for program in programs {
            let outcome = self.attach(program, &mut links);
            let failure = outcome.as_ref().err().cloned();
            self.attempts.push(Attempt { program, outcome });
            if let (Some(why), None) = (failure, program.without) {
                bail!("{} on {}: {why}", program.hook.name(), program.places.join(", "));
            }
        }
        Ok(links)
    }

    fn attach(&mut self, program: &Program, links: &mut Vec<Link>) -> Result<String, String> {
        let mut why = String::new();
        for place in program.places {
            match self.attach_at(program, place, links) {
                Ok(place) => return Ok(place),
                Err(error) => why = brief(&error),
            }
        }
        let Some(other) = program.stand_in() else { return Err(why) };
        let places = other.places.iter();
        let mut attached = places.filter_map(|place| self.attach_at(other, place, links).ok());
        attached.next().map(|place| format!("{place} by {}", other.hook.name())).ok_or(why)
    }

    fn attach_at(
        &mut self,
        program: &Program,
        place: &str,
        links: &mut Vec<Link>,
    ) -> anyhow::Result<String> {
        let btf = self.btf;
        let loaded = self
            .ebpf
            .program_mut(program.name)
            .ok_or_else(|| anyhow!("the object has no program {}", program.name))?;
        match program.hook {
            Hook::RawTracepoint => {
                let p: &mut RawTracePoint = loaded.try_into()?;
                ready(|| p.load())?;
                let id = p.attach(place)?;
                links.push(Box::new(p.take_link(id)?));
            }
            Hook::Tracepoint(category) => {
                let p: &mut TracePoint = loaded.try_into()?;
                ready(|| p.load())?;
                let id = p.attach(category, place)?;
                links.push(Box::new(p.take_link(id)?));
            }
            Hook::Fentry => {
                let p: &mut FEntry = loaded.try_into()?;
                let btf = btf.context("the kernel shows no BTF")?;
                ready(|| p.load(place, btf))?;
                let id = p.attach()?;
                links.push(Box::new(p.take_link(id)?));
            }
            Hook::Fexit => {
                let p: &mut FExit = loaded.try_into()?;
                let btf = btf.context("the kernel shows no BTF")?;
                ready(|| p.load(place, btf))?;
                let id = p.attach()?;
                links.push(Box::new(p.take_link(id)?));
            }
            Hook::Kprobe | Hook::Kretprobe => {
                let p: &mut KProbe = loaded.try_into()?;
                ready(|| p.load())?;
                return attach_kprobe(p, place, links);
            }
            Hook::MinorEvent => self.attach_event(program, perf::PAGE_FAULTS_MIN, links)?,
            Hook::MajorEvent => self.attach_event(program, perf::PAGE_FAULTS_MAJ, links)?,
        }
        Ok(place.to_owned())
    }

    /// Attaches to a software event on every CPU.
    fn attach_event(
        &mut self,
        program: &Program,
        event: u64,
        links: &mut Vec<Link>,
    ) -> anyhow::Result<()> {
        let loaded = self.ebpf.program_mut(program.name).context("no such program")?;
        let p: &mut PerfEvent = loaded.try_into()?;
        ready(|| p.load())?;
        for &cpu in self.cpus {
            links.push(Box::new(perf::run(p.fd()?.as_fd(), event, cpu)?));
        }
        Ok(())
    }
}

/// Loads a program. One that is loaded already is as good as one just loaded,
/// and the verifier gives up when a signal comes: then it is asked again.
fn ready(mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    const TRIES: u32 = 10;
    for _ in 1..TRIES {
        match load() {
            Err(ProgramError::AlreadyLoaded) => return Ok(()),
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
    load()
}

/// Attaches by name, or by the name that the compiler gave its only copy.
fn attach_kprobe(p: &mut KProbe, place: &str, links: &mut Vec<Link>) -> anyhow::Result<String> {
    let (id, name) = match p.attach(place, 0) {
        Ok(id) => (id, place.to_owned()),
        Err(error) => {
            let Some(name) = renamed(place) else { return Err(error.into()) };
            (p.attach(&name, 0)?, name)
        }
    };
    links.push(Box::new(p.take_link(id)?));
    Ok(name)
}

/// `do_wp_page.isra.0` for `do_wp_page`.
fn renamed(function: &str) -> Option<String> {
    let symbols = fs::read_to_string("/proc/kallsyms").ok()?;
    let mut names = symbols.lines().filter_map(|line| {
        let name = line.split_ascii_whitespace().nth(2)?;
        let suffix = name.strip_prefix(function)?;
        (suffix.starts_with(".isra") || suffix.starts_with(".constprop")).then_some(name)
    });
    let name = names.next()?.to_owned();
    names.next().is_none().then_some(name)
}

/// An error in one line: the verifier's log is for `-v`.
fn brief(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        let line = cause.lines().next().unwrap_or_default();
        let line = line.split(". Verifier output:").next().unwrap_or_default();
        if !text.contains(line) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(line);
        }
    }
    if std::env::var_os("VMTRACE_VERIFIER_LOG").is_some() {
        return format!("{error:?}");
    }
    text
}
