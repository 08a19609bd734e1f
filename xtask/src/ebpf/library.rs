//! The standard library's source, which `-Z build-std` compiles `core` from.
//!
//! Three places, in this order: the toolchain's own, rustup's component, and
//! Debian's `rust-src` package of the same version. Their `core` is the same
//! text, so the object does not depend on which one served.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::RUSTC;
use crate::debian::{archive, deb, version};
use crate::place;
use crate::process;
use crate::say::note;

/// The suite whose `rust-src` keeps several versions side by side.
const SUITE: &str = "trixie-backports";

/// The directory that holds `library/`.
pub(super) fn obtain(real_sysroot: &Path) -> Result<PathBuf> {
    let shipped = real_sysroot.join("lib/rustlib/src/rust");
    if is_whole(&shipped) {
        return Ok(shipped);
    }
    let unpacked = unpacked()?;
    if is_whole(&unpacked) {
        return Ok(unpacked);
    }
    note!("the standard library's source is missing; asking rustup for it");
    // Where nothing answers, rustup would try for many minutes.
    let rustup =
        Command::new("timeout").args(["180", "rustup", "component", "add", "rust-src"]).output();
    if rustup.is_ok_and(|output| output.status.success()) && is_whole(&shipped) {
        return Ok(shipped);
    }
    note!("rustup has none; taking Debian's package rust-src {RUSTC}");
    from_debian().with_context(|| {
        format!(
            "the library source of Rust {RUSTC} is needed to rebuild the eBPF object: \
             `rustup component add rust-src` failed, and so did Debian's package rust-src"
        )
    })?;
    if is_whole(&unpacked) {
        return Ok(unpacked);
    }
    bail!("Debian's rust-src does not hold {}", unpacked.display())
}

/// Where the source already lies, without fetching anything.
pub(super) fn present(real_sysroot: &Path) -> Option<PathBuf> {
    let shipped = real_sysroot.join("lib/rustlib/src/rust");
    [shipped, unpacked().ok()?].into_iter().find(|dir| is_whole(dir))
}

fn is_whole(rust: &Path) -> bool {
    rust.join("library/core/src/lib.rs").is_file() && rust.join("library/Cargo.lock").is_file()
}

fn unpacked() -> Result<PathBuf> {
    Ok(place::cache("rust-src")?.join(format!("usr/src/rustc-{RUSTC}")))
}

fn from_debian() -> Result<()> {
    let newest = archive::packages(SUITE, |name| name == "rust-src")?
        .into_iter()
        .filter(|package| package.version.starts_with(&format!("{RUSTC}+")))
        .max_by(|a, b| version::compare(&a.version, &b.version));
    let Some(package) = newest else {
        bail!("{SUITE} no longer has rust-src {RUSTC}");
    };
    let file = archive::fetch(SUITE, &package)?;
    let wanted = [format!("./usr/src/rustc-{RUSTC}/library")];
    deb::unpack(&file, &place::cache("rust-src")?, &wanted)?;
    // The package is 45 MB and its content is unpacked: nobody reads it again.
    std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))
}

/// The active toolchain's own sysroot.
pub(super) fn real_sysroot() -> Result<PathBuf> {
    let root = place::root()?;
    let mut rustc = Command::new("rustc");
    let said = process::read_text(rustc.current_dir(&root).args(["--print", "sysroot"]))?;
    let mut rustc = Command::new("rustc");
    let release = process::read_text(rustc.current_dir(&root).arg("--version"))?;
    if !release.starts_with(&format!("rustc {RUSTC} ")) {
        bail!("the eBPF object is built with Rust {RUSTC}, but this is {release}");
    }
    Ok(PathBuf::from(said))
}
