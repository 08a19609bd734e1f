//! Fetching from Debian's mirror, each file once, checked against the index.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};

use super::index::{self, Package};
use crate::place;
use crate::process;
use crate::say::note;

/// The mirror. HTTPS vouches for the index, the index's hash for the package.
const MIRROR: &str = "https://deb.debian.org";

/// How long an index is taken as it is. Suites move a few times a week.
const FRESH: Duration = Duration::from_hours(24);

/// A suite's index, from the cache where it is fresh enough. With the mirror
/// out of reach an old one still serves, and says so.
pub(crate) fn packages(suite: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<Package>> {
    let file = place::cache("debian")?.join(format!("{suite}.Packages.xz"));
    if !is_fresh(&file) {
        let url =
            format!("{MIRROR}/{}/dists/{suite}/main/binary-amd64/Packages.xz", archive(suite));
        note!("fetching the index of Debian's {suite}");
        if let Err(error) = download(&url, &file) {
            if !file.is_file() {
                return Err(error);
            }
            note!("using the index of {suite} fetched earlier: {error:#}");
        }
    }
    let text = process::read(Command::new("xz").arg("-dc").arg(&file))
        .context("the xz program is needed (apt-get install xz-utils)")?;
    Ok(index::parse(&String::from_utf8_lossy(&text), wanted))
}

/// A package's file in the cache, fetched if need be and always checked.
pub(crate) fn fetch(suite: &str, package: &Package) -> Result<PathBuf> {
    let name = package.filename.rsplit('/').next().unwrap_or(&package.filename);
    let file = place::cache("debian")?.join(name);
    if file.is_file() && sha256(&file)? == package.sha256 {
        return Ok(file);
    }
    note!("fetching {name} ({} MiB)", package.size >> 20);
    download(&format!("{MIRROR}/{}/{}", archive(suite), package.filename), &file)?;
    let found = sha256(&file)?;
    if found != package.sha256 {
        std::fs::remove_file(&file).ok();
        bail!("{name} has SHA-256 {found}, but {suite}'s index says {}", package.sha256);
    }
    Ok(file)
}

/// Security suites live in an archive of their own.
fn archive(suite: &str) -> &'static str {
    if suite.ends_with("-security") { "debian-security" } else { "debian" }
}

fn is_fresh(file: &Path) -> bool {
    let age = || SystemTime::now().duration_since(file.metadata().ok()?.modified().ok()?).ok();
    age().is_some_and(|age| age < FRESH)
}

/// Downloads beside the target first: an interrupted fetch leaves no half file.
fn download(url: &str, file: &Path) -> Result<()> {
    let part = file.with_added_extension("part");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--location"]);
    curl.args(["--retry", "3", "--connect-timeout", "20", "--max-time", "600", "--output"]);
    curl.arg(&part).arg(url);
    process::read(&mut curl).with_context(|| {
        format!("cannot fetch {url} (curl is needed: apt-get install curl ca-certificates)")
    })?;
    std::fs::rename(&part, file).with_context(|| format!("cannot keep {}", file.display()))
}

fn sha256(file: &Path) -> Result<String> {
    let text = process::read_text(Command::new("sha256sum").arg("--binary").arg(file))?;
    // A name with odd bytes makes sha256sum begin the line with a backslash.
    let hash = text.trim_start_matches('\\').split(' ').next().unwrap_or_default();
    Ok(hash.to_owned())
}
