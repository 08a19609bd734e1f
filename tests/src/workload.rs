//! What the tests trace: programs with a known number of faults.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::sys;

pub(crate) fn run(words: &[String]) -> Result<ExitCode> {
    let words = words.iter().map(String::as_str).collect::<Vec<_>>();
    match words[..] {
        ["touch", count] => touch(count.parse().context("touch takes a number of pages")?)?,
        ["sleep", millis] => {
            let millis = millis.parse().context("sleep takes milliseconds")?;
            std::thread::sleep(Duration::from_millis(millis));
        }
        ["exit", status] => {
            return Ok(ExitCode::from(status.parse::<u8>().context("exit takes a status")?));
        }
        _ => bail!("no such workload: {}", words.join(" ")),
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes to each of `count` fresh pages, once.
fn touch(count: usize) -> Result<()> {
    let pages = sys::fresh_pages(count)?;
    for page in pages.chunks_exact_mut(4096).take(count) {
        page[0] = std::hint::black_box(1);
    }
    Ok(())
}
