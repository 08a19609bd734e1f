//! The command line of a live trace: from what was typed to a checked
//! [`Request`].

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::IsTerminal as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use super::show::Meanwhile;
use super::view::{self, Format, View};
use crate::probe::backend::Backend;
use crate::term::units::{parse_bytes, parse_duration};

/// The options of a live trace, as typed.
#[derive(Clone, Debug, Args)]
#[group(id = "trace")]
#[command(next_help_heading = "What to trace")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that is typed")]
pub struct Arguments {
    /// Trace running processes, all their threads and new children
    #[arg(short, long, value_name = "PID,…", value_delimiter = ',')]
    pid: Vec<u32>,
    /// Trace everything
    #[arg(short, long)]
    all: bool,
    /// Trace everything in a cgroup and below it
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,
    /// Start a command, trace it from its first instruction, exit with its status
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// Do not trace the children of the processes
    #[arg(long)]
    no_follow: bool,
    /// Stop after this long: 10s, 5m
    #[arg(short, long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,

    #[command(flatten)]
    view: view::Arguments,
    /// Print one line for each fault as it comes, and no report
    #[arg(long, help_heading = "What to show")]
    events: bool,
    /// Show rates this often; on a terminal each second unless said otherwise
    #[arg(short, long, value_name = "TIME", value_parser = parse_duration, help_heading = "What to show")]
    interval: Option<Duration>,

    /// Record everything that is seen, for `vmtrace report`
    #[arg(short, long, value_name = "FILE.vmt", help_heading = "Recording")]
    output: Option<PathBuf>,
    /// Let the recording replace a file that exists
    #[arg(long, requires = "output", help_heading = "Recording")]
    force: bool,
    /// Keep only the newest part of the recording, of about this size: 500M
    #[arg(long, value_name = "SIZE", requires = "output", value_parser = parse_bytes, help_heading = "Recording")]
    max_size: Option<u64>,

    /// How to attach: auto takes the best that works
    #[arg(long, value_name = "BACKEND", default_value = "auto", value_parser = ["auto", "fentry", "kprobe", "tracepoint"], help_heading = "Tracing")]
    backend: String,
    /// Room for faults not yet read, for each CPU
    #[arg(long, value_name = "SIZE", default_value = "4M", value_parser = parse_bytes, help_heading = "Tracing")]
    ring_size: u64,
    /// Count in the kernel and send no single faults: cheapest
    #[arg(long, help_heading = "Tracing")]
    tally: bool,
    /// Say what the kernel side does
    #[arg(short, long, help_heading = "Tracing")]
    verbose: bool,
}

/// Whom to trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Processes, by the ids this shell sees.
    Pids(Vec<u32>),
    /// A command to start.
    Command(Vec<OsString>),
    /// Everything.
    All,
    /// A cgroup and what is below it.
    Cgroup(PathBuf),
}

/// A live trace, checked: nothing in it contradicts anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct Request {
    /// Whom to trace.
    pub target: Target,
    /// Stop after this long.
    pub duration: Option<Duration>,
    /// How often to show rates, where that was said.
    pub interval: Option<Duration>,
    /// How to look at what comes.
    pub view: View,
    /// Where to record.
    pub output: Option<PathBuf>,
    /// Replace what is there.
    pub force: bool,
    /// Bytes of recording to keep.
    pub max_size: Option<u64>,
    /// One way to attach, or the best.
    pub backend: Option<Backend>,
    /// Bytes of ring for each CPU.
    pub ring_size: u64,
    /// Children are traced.
    pub follow: bool,
    /// Count in the kernel.
    pub tally: bool,
    /// The kernel side's log is wanted.
    pub verbose: bool,
}

/// The shortest interval: shorter ones show noise and cost more than the trace.
const SHORTEST: Duration = Duration::from_millis(50);
/// A recording smaller than this cannot hold what makes sense of its faults.
const SMALLEST: u64 = 1 << 20;
const RING: std::ops::RangeInclusive<u64> = 4 << 10..=1 << 30;

