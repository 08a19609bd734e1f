//! Where things are: the workspace, its cache, cargo's home.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The workspace's root, with symbolic links resolved: compilers print such
/// paths, and the eBPF object's paths are remapped by prefix.
pub(crate) fn root() -> Result<PathBuf> {
    let own = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = own.parent().unwrap_or(&own);
    root.canonicalize().with_context(|| format!("the workspace at {} is gone", root.display()))
}

/// A directory inside the project's own cache, created if need be.
pub(crate) fn cache(name: &str) -> Result<PathBuf> {
    let dir = root()?.join(".cache").join(name);
    make_dir(&dir)?;
    Ok(dir)
}

/// Creates a directory and its parents.
pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))
}

/// Cargo's home: the registry's sources lie below it.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    // A home that does not exist yet is written to under the name given here.
    Some(home.canonicalize().unwrap_or(home))
}
