//! Children that hold memory and do as they are told, a line at a time.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use crate::sys::mapping::{Mapping, What};
use crate::tool;

/// A child that dies with its owner.
#[derive(Debug)]
pub(crate) struct Kept(pub(crate) Child);

impl Kept {
    /// Starts a command whose input is ours; what it says goes nowhere.
    pub(crate) fn start(command: &[&str]) -> std::io::Result<Self> {
        let (program, words) = command.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self)
    }

    /// Starts one of our workloads that does something at each line it is sent.
    pub(crate) fn workload(words: &[&str]) -> Result<Self> {
        let mut command = Command::new(tool::ourselves()?);
        command.arg("workload").args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Self(command.spawn().context("cannot start a workload")?))
    }

    /// Its number.
    pub(crate) fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }

    /// Tells it to go on and waits until it has; false where it is dead.
    pub(crate) fn step(&mut self) -> bool {
        let told = self.0.stdin.as_mut().is_some_and(|pipe| pipe.write_all(b"\n").is_ok());
        told && self.ready()
    }

    /// Waits for its word; false where it is dead.
    pub(crate) fn ready(&mut self) -> bool {
        let Some(out) = self.0.stdout.as_mut() else { return false };
        let (mut seen, mut byte) = (Vec::new(), [0]);
        while !seen.ends_with(b"ready\n") {
            match out.read(&mut byte) {
                Ok(1) => seen.push(byte[0]),
                Ok(_) | Err(_) => return false,
            }
        }
        true
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Takes so much memory at each line.
pub(crate) fn hold(mib: usize) -> Result<()> {
    let mut held = Vec::new();
    for line in BufReader::new(std::io::stdin()).lines() {
        line?;
        let taken = Mapping::new(What::Anonymous, mib << 8)?;
        taken.write();
        held.push(taken);
        crate::harness::print(format_args!("ready"));
    }
    Ok(())
}

/// Divides its memory into so many regions, each of one page, and waits.
pub(crate) fn divide(regions: usize) -> Result<()> {
    let mapping = Mapping::new(What::Anonymous, regions)?;
    for page in 0..regions {
        mapping.write_one(page);
        if page % 2 == 0 {
            mapping.make_readable_only(page).context("dividing the memory")?;
        }
    }
    crate::harness::print(format_args!("ready"));
    std::io::stdin().lines().next();
    Ok(())
}
