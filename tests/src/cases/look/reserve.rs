//! Most of a guest's memory put out of reach, so that it runs out in a second.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

const POOL: &str = "/proc/sys/vm/nr_hugepages";
const HUGE: u64 = 2 << 20;

/// Swap is off and the pool of huge pages holds what is too much; given back with
/// its owner.
#[derive(Debug)]
pub(super) struct Reserve {
    pool: String,
    swaps: Vec<String>,
}

impl Reserve {
    /// Leaves about so many bytes.
    pub(super) fn leaving(left: u64) -> Result<Self> {
        let text = fs::read_to_string("/proc/swaps").unwrap_or_default();
        let swaps: Vec<_> = text
            .lines()
            .skip(1)
            .filter_map(|line| line.split_ascii_whitespace().next().map(str::to_owned))
            .collect();
        let pool = fs::read_to_string(POOL).context("reading the pool of huge pages")?;
        let reserve = Self { pool, swaps };
        for device in &reserve.swaps {
            run("swapoff", device)?;
        }
        fs::write("/proc/sys/vm/drop_caches", "3")?;
        let free = free()?.saturating_sub(left);
        let more = reserve.pool.trim().parse::<u64>().unwrap_or(0) + free / HUGE;
        fs::write(POOL, more.to_string()).context("filling the pool of huge pages")?;
        Ok(reserve)
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        let _ = fs::write(POOL, &self.pool);
        for device in &self.swaps {
            let _ = run("swapon", device);
        }
    }
}

fn free() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.context("no MemAvailable")? << 10)
}

fn run(program: &str, device: &str) -> Result<()> {
    let mut command = Command::new(program);
    let status = command.arg(device).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.with_context(|| format!("cannot run {program}"))?;
    Ok(())
}
