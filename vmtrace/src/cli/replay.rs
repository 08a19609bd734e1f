//! Looking at recordings: `vmtrace report` and `vmtrace events`, which drive
//! what a live trace drives.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::show::{Meanwhile, Show};
use super::view::{self, View};
use crate::recording::{Joined, Outcome, Progress, Reading, join};
use crate::stream::Sink;
use crate::term::escape;
use crate::term::units::{nanoseconds, short_count};

/// Report on recordings as a live trace would have
#[derive(Debug, clap::Args)]
pub struct Report {
    /// Recordings; several are reported on together
    #[arg(required = true, value_name = "FILE.vmt")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    view: view::Arguments,
}

/// Print one line for each fault of recordings
#[derive(Debug, clap::Args)]
pub struct Events {
    /// Recordings, one after the other
    #[arg(required = true, value_name = "FILE.vmt")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    view: view::Arguments,
}

impl Report {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let view = self.view.view(false)?;
        let mut readings = open_all(&self.files)?;
        // One after the other in time, as far as they were.
        readings.sort_by_key(|reading| reading.preface().started_wall_ns);
        let prefaces: Vec<_> = readings.iter().map(Reading::preface).collect();
        let Some(preface) = join(&prefaces) else {
            bail!("{} recordings are more than can be told apart", readings.len());
        };
        let mut show = Show::new(&view, &preface, Meanwhile::Nothing);
        if let [reading] = readings.as_slice() {
            replay(reading, &mut show, |_| Ok(()))?;
        } else {
            for (index, reading) in readings.iter().enumerate() {
                let mut joined = Joined::new(&mut show, index, reading.preface(), &preface);
                replay(reading, &mut joined, |_| Ok(()))?;
            }
        }
        show.finish(&mut io::stderr())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Events {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let view: View = self.view.view(true)?;
        for reading in open_all(&self.files)? {
            let mut show = Show::new(&view, reading.preface(), Meanwhile::Nothing);
            replay(&reading, &mut show, Show::flush)?;
            show.finish(&mut io::stderr())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn open_all(files: &[PathBuf]) -> anyhow::Result<Vec<Reading>> {
    files.iter().map(|file| open(file)).collect()
}

/// Opens one recording.
pub(super) fn open(file: &Path) -> anyhow::Result<Reading> {
    Reading::open(file).with_context(|| format!("reading {}", named(file)))
}

/// Hands a recording's records to `sink`; says what is missing on standard
/// error, and how far it is while that is a terminal.
pub(super) fn replay<S: Sink>(
    reading: &Reading,
    sink: &mut S,
    mut each: impl FnMut(&mut S) -> io::Result<()>,
) -> anyhow::Result<Outcome> {
    let mut meter = Meter::new(reading);
    let outcome = reading.replay(sink, &mut |sink, progress| {
        meter.look(progress)?;
        each(sink)
    });
    meter.clear()?;
    let outcome = outcome.with_context(|| format!("reading {}", named(reading.path())))?;
    for remark in outcome.remarks() {
        writeln!(io::stderr(), "vmtrace: {}: {remark}", named(reading.path()))?;
    }
    Ok(outcome)
}

fn named(path: &Path) -> String {
    escape::text(&path.to_string_lossy()).into_owned()
}

/// How far reading is, on a terminal, where it takes long.
struct Meter {
    name: String,
    faults: u64,
    begun: Instant,
    next: Option<Instant>,
    shown: bool,
}

/// Shorter reading shows nothing.
const PATIENCE: Duration = Duration::from_millis(700);
const EVERY: Duration = Duration::from_millis(200);

impl Meter {
    fn new(reading: &Reading) -> Self {
        let begun = Instant::now();
        let next = io::stderr().is_terminal().then(|| begun + PATIENCE);
        let (name, faults) = (named(reading.path()), reading.faults());
        Self { name, faults, begun, next, shown: false }
    }

    fn look(&mut self, progress: Progress) -> io::Result<()> {
        let now = Instant::now();
        if self.next.is_none_or(|next| now < next) {
            return Ok(());
        }
        self.next = Some(now + EVERY);
        self.shown = true;
        let line = line(&self.name, progress, self.faults, now - self.begun);
        let mut out = io::stderr().lock();
        write!(out, "\r{line}\x1b[K")?;
        out.flush()
    }

    fn clear(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.shown) {
            write!(io::stderr(), "\r\x1b[K")?;
        }
        Ok(())
    }
}

fn line(name: &str, progress: Progress, faults: u64, taken: Duration) -> String {
    let of_blocks = progress.of_blocks.max(1);
    let left = taken * u32::try_from(of_blocks - progress.blocks.min(of_blocks)).unwrap_or(1)
        / u32::try_from(progress.blocks.max(1)).unwrap_or(u32::MAX);
    format!(
        "{name}: {} of {} faults ({} %), {} left",
        short_count(progress.faults),
        short_count(faults),
        progress.blocks * 100 / of_blocks,
        nanoseconds(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told() {
        let progress = Progress { faults: 5_000_000, blocks: 25, of_blocks: 100 };
        let line = line("x.vmt", progress, 20_000_000, Duration::from_secs(1));
        assert_eq!(line, "x.vmt: 5.0M of 20M faults (25 %), 3.0 s left");
    }
}
