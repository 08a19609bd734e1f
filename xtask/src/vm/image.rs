//! The guest's root file system: an ext4 disk made from a staging directory.
//!
//! A disk and not an initramfs: programs and files then live in the page cache
//! of a real file system, as they do for users, and can be dropped from it.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::disk;
use crate::debian::{archive, deb, version};
use crate::kernel::Kernel;
use crate::place;
use crate::process;

/// Directories that a guest mounts on or writes to.
const DIRS: [&str; 12] =
    ["bin", "sbin", "dev", "proc", "sys", "tmp", "run", "root", "out", "mnt", "etc/vm", "var/tmp"];

/// What goes into a guest.
#[derive(Debug)]
pub(super) struct Content<'a> {
    pub(super) kernel: &'a Kernel,
    /// Programs of the host, copied to `/bin` with the libraries they need.
    pub(super) programs: &'a [PathBuf],
    /// Another root file system, for `/peers`.
    pub(super) tree: Option<&'a Path>,
    /// Nothing for an interactive shell.
    pub(super) command: &'a [String],
    pub(super) swap: bool,
}

/// Writes the root of the disk at `image`, with `stage` as scratch space.
pub(super) fn make(content: &Content<'_>, stage: &Path, image: &Path) -> Result<()> {
    for dir in DIRS {
        place::make_dir(&stage.join(dir))?;
    }
    write(&stage.join("init"), include_str!("init.sh"), 0o755)?;
    write(
        &stage.join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n",
        0o644,
    )?;
    write(&stage.join("etc/group"), "root:x:0:\nuser:x:1000:\n", 0o644)?;
    if content.swap {
        write(&stage.join("etc/vm/swap"), "", 0o644)?;
    }
    if content.command.is_empty() {
        write(&stage.join("etc/vm/shell"), "", 0o644)?;
    } else {
        write(&stage.join("etc/vm/command"), &script(content.command), 0o755)?;
    }
    busybox(stage)?;
    modules(content.kernel, stage)?;
    for program in content.programs {
        copy_program(program, stage)?;
    }
    if let Some(tree) = content.tree {
        link(tree, &stage.join("peers"))?;
    }
    format(stage, image)
}

/// Hard links to a tree that is in the same cache: no copy of hundreds of MiB.
/// What the guest has of the running kernel, it has there too.
fn link(tree: &Path, target: &Path) -> Result<()> {
    process::run(Command::new("cp").args(["--archive", "--link"]).arg(tree).arg(target))?;
    ["dev", "proc", "sys", "tmp"].iter().try_for_each(|dir| place::make_dir(&target.join(dir)))
}

fn format(stage: &Path, image: &Path) -> Result<()> {
    let Some(mkfs) = process::find("mkfs.ext4") else {
        bail!("mkfs.ext4 is missing (apt-get install e2fsprogs)");
    };
    let mut mkfs = Command::new(mkfs);
    // Without a journal and with nothing left to initialise lazily, no kernel
    // thread works behind a test's back.
    mkfs.args(["-q", "-F", "-O", "^has_journal", "-N", "8192", "-m", "0"]);
    let start = disk::ROOT.start;
    mkfs.args(["-E", &format!("lazy_itable_init=0,root_owner=0:0,offset={start}")]);
    mkfs.arg("-d").arg(stage).arg(image).arg(format!("{}k", disk::ROOT.size >> 10));
    process::read(&mut mkfs).map(drop)
}

/// The command as a script: every word quoted, whatever it holds.
fn script(command: &[String]) -> String {
    let words = command.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''")));
    format!("exec {}\n", words.collect::<Vec<_>>().join(" "))
}

