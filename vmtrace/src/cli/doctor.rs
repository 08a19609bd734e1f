//! `vmtrace doctor`: what this machine lets vmtrace do, found by trying.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::view::Format;
use crate::classify::told;
use crate::probe::backend::Backend;
use crate::probe::preflight::{self, Circumstances};
use crate::probe::survey::{self, Tried};

/// What `vmtrace doctor` is asked.
#[derive(Args, Debug)]
pub struct Doctor {
    /// What it is written as
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Doctor {
    /// Runs it; the status is 2 where nothing can be traced.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let mut out = io::stdout().lock();
        let obstacle = Circumstances::here().obstacle();
        let tried = match &obstacle {
            Some(_) => Vec::new(),
            None => Backend::ALL.into_iter().map(survey::attempt).collect::<Result<_, _>>()?,
        };
        let usable = tried.iter().any(|tried| tried.why.is_none());
        match self.format {
            Format::Json => {
                let obstacle = obstacle.map(|obstacle| obstacle.to_string());
                serde_json::to_writer_pretty(&mut out, &as_json(&tried, obstacle.as_deref()))?;
                writeln!(out)?;
            }
            Format::Text => {
                writeln!(out, "kernel {}", preflight::release())?;
                if let Some(obstacle) = &obstacle {
                    writeln!(out, "cannot trace: {obstacle}")?;
                }
                for tried in &tried {
                    write_backend(&mut out, tried)?;
                }
                write_choice(&mut out, &tried)?;
            }
        }
        out.flush()?;
        Ok(if usable { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }
}

fn write_backend(out: &mut dyn Write, tried: &Tried) -> io::Result<()> {
    writeln!(out)?;
    match &tried.why {
        None => writeln!(out, "{}: works", tried.backend)?,
        Some(why) => return writeln!(out, "{}: cannot be used: {why}", tried.backend),
    }
    for attempt in &tried.attempts {
        let program = attempt.program;
        let hook = program.hook.name();
        match &attempt.outcome {
            Ok(place) => writeln!(out, "  {:<24} {hook} on {place}", program.name)?,
            Err(why) => {
                let lost = program.without.unwrap_or("needed");
                writeln!(out, "  {:<24} missing, so {lost} ({why})", program.name)?;
            }
        }
    }
    Ok(())
}

fn write_choice(out: &mut dyn Write, tried: &[Tried]) -> io::Result<()> {
    let Some(chosen) = tried.iter().find(|tried| tried.why.is_none()) else {
        return Ok(());
    };
    writeln!(out, "\n`--backend auto` takes {}.", chosen.backend)?;
    if chosen.backend == Backend::Tracepoint {
        writeln!(out, "It does not see faults that take no exception (get_user_pages),")?;
        writeln!(out, "and reports these kinds as others (docs/kinds.md):")?;
        for told in told::merged() {
            writeln!(out, "  {:<16} as {}", told.kind.name(), names(told))?;
        }
    }
    Ok(())
}

fn names(told: &told::Told) -> String {
    told.merged.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

fn as_json(tried: &[Tried], obstacle: Option<&str>) -> Value {
    let backends: Vec<Value> = tried
        .iter()
        .map(|tried| {
            json!({
                "name": tried.backend.name(),
                "usable": tried.why.is_none(),
                "why": tried.why,
                "probes": tried.attempts.iter().map(probe_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "schema": "vmtrace.doctor/1",
        "kernel": preflight::release(),
        "obstacle": obstacle,
        "backends": backends,
    })
}

fn probe_json(attempt: &crate::probe::backend::Attempt) -> Value {
    let program = attempt.program;
    let wanted = program.places.first().copied().unwrap_or_default();
    let (state, detail) = match (&attempt.outcome, program.without) {
        (Ok(place), _) if place == wanted => ("attached", String::new()),
        (Ok(place), _) => ("attached", format!("as {place}")),
        (Err(why), Some(lost)) => ("degraded", format!("{lost}: {why}")),
        (Err(why), None) => ("unavailable", why.clone()),
    };
    json!({ "name": program.name, "hook": program.hook.name(), "place": wanted, "state": state, "detail": detail })
}
