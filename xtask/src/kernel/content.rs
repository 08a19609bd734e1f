//! What is kept of a kernel's packages, and in which shape.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::debian::deb;
use crate::place;
use crate::process;

/// Modules that a test needs: swap in memory with its compressors, and loops.
/// `NVMe`, ext4 and the serial ports are built in everywhere.
const MODULES: [&str; 9] = [
    "/drivers/block/zram/",
    "/drivers/block/loop.ko",
    "/mm/zsmalloc.ko",
    "/crypto/lz4",
    "/crypto/lzo",
    "/crypto/zstd.ko",
    "/lib/lz4/",
    "/lib/lzo/",
    "/lib/zstd/",
];

/// Whether a package's member is worth keeping.
fn is_wanted(member: &str) -> bool {
    let file = member.rsplit('/').next().unwrap_or_default();
    let is_image = file == "vmlinuz" || file.starts_with("vmlinuz-");
    let is_config = member.contains("/modules/") && file == "config" || file.starts_with("config-");
    let is_list = matches!(file, "modules.builtin" | "modules.builtin.modinfo" | "modules.order");
    let is_module = file.contains(".ko") && MODULES.iter().any(|part| member.contains(part));
    !member.ends_with('/') && (is_image || is_config || is_list || is_module)
}

/// Takes what is wanted out of a kernel's packages: `vmlinuz`, `config` and
/// `lib/modules/RELEASE` below `target`.
pub(super) fn take(debs: &[PathBuf], target: &Path, release: &str) -> Result<()> {
    let unpacked = target.join("unpacked");
    for deb in debs {
        let members =
            deb::list(deb)?.into_iter().filter(|name| is_wanted(name)).collect::<Vec<_>>();
        if !members.is_empty() {
            deb::unpack(deb, &unpacked, &members)?;
        }
    }
    let modules = target.join("lib/modules").join(release);
    place::make_dir(&modules)?;
    for file in walk(&unpacked)? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kept = match name.split('-').next() {
            Some("vmlinuz") => target.join("vmlinuz"),
            Some("config") => target.join("config"),
            _ => modules.join(&name),
        };
        std::fs::rename(&file, &kept).with_context(|| format!("cannot keep {name}"))?;
        if kept.extension() == Some(OsStr::new("xz")) {
            process::run(Command::new("xz").arg("--decompress").arg(&kept))?;
        }
    }
    std::fs::remove_dir_all(&unpacked).ok();
    if !target.join("vmlinuz").is_file() {
        bail!("the packages of {release} hold no vmlinuz where we look for it");
    }
    Ok(())
}

fn walk(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for child in std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let child = child?;
        if child.file_type()?.is_dir() {
            found.extend(walk(&child.path())?);
        } else {
            found.push(child.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_image_config_and_few_modules() {
        for member in [
            "./boot/vmlinuz-6.12.117+deb13-cloud-amd64",
            "./boot/config-6.12.117+deb13-cloud-amd64",
            "./usr/lib/modules/7.2.12+deb14-cloud-amd64/vmlinuz",
            "./usr/lib/modules/7.2.12+deb14-cloud-amd64/config",
            "./lib/modules/5.10.0-46-cloud-amd64/kernel/drivers/block/zram/zram.ko",
            "./usr/lib/modules/7.2.12/kernel/crypto/lz4hc.ko.xz",
            "./usr/lib/modules/7.2.12/modules.builtin",
        ] {
            assert!(is_wanted(member), "{member}");
        }
        for member in [
            "./boot/System.map-6.12.117+deb13-cloud-amd64",
            "./usr/lib/modules/7.2.12/kernel/drivers/net/virtio_net.ko.xz",
            "./usr/lib/modules/7.2.12/kernel/drivers/block/zram/",
            "./usr/share/bug/linux-base-7.2.12/control",
        ] {
            assert!(!is_wanted(member), "{member}");
        }
    }
}
