//! `vmtrace diff`: two recordings compared.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;

use super::replay;
use super::view::{self, Format, View};
use crate::diff::{Condition, Diff, Side, write_json, write_text};
use crate::pipeline::Pipeline;
use crate::tally::By;
use crate::term::Screen;

/// Regions shown unless `--top` says otherwise.
const REGIONS: usize = 10;

/// Compare two recordings: what changed, and whether that is more than noise
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What was
    #[arg(value_name = "BEFORE.vmt")]
    before: PathBuf,
    /// What is
    #[arg(value_name = "AFTER.vmt")]
    after: PathBuf,
    /// Exit with status 1 where this holds: 'p99(major) > 2ms', 'count(cow) > +10%'
    ///
    /// count, rate, total, p50, p90, p99, p999 or max, of all, a class, a kind or a region's name;
    /// compared with a value of AFTER, or with the change from BEFORE in percent.
    #[arg(long, value_name = "CONDITION", value_parser = str::parse::<Condition>)]
    fail_if: Vec<Condition>,
    #[command(flatten)]
    view: view::Arguments,
}

impl Arguments {
    /// Runs the command.
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let view = self.view.view(false)?;
        if view.by != By::default() {
            bail!("a comparison is by class, kind and region: drop --by");
        }
        let before = side(&self.before, &view)?;
        let after = side(&self.after, &view)?;
        let diff = Diff::of(&before, &after, &self.fail_if, view.top.unwrap_or(REGIONS));
        let mut out = io::BufWriter::new(io::stdout().lock());
        match view.format {
            Format::Text => write_text(&mut out, &Screen::of_stdout(), &diff)?,
            Format::Json => write_json(&mut out, &diff)?,
        }
        out.flush()?;
        Ok(if diff.fails() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn side(file: &Path, view: &View) -> anyhow::Result<Side> {
    let reading = replay::open(file)?;
    let mut pipeline = Pipeline::new(view.options(reading.preface()));
    replay::replay(&reading, &mut pipeline, |_| Ok(()))?;
    Ok(Side::of(&file.to_string_lossy(), &pipeline, reading.preface()))
}
