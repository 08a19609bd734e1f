//! `cargo xtask doctor`: what this machine can build and run.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::ebpf;
use crate::kernel;
use crate::process;
use crate::root;
use crate::say::say;

pub(crate) fn run() -> Result<()> {
    say!("to build vmtrace");
    line("cargo", version("cargo"), "install Rust with rustup");
    say!("to rebuild the eBPF object (done by `cargo xtask ebpf`, which fetches what is missing)");
    for (name, found) in ebpf::tools()? {
        line(name, found, "will be fetched on first use");
    }
    say!("to trace on this machine");
    let root = root::is_root().then(|| "yes".to_owned());
    let sudo = process::find("sudo").map(|_| "through sudo".to_owned());
    line("root", root.or(sudo), "run as root, or install sudo");
    let types = Path::new("/sys/kernel/btf/vmlinux");
    let types = types.exists().then(|| types.display().to_string());
    line("kernel's types", types, "this kernel was built without BTF; vmtrace needs it");
    say!("  (`cargo xtask run -- doctor` tells what attaches on this kernel)");
    say!("to boot virtual machines");
    for (program, package) in crate::test::NEEDED {
        let found = process::find(program).map(|path| path.display().to_string());
        line(program, found, &format!("apt-get install {package}"));
    }
    say!("kernels in the cache");
    for slot in &kernel::MATRIX {
        let kernel = kernel::cached(slot)?;
        let found = kernel.map(|kernel| format!("{} ({})", kernel.release, kernel.version));
        line(slot.name, found, "will be fetched on first use");
    }
    Ok(())
}

fn line(name: &str, found: Option<String>, otherwise: &str) {
    match found {
        Some(found) => say!("  ok       {name:<20} {found}"),
        None => say!("  missing  {name:<20} {otherwise}"),
    }
}

fn version(program: &str) -> Option<String> {
    process::read_text(Command::new(program).arg("--version")).ok()
}
