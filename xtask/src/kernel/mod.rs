//! The kernels that vmtrace is tested on: which, where from, and their cache.

mod cache;
mod choose;
mod content;

pub(crate) use cache::{Kernel, cached, obtain};

use anyhow::{Result, bail};

use crate::say::say;

/// How a place in the matrix is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    /// A long-term series; when the suites dropped it, the nearest newer one.
    Series(u32, u32),
    /// Whatever is newest.
    Newest,
}

/// A place in the matrix. Suites move, so it names a rule and no file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    /// What the place is called before its kernel is known.
    pub(crate) name: &'static str,
    pub(crate) suites: &'static [&'static str],
    pub(crate) pick: Pick,
}

/// The oldest kernel with what vmtrace needs, each long-term series since,
/// the distribution's next one and the newest release candidate.
pub(crate) const MATRIX: [Slot; 6] = [
    Slot { name: "5.10", suites: &["bullseye-security"], pick: Pick::Series(5, 10) },
    Slot { name: "6.1", suites: &["bookworm-security", "bookworm"], pick: Pick::Series(6, 1) },
    Slot { name: "6.12", suites: &["trixie-security", "trixie"], pick: Pick::Series(6, 12) },
    Slot { name: "6.18", suites: &["trixie-backports"], pick: Pick::Series(6, 18) },
    Slot { name: "forky", suites: &["forky"], pick: Pick::Newest },
    Slot { name: "rc", suites: &["experimental"], pick: Pick::Newest },
];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Which ones: a series, `forky` or `rc`; all of them when none is named.
    kernels: Vec<String>,
}

/// `cargo xtask kernel`: fetches kernels ahead of time and lists them.
pub(crate) fn run(options: &Options) -> Result<()> {
    for slot in select(&options.kernels)? {
        let kernel = obtain(slot)?;
        say!("{:<8} {:<34} {}", kernel.series, kernel.release, kernel.version);
    }
    Ok(())
}

/// The places that the given names mean. A series that a moving place holds
/// today (`7.2` for `forky`) is found among the cached kernels.
pub(crate) fn select(names: &[String]) -> Result<Vec<&'static Slot>> {
    if names.is_empty() {
        return Ok(MATRIX.iter().collect());
    }
    names.iter().map(|name| find(name)).collect()
}

fn find(name: &str) -> Result<&'static Slot> {
    if let Some(slot) = MATRIX.iter().find(|slot| slot.name == name) {
        return Ok(slot);
    }
    let moving = MATRIX.iter().filter(|slot| slot.pick == Pick::Newest);
    for slot in moving {
        let kernel = cached(slot)?.map_or_else(|| obtain(slot), Ok)?;
        if kernel.series == name || kernel.series.split('-').next() == Some(name) {
            return Ok(slot);
        }
    }
    let known = MATRIX.map(|slot| slot.name).join(", ");
    bail!("no kernel {name} in the matrix: it has {known}");
}
