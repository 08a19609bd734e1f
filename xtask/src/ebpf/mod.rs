//! `cargo xtask ebpf`: builds the eBPF object that is committed beside its
//! source, or checks that the committed one is what the source builds.

mod library;
mod linker;
mod sysroot;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::place;
use crate::process;
use crate::say::say;

/// The compiler that the committed object is built with. Another one would
/// build an object that works but is not the committed one.
pub(crate) const RUSTC: &str = "1.95.0";

/// The instruction set: v3 has 32-bit registers and jumps, and every kernel
/// since 5.8 takes it.
const CPU: &str = "v3";

const TARGET: &str = "bpfel-unknown-none";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Fail when the committed object is not what its source builds.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let committed = place::root()?.join("vmtrace-ebpf/vmtrace.bpf.o");
    let built = build()?;
    let fresh = read(&built)?;
    if options.check {
        return compare(&committed, &fresh, &built);
    }
    let old = std::fs::read(&committed).unwrap_or_default();
    if old == fresh {
        say!("vmtrace-ebpf/vmtrace.bpf.o is what its source builds ({} bytes)", fresh.len());
    } else {
        std::fs::write(&committed, &fresh)
            .with_context(|| format!("cannot write {}", committed.display()))?;
        say!("wrote vmtrace-ebpf/vmtrace.bpf.o ({} bytes)", fresh.len());
    }
    Ok(())
}

/// Fails when the committed object is not what its source builds.
pub(crate) fn check() -> Result<()> {
    run(&Options { check: true })
}

/// The tools that a rebuild needs, and where they already are.
pub(crate) fn tools() -> Result<[(&'static str, Option<String>); 2]> {
    let linker = linker::path()?;
    let source = library::present(&library::real_sysroot()?);
    Ok([
        ("bpf-linker", linker.is_file().then(|| linker.display().to_string())),
        ("the library's source", source.map(|source| source.display().to_string())),
    ])
}

fn compare(committed: &Path, fresh: &[u8], built: &Path) -> Result<()> {
    if read(committed)? != fresh {
        bail!(
            "the committed vmtrace-ebpf/vmtrace.bpf.o is not what its source builds ({}): \
             run `cargo xtask ebpf` and commit the object with the change",
            built.display()
        );
    }
    say!("vmtrace-ebpf/vmtrace.bpf.o is what its source builds, byte for byte");
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// A cargo command for the eBPF crate: its target, its core, its compiler.
pub(crate) fn cargo(verb: &str) -> Result<Command> {
    let sysroot = sysroot::prepare()?;
    let target_dir = place::root()?.join("target/ebpf");
    let mut cargo = Command::new("cargo");
    cargo.current_dir(place::root()?).env("RUSTC", &sysroot.rustc);
    // Stable's compiler, with the one unstable switch that builds `core`.
    cargo.env("RUSTC_BOOTSTRAP", "1").env("CARGO_INCREMENTAL", "0");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", cpu());
    cargo.args([verb, "--locked", "--package", "vmtrace-ebpf", "--target", TARGET]);
    cargo.args(["-Z", "build-std=core", "--profile", "ebpf", "--target-dir"]).arg(target_dir);
    Ok(cargo)
}

/// Builds the object and strips what only a debugger would read: the BTF that
/// was made from the debug information stays.
fn build() -> Result<PathBuf> {
    let linker = linker::obtain()?;
    let mut cargo = cargo("build")?;
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(&linker)?);
    process::run(&mut cargo)?;

    let built = place::root()?.join(format!("target/ebpf/{TARGET}/ebpf/vmtrace-ebpf"));
    let stripped = built.with_file_name("vmtrace.bpf.o");
    let mut objcopy = Command::new(sysroot::objcopy()?);
    process::run(objcopy.arg("--strip-debug").args([&built, &stripped]))?;
    Ok(stripped)
}

/// The instructions that may be used.
fn cpu() -> String {
    format!("-Ctarget-cpu={CPU}")
}

/// The compiler's flags, joined as cargo wants them where a path may hold a
/// space. Of two prefixes that match, rustc takes the later one.
fn flags(linker: &Path) -> Result<OsString> {
    let mut flags = vec![
        "-Cpanic=abort".into(),
        cpu().into(),
        "-Clink-arg=--btf".into(),
        concat("-Clinker=", linker, ""),
    ];
    for registry in registries()? {
        flags.push(concat("--remap-path-prefix=", &registry, "=/crates"));
    }
    flags.push(concat("--remap-path-prefix=", &place::root()?, "=/vmtrace"));
    for path in sysroot::library_paths()? {
        flags.push(concat("--remap-path-prefix=", &path, "=/rust"));
    }
    Ok(flags.join(&OsString::from("\u{1f}")))
}

/// Where cargo unpacks crates: one directory a registry, named by a hash of
/// the registry's address, which a mirror changes. It has to be there already.
fn registries() -> Result<Vec<PathBuf>> {
    let mut fetch = Command::new("cargo");
    process::run(fetch.current_dir(place::root()?).args(["fetch", "--quiet", "--locked"]))?;
    let Some(home) = place::cargo_home() else { return Ok(Vec::new()) };
    let Ok(children) = std::fs::read_dir(home.join("registry/src")) else {
        return Ok(Vec::new());
    };
    let mut found = children.map(|child| Ok(child?.path())).collect::<Result<Vec<_>>>()?;
    // The order is part of cargo's fingerprint.
    found.sort();
    Ok(found)
}

fn concat(before: &str, path: &Path, after: &str) -> OsString {
    let mut flag = OsString::from(before);
    flag.push(path);
    flag.push(after);
    flag
}