impl Arguments {
    /// Checks them.
    pub fn request(self) -> anyhow::Result<Request> {
        let view = self.view.view(self.events)?;
        self.check_times()?;
        self.check_tally(&view)?;
        if !RING.contains(&self.ring_size) {
            bail!("--ring-size has to lie between 4K and 1G");
        }
        if self.max_size.is_some_and(|size| size < SMALLEST) {
            bail!("--max-size has to be at least 1M");
        }
        let target = self.target()?;
        if self.no_follow && matches!(target, Target::All | Target::Cgroup(_)) {
            bail!(
                "--no-follow is for -p and for a command: the children of a cgroup's processes, or of all, belong to it"
            );
        }
        Ok(Request {
            target,
            duration: self.duration,
            interval: self.interval,
            view,
            output: self.output,
            force: self.force,
            max_size: self.max_size,
            backend: Backend::ALL.into_iter().find(|backend| backend.name() == self.backend),
            ring_size: self.ring_size,
            follow: !self.no_follow,
            tally: self.tally,
            verbose: self.verbose,
        })
    }

    fn target(&self) -> anyhow::Result<Target> {
        let given =
            [!self.pid.is_empty(), self.all, self.cgroup.is_some(), !self.command.is_empty()];
        match given.iter().filter(|given| **given).count() {
            0 => bail!("say what to trace: -p PID, -a, --cgroup PATH, or -- COMMAND"),
            1 => {}
            _ => bail!("-p, -a, --cgroup and -- COMMAND exclude each other: give one"),
        }
        if self.pid.contains(&0) {
            bail!("0 is no process: `ps -e` lists those there are");
        }
        if let Some(path) = &self.cgroup {
            return Ok(Target::Cgroup(path.clone()));
        }
        if !self.command.is_empty() {
            return Ok(Target::Command(self.command.clone()));
        }
        if self.all {
            return Ok(Target::All);
        }
        let mut pids = Vec::new();
        for &pid in &self.pid {
            if !pids.contains(&pid) {
                pids.push(pid);
            }
        }
        Ok(Target::Pids(pids))
    }

    fn check_times(&self) -> anyhow::Result<()> {
        if self.duration.is_some_and(|duration| duration.is_zero()) {
            bail!("--duration 0 traces nothing: give a time such as 10s");
        }
        let Some(interval) = self.interval else { return Ok(()) };
        if interval < SHORTEST {
            bail!("--interval has to be at least 50ms");
        }
        if self.events {
            bail!("--events prints faults as they come: drop --interval");
        }
        if self.view.format == Format::Json {
            bail!("--format json is one object, at the end: drop --interval, or use --events");
        }
        if self.duration.is_some_and(|duration| interval > duration) {
            bail!("--interval is longer than --duration: nothing would be shown meanwhile");
        }
        Ok(())
    }

    /// What a tally made in the kernel cannot answer.
    fn check_tally(&self, view: &View) -> anyhow::Result<()> {
        if !self.tally {
            return Ok(());
        }
        if self.events {
            bail!("--tally sends no single faults, and --events lists them: drop one of them");
        }
        if self.output.is_some() {
            bail!("--tally sends no single faults, and --output records them: drop one of them");
        }
        if view.by.is_own() {
            bail!("--tally counts by process, region and kind only: drop it, or --by {}", view.by);
        }
        Ok(())
    }
}

impl Request {
    /// What is written while the trace runs, and how often.
    pub fn meanwhile(&self) -> (Meanwhile, Duration) {
        let every = self.interval.unwrap_or(Duration::from_secs(1));
        let text = self.view.format == Format::Text && !self.view.events;
        let what = match self.interval {
            _ if !text => Meanwhile::Nothing,
            _ if std::io::stdout().is_terminal() => Meanwhile::Redraw,
            Some(_) => Meanwhile::Blocks,
            None => Meanwhile::Nothing,
        };
        (what, every)
    }

    /// Makes the recording's file, before anything is traced: a bad path fails
    /// at once. Nobody else can read it, and a link in its place is not followed.
    pub fn create_output(&self) -> anyhow::Result<Option<File>> {
        let Some(path) = &self.output else { return Ok(None) };
        create(path, self.force).map(Some)
    }
}

fn create(path: &Path, force: bool) -> anyhow::Result<File> {
    if let Ok(there) = fs::symlink_metadata(path) {
        if there.is_dir() {
            bail!("{} is a folder: name a file in it", path.display());
        }
        if !force {
            bail!("{} is there already: --force replaces it", path.display());
        }
        fs::remove_file(path).with_context(|| format!("replacing {}", path.display()))?;
    }
    let mut options = OpenOptions::new();
    // Exclusive creation does not follow a link.
    let options = options.write(true).read(true).create_new(true).mode(0o600);
    options.open(path).with_context(|| format!("creating {}", path.display()))
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
