//! The kernels that were fetched, one directory each, complete or absent.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{Pick, Slot, choose, content};
use crate::debian::archive;
use crate::debian::index::Package;
use crate::place;
use crate::say::note;

/// A kernel in the cache.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    /// `6.12`, `7.3-rc7`.
    pub(crate) series: String,
    /// What `uname -r` says in it.
    pub(crate) release: String,
    /// Debian's version.
    pub(crate) version: String,
    /// Holds `vmlinuz`, `config` and `lib/modules`.
    pub(crate) dir: PathBuf,
}

impl Kernel {
    pub(crate) fn image(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    pub(crate) fn modules(&self) -> PathBuf {
        self.dir.join("lib/modules").join(&self.release)
    }
}

/// The kernel of a place: today's choice, from the cache if it is there.
/// Out of the mirror's reach, the one that was fetched last.
pub(crate) fn obtain(slot: &Slot) -> Result<Kernel> {
    let fetched = fetch(slot);
    match fetched {
        Ok(kernel) => Ok(kernel),
        Err(error) => match cached(slot)? {
            Some(kernel) => {
                note!("{}: using {} fetched earlier: {error:#}", slot.name, kernel.release);
                Ok(kernel)
            }
            None => Err(error).with_context(|| format!("no kernel for {}", slot.name)),
        },
    }
}

/// The kernel that was fetched for a place last, if any.
pub(crate) fn cached(slot: &Slot) -> Result<Option<Kernel>> {
    let dir = place::cache("kernels")?.join(slot.name);
    let Ok(about) = std::fs::read_to_string(dir.join("about")) else { return Ok(None) };
    let mut lines = about.lines();
    let (Some(release), Some(version)) = (lines.next(), lines.next()) else { return Ok(None) };
    Ok(Some(kernel(release, version, dir)))
}

fn kernel(release: &str, version: &str, dir: PathBuf) -> Kernel {
    Kernel {
        series: choose::series(version),
        release: release.to_owned(),
        version: version.to_owned(),
        dir,
    }
}

fn fetch(slot: &Slot) -> Result<Kernel> {
    let mut offered = Vec::new();
    for suite in slot.suites {
        let packages = archive::packages(suite, choose::concerns)?;
        offered.extend(packages.into_iter().map(|package| (*suite, package)));
    }
    let image = choose::choose(slot.pick, offered.iter().map(|(_, package)| package));
    let Some((image, release)) = image.and_then(|image| Some((image, choose::release(image)?)))
    else {
        bail!("no cloud kernel for {} in {}", slot.name, slot.suites.join(" or "));
    };
    let series = choose::series(&image.version);
    if matches!(slot.pick, Pick::Series(..)) && series != slot.name {
        note!("{}: {} dropped it; taking {series} instead", slot.name, slot.suites.join(" and "));
    }
    if let Some(kernel) = cached(slot)?.filter(|kernel| kernel.version == image.version) {
        return Ok(kernel);
    }
    let target = place::cache("kernels")?.join(slot.name);
    unpack(&offered, image, release, &target)?;
    Ok(kernel(release, &image.version, target))
}

/// Fills a directory beside the target and swaps it in when it is whole.
fn unpack(
    offered: &[(&str, Package)],
    image: &Package,
    release: &str,
    target: &Path,
) -> Result<()> {
    let part = target.with_added_extension("part");
    std::fs::remove_dir_all(&part).ok();
    place::make_dir(&part)?;
    // Since 6.19 the modules and the configuration have packages of their own.
    let names =
        [image.name.clone(), format!("linux-modules-{release}"), format!("linux-base-{release}")];
    let mut debs = Vec::new();
    for name in names {
        let same = |package: &Package| package.name == name && package.version == image.version;
        if let Some((suite, package)) = offered.iter().find(|(_, package)| same(package)) {
            debs.push(archive::fetch(suite, package)?);
        }
    }
    content::take(&debs, &part, release)?;
    std::fs::write(part.join("about"), format!("{release}\n{}\n", image.version))
        .context("cannot write the cached kernel's description")?;
    std::fs::remove_dir_all(target).ok();
    std::fs::rename(&part, target).context("cannot put the kernel into the cache")?;
    for deb in debs {
        std::fs::remove_file(deb).ok();
    }
    Ok(())
}