fn write(file: &Path, text: &str, mode: u32) -> Result<()> {
    std::fs::write(file, text)
        .and_then(|()| std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// A static busybox, and a link for each command that it knows.
fn busybox(stage: &Path) -> Result<()> {
    let busybox = obtain_busybox()?;
    copy(&busybox, &stage.join("bin/busybox"))?;
    for name in process::read_text(Command::new(&busybox).arg("--list"))?.lines() {
        if name != "busybox" {
            symlink("busybox", stage.join("bin").join(name))
                .with_context(|| format!("cannot link busybox's {name}"))?;
        }
    }
    // The kernel itself looks for these here.
    symlink("/bin/busybox", stage.join("sbin/modprobe"))?;
    Ok(())
}

fn obtain_busybox() -> Result<PathBuf> {
    const SUITE: &str = "trixie";
    let kept = place::cache("busybox")?.join("busybox");
    if kept.is_file() {
        return Ok(kept);
    }
    let newest = archive::packages(SUITE, |name| name == "busybox-static")?
        .into_iter()
        .max_by(|a, b| version::compare(&a.version, &b.version));
    let Some(package) = newest else { bail!("{SUITE} has no busybox-static") };
    let file = archive::fetch(SUITE, &package)?;
    let unpacked = place::cache("busybox/unpacked")?;
    deb::unpack(&file, &unpacked, &[])?;
    let found = ["bin/busybox", "usr/bin/busybox"].map(|name| unpacked.join(name));
    let Some(found) = found.iter().find(|file| file.is_file()) else {
        bail!("busybox-static holds no busybox where we look for it");
    };
    std::fs::rename(found, &kept).context("cannot keep busybox")?;
    std::fs::remove_dir_all(&unpacked).ok();
    std::fs::remove_file(&file).ok();
    Ok(kept)
}

fn modules(kernel: &Kernel, stage: &Path) -> Result<()> {
    let from = kernel.modules();
    let to = stage.join("lib/modules").join(&kernel.release);
    place::make_dir(&to)?;
    for child in std::fs::read_dir(&from)? {
        let child = child?;
        copy(&child.path(), &to.join(child.file_name()))?;
    }
    Ok(())
}

/// Copies a program to the guest's `/bin` and its libraries to where the
/// dynamic loader looks for them here.
fn copy_program(program: &Path, stage: &Path) -> Result<()> {
    let name = program.file_name().with_context(|| format!("{} is no file", program.display()))?;
    let target = stage.join("bin").join(name);
    // A program of the host takes the place of busybox's.
    std::fs::remove_file(&target).ok();
    copy(program, &target)?;
    // ldd fails on a static program, which needs nothing.
    let libraries = process::read_text(Command::new("ldd").arg(program)).unwrap_or_default();
    for library in libraries.lines().filter_map(library_path) {
        let target = stage.join(library.trim_start_matches('/'));
        if target.exists() {
            continue;
        }
        place::make_dir(target.parent().unwrap_or(stage))?;
        copy(Path::new(library), &target)?;
    }
    Ok(())
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, or the loader's bare
/// path; the vDSO has none.
fn library_path(line: &str) -> Option<&str> {
    let path = line.split_once("=> ").map_or(line, |(_, path)| path).trim();
    path.starts_with('/').then(|| path.split(" (").next().unwrap_or(path))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_every_word() {
        let words = ["sh", "-c", "echo 'it is' $HOME"].map(String::from);
        assert_eq!(script(&words), "exec 'sh' '-c' 'echo '\\''it is'\\'' $HOME'\n");
    }

    #[test]
    fn reads_what_ldd_prints() {
        let path = "/lib/x86_64-linux-gnu/libc.so.6";
        assert_eq!(library_path(&format!("\tlibc.so.6 => {path} (0x00007f)")), Some(path));
        let loader = "/lib64/ld-linux-x86-64.so.2";
        assert_eq!(library_path(&format!("\t{loader} (0x00007f)")), Some(loader));
        assert_eq!(library_path("\tlinux-vdso.so.1 (0x00007ffc)"), None);
        assert_eq!(library_path("\tstatically linked"), None);
    }
}
