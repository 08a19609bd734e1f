//! How faults are looked at: filters, keys, form. The same for a live trace and
//! for a recording.

use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::fault::{Class, Kind, Kinds};
use crate::pipeline::Options;
use crate::preface::Preface;
use crate::report::summary::Limits;
use crate::report::{json, text};
use crate::tally::By;
use crate::term::units::parse_duration;

/// What a report is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON object; with --events one object a line
    Json,
}

/// The options of a view, as typed.
#[derive(Clone, Debug, Args)]
#[group(id = "view")]
#[command(next_help_heading = "What to show")]
pub struct Arguments {
    /// Only these classes: minor, major, cow, invalid
    #[arg(long, value_name = "CLASS,…", value_delimiter = ',', value_parser = parse_class)]
    class: Vec<Class>,
    /// Only these kinds, such as anon-zero or cow-copy (docs/kinds.md has all)
    #[arg(long, value_name = "KIND,…", value_delimiter = ',', value_parser = parse_kind)]
    kind: Vec<Kind>,
    /// Only faults that took at least this long: 100us, 2ms
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    min_latency: Option<std::time::Duration>,
    /// Count by process, thread, region, kind, file, node, cpu, cgroup, ip or host
    #[arg(long, value_name = "KEY", value_parser = parse_by)]
    by: Option<By>,
    /// Show this many processes, regions and rows
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// What it is written as
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: Format,
    /// Add to each of --events' JSON lines the evidence its kind was told from
    #[arg(long, hide = true)]
    evidence: bool,
}

fn parse_class(name: &str) -> Result<Class, String> {
    let names: Vec<_> = Class::ALL.into_iter().map(Class::name).collect();
    name.parse().map_err(|error| format!("{error}: there are {}", names.join(", ")))
}

fn parse_kind(name: &str) -> Result<Kind, String> {
    name.parse().map_err(|error| {
        let names: Vec<_> = Kind::ALL.into_iter().map(Kind::name).collect();
        format!("{error}: there are {}", names.join(", "))
    })
}

fn parse_by(name: &str) -> Result<By, String> {
    let names: Vec<_> = By::ALL.into_iter().map(By::name).collect();
    name.parse::<By>().map_err(|error| format!("{error}: there are {}", names.join(", ")))
}

/// The options of a view, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The kinds to keep.
    pub kinds: Kinds,
    /// Faults shorter than this many nanoseconds are left out.
    pub min_latency: u64,
    /// What else to count by.
    pub by: By,
    /// How many rows, where that was said.
    pub top: Option<usize>,
    /// What it is written as.
    pub format: Format,
    /// One line a fault, and no report.
    pub events: bool,
    /// With the evidence that each kind was told from.
    pub evidence: bool,
}

impl Arguments {
    /// Checks them.
    pub fn view(&self, events: bool) -> anyhow::Result<View> {
        if self.top == Some(0) {
            bail!("--top 0 shows nothing: give it at least 1");
        }
        if self.min_latency.is_some_and(|latency| latency.is_zero()) {
            bail!("--min-latency 0 leaves nothing out: give a time such as 100us");
        }
        if events && self.by.is_some() {
            bail!("--by counts and --events does not: drop one of them");
        }
        if events && self.top.is_some() {
            bail!("--top cuts a report and --events makes none: drop one of them");
        }
        let latency = self.min_latency.map_or(0, |latency| latency.as_nanos());
        Ok(View {
            kinds: self.kinds()?,
            min_latency: u64::try_from(latency).unwrap_or(u64::MAX),
            by: self.by.unwrap_or_default(),
            top: self.top,
            format: self.format,
            events,
            evidence: self.evidence,
        })
    }

    /// `--class` and `--kind` both have to hold.
    fn kinds(&self) -> anyhow::Result<Kinds> {
        let classes = match self.class.as_slice() {
            [] => Kinds::ALL,
            classes => classes.iter().copied().fold(Kinds::NONE, Kinds::with_class),
        };
        if self.kind.is_empty() {
            return Ok(classes);
        }
        for kind in &self.kind {
            if !classes.contains(*kind) {
                let class = kind.class();
                bail!(
                    "--kind {kind} is of class {class}, which --class leaves out: add it or drop --class"
                );
            }
        }
        Ok(self.kind.iter().copied().fold(Kinds::NONE, Kinds::with))
    }
}

impl View {
    /// What a pipeline needs to know.
    pub fn options(&self, preface: &Preface) -> Options {
        Options {
            kinds: self.kinds,
            min_latency: self.min_latency,
            by: self.by,
            cpu_nodes: preface.cpu_nodes.clone(),
            ..Options::for_backend(&preface.backend)
        }
    }

    /// How much of a report to make.
    pub fn limits(&self) -> Limits {
        let usual = match self.format {
            Format::Text => text::LIMITS,
            Format::Json => json::LIMITS,
        };
        self.top.map_or(usual, |top| Limits { processes: top, regions: top })
    }

    /// Only faults that the kernel counts as major are wanted: the kernel side
    /// can leave the others out by itself.
    pub fn only_major(&self) -> bool {
        Kind::ALL.into_iter().all(|kind| kind.class() == Class::Major || !self.kinds.contains(kind))
    }
}
