//! A private sysroot: the toolchain's own content by symbolic link, with the
//! library's source in place.
//!
//! `-Z build-std` looks for the source below the compiler's sysroot. A user's
//! toolchain is not ours to write into, and a sysroot that lies inside the
//! workspace has another use: cargo hashes the library's path relative to the
//! workspace, so symbol names do not depend on where either lies.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::library;
use crate::place;

/// What cargo needs to be told.
#[derive(Debug)]
pub(super) struct Sysroot {
    /// A compiler that believes in the private sysroot.
    pub(super) rustc: PathBuf,
}

/// Lays the sysroot out. It is laid anew each time: the toolchain or the
/// source may have moved, and a hundred links cost nothing.
pub(super) fn prepare() -> Result<Sysroot> {
    let real = library::real_sysroot()?;
    let source = library::obtain(&real)?;
    let sysroot = place::cache("sysroot")?;

    link_children(&real, &sysroot, "lib")?;
    link_children(&real.join("lib"), &sysroot.join("lib"), "rustlib")?;
    link_children(&real.join("lib/rustlib"), &sysroot.join("lib/rustlib"), "src")?;
    place::make_dir(&sysroot.join("lib/rustlib/src"))?;
    link(&source, &sysroot.join("lib/rustlib/src/rust"))?;

    let rustc = place::root()?.join(".cache/rustc");
    write_wrapper(&rustc, &real, &sysroot)?;
    Ok(Sysroot { rustc })
}

/// The paths under which the compiler may meet the library's source.
pub(super) fn library_paths() -> Result<[PathBuf; 2]> {
    let linked = place::root()?.join(".cache/sysroot/lib/rustlib/src/rust");
    let real = linked.canonicalize().context("the private sysroot lacks the library's source")?;
    Ok([linked, real])
}

/// The object copier that comes with rustc: binutils' knows no BPF.
pub(super) fn objcopy() -> Result<PathBuf> {
    let host = library::real_sysroot()?.join("lib/rustlib/x86_64-unknown-linux-gnu");
    let objcopy = host.join("bin/rust-objcopy");
    if !objcopy.is_file() {
        bail!("the toolchain has no {}; rustup's Rust {} has", objcopy.display(), super::RUSTC);
    }
    Ok(objcopy)
}

/// Links every child of `from` into `to`, except the one that is laid out by hand.
fn link_children(from: &Path, to: &Path, except: &str) -> Result<()> {
    place::make_dir(to)?;
    let children =
        std::fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))?;
    for child in children {
        let child = child?;
        if child.file_name() != except {
            link(&child.path(), &to.join(child.file_name()))?;
        }
    }
    Ok(())
}

fn link(target: &Path, link: &Path) -> Result<()> {
    if std::fs::read_link(link).is_ok_and(|old| old == target) {
        return Ok(());
    }
    std::fs::remove_file(link).ok();
    symlink(target, link).with_context(|| format!("cannot link {}", link.display()))
}

fn write_wrapper(wrapper: &Path, real: &Path, sysroot: &Path) -> Result<()> {
    let rustc = real.join("bin/rustc");
    let script =
        format!("#!/bin/sh\nexec '{}' --sysroot '{}' \"$@\"\n", rustc.display(), sysroot.display());
    // Written only when it changes: cargo rebuilds everything for a new rustc.
    if std::fs::read_to_string(wrapper).is_ok_and(|old| old == script) {
        return Ok(());
    }
    std::fs::write(wrapper, script)
        .and_then(|()| std::fs::set_permissions(wrapper, PermissionsExt::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", wrapper.display()))
}
