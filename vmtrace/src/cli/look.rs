//! The commands that look without tracing: their arguments, and nothing else.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use crate::inspect::maps::view::{By, Sort, View};
use crate::inspect::maps::{self, json, look, since, text};
use crate::inspect::oom;
use crate::inspect::subject::Subject;
use crate::inspect::system;
use crate::inspect::system::rates::Rates;
use crate::inspect::system::verdict::judge;
use crate::inspect::walk;
use crate::inspect::walk::entry::{NoTables, Tables};
use crate::inspect::walk::kernel::KernelTables;
use crate::term::live;
use crate::term::units::{parse_bytes, parse_duration};

/// What a look is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One line of JSON per look.
    Json,
}

/// What every look takes.
#[derive(Clone, Copy, Debug, Args)]
pub struct Output {
    /// What it is written as
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Look again every so often: in place on a terminal, block after block in a pipe
    #[arg(short, long, value_name = "SECONDS", value_parser = parse_duration)]
    pub interval: Option<Duration>,
}

/// `vmtrace maps`.
#[derive(Debug, Args)]
pub struct Maps {
    /// The process
    pid: i32,
    /// What a row stands for
    #[arg(long, value_enum, default_value_t)]
    by: By,
    /// The order of the rows
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,
    /// Only regions whose name, path, part or permissions match, or which hold this 0x address
    #[arg(long, value_name = "TEXT|0xADDRESS")]
    filter: Option<String>,
    /// Only the first N rows
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Show every column
    #[arg(long)]
    all: bool,
    /// Sizes in KiB, not rounded
    #[arg(long)]
    exact: bool,
    /// What changed since an earlier look: a time to wait, or a file that --format json wrote
    #[arg(long, value_name = "TIME|FILE", conflicts_with_all = ["interval", "by", "sort", "filter"])]
    since: Option<String>,
    #[command(flatten)]
    output: Output,
}

impl Maps {
    /// Looks, and writes what it sees.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let subject = Subject::open(self.pid)?;
        let view = View {
            by: self.by,
            sort: self.sort,
            filter: self.filter.clone(),
            all: self.all,
            exact: self.exact,
            top: self.top,
        };
        if let Some(since) = &self.since {
            return self.changes(&subject, since);
        }
        live::repeat(self.output.interval, |out, screen| {
            let json = self.output.format == Format::Json;
            let cells = if json { maps::pages::CELLS } else { text::cells(screen.width) };
            let space = look::look(&subject, look::Wanted { cells, nodes: self.all || json });
            match self.output.format {
                Format::Text => text::write(out, screen, &space, &view)?,
                Format::Json => json::write(out, &space, &view)?,
            }
            Ok(subject.is_alive())
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn changes(&self, subject: &Subject, since: &str) -> anyhow::Result<ExitCode> {
        let wanted = look::Wanted { cells: 0, nodes: false };
        let before = if let Ok(wait) = parse_duration(since) {
            let before = since::remember(&look::look(subject, wanted));
            std::thread::sleep(wait);
            before
        } else {
            let path = PathBuf::from(since);
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("--since takes a time or a file; reading {since:?}"))?;
            since::recall(&json::read(&text).with_context(|| format!("reading {since:?}"))?)
        };
        let space = look::look(subject, wanted);
        let changes = since::compare(&before, &since::remember(&space));
        live::repeat(None, |out, screen| {
            match self.output.format {
                Format::Text => {
                    since::write_text(out, screen, &changes, self.top)?;
                    space.unseen.write(out, screen)?;
                }
                Format::Json => since::write_json(out, space.pid, &changes, &space.unseen)?,
            }
            out.flush()?;
            Ok(false)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// `vmtrace walk`.
#[derive(Debug, Args)]
pub struct Walk {
    /// The process
    pid: i32,
    /// An address (0x…), or a region's name with an offset: '[heap]', 'libc.so.6 r-xp+0x1000'
    #[arg(value_name = "ADDRESS|REGION")]
    place: String,
    #[command(flatten)]
    output: Output,
}

impl Walk {
    /// Looks, and writes what it sees.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let subject = Subject::open(self.pid)?;
        let address = walk::look::parse(&subject, &self.place)?;
        let tables: Box<dyn Tables> = match KernelTables::open() {
            Ok(tables) => Box::new(tables),
            Err(why) => Box::new(NoTables(format!("{why}: the page map is used"))),
        };
        live::repeat(self.output.interval, |out, screen| {
            let seen = walk::look::look(&subject, &*tables, address);
            match self.output.format {
                Format::Text => walk::text::write(out, screen, &seen)?,
                Format::Json => walk::json::write(out, &seen)?,
            }
            Ok(subject.is_alive())
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// `vmtrace oom`.
#[derive(Debug, Args)]
pub struct Oom {
    /// Where this process stands, instead of who goes first
    pid: Option<i32>,
    /// So many processes of each ranking
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    #[command(flatten)]
    output: Output,
}

impl Oom {
    /// Looks, and writes what it sees.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        live::repeat(self.output.interval, |out, screen| {
            let standing = oom::look::look()?;
            let one = |pid| standing.all.iter().find(|one| one.pid == pid);
            match (self.output.format, self.pid) {
                (Format::Json, pid) => oom::json::write(out, &standing, pid)?,
                (Format::Text, None) => oom::text::write(out, screen, &standing, self.top)?,
                (Format::Text, Some(pid)) => {
                    let one = one(pid).with_context(|| format!("there is no process {pid}"))?;
                    oom::text::write_one(out, screen, &standing, one)?;
                }
            }
            Ok(true)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// `vmtrace system`.
#[derive(Clone, Copy, Debug, Args)]
pub struct System {
    /// Measure rates over this long
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "1s")]
    over: Duration,
    /// Say what an allocation of this size would be told: 64G
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    malloc: Option<u64>,
    #[command(flatten)]
    output: Output,
}

impl System {
    /// Looks, and writes what it sees.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut before = system::look::glance().context("reading /proc/vmstat")?;
        std::thread::sleep(self.over);
        live::repeat(self.output.interval, |out, screen| {
            let memory = system::look::look();
            let apart = memory.at.saturating_duration_since(before.0);
            let rates = Rates::between(&before.1, &memory.vmstat, apart);
            let verdict = judge(&rates, memory.pressure.as_ref());
            match self.output.format {
                Format::Text => {
                    system::text::write(out, screen, &memory, &rates, &verdict, self.malloc)?;
                }
                Format::Json => system::json::write(out, &memory, &rates, &verdict, self.malloc)?,
            }
            before = (memory.at, memory.vmstat);
            Ok(true)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
