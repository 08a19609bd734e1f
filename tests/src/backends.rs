//! The same test with one backend after the other.

use anyhow::{Context as _, Result};

use crate::harness::{Verdict, fact};
use crate::{is_long, sys, tool};

/// With every backend that works here.
pub(crate) fn each(test: impl Fn(&str) -> Result<()>) -> Result<Verdict> {
    with(&tool::backends, test)
}

/// With every backend where there is time; in a guest, whose processor is emulated,
/// with the best one, and all of them at full length.
pub(crate) fn each_in_time(what: &str, test: impl Fn(&str) -> Result<()>) -> Result<Verdict> {
    let chosen = || {
        let mut backends = tool::backends()?;
        if sys::is_guest() && !is_long() {
            backends.truncate(1);
            fact(&format!("{what}, only with --long"), "the other backends");
        }
        Ok(backends)
    };
    with(&chosen, test)
}

fn with(
    backends: &dyn Fn() -> Result<Vec<String>>,
    test: impl Fn(&str) -> Result<()>,
) -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("tracing needs root".into()));
    }
    for backend in backends()? {
        test(&backend).with_context(|| backend.clone())?;
    }
    Ok(Verdict::Passed)
}
