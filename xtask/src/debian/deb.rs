//! Unpacking a `.deb`: an `ar` archive with a compressed tar inside.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::place;
use crate::process;

/// Unpacks the named members (all of them when none is named) below `target`.
pub(crate) fn unpack(deb: &Path, target: &Path, members: &[String]) -> Result<()> {
    place::make_dir(target)?;
    let mut reader = data(deb)?
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot read {}", deb.display()))?;
    let Some(stream) = reader.stdout.take() else { bail!("no pipe from the package") };
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--no-same-owner", "--directory"]).arg(target);
    tar.arg("--").args(members).stdin(stream);
    let unpacked = process::run(&mut tar);
    // Our end of the pipe goes with the command: a reader that still writes
    // into it would never end.
    drop(tar);
    let read = reader.wait().context("cannot wait for the package's reader")?;
    unpacked.with_context(|| format!("cannot unpack {}", deb.display()))?;
    if !read.success() {
        bail!("reading {} failed: {read}", deb.display());
    }
    Ok(())
}

/// Lists the members of a package, one path a line.
pub(crate) fn list(deb: &Path) -> Result<Vec<String>> {
    let mut reader = data(deb)?.stdout(Stdio::piped()).spawn()?;
    let Some(stream) = reader.stdout.take() else { bail!("no pipe from the package") };
    let mut tar = Command::new("tar");
    let listed = process::read_piped(tar.arg("--list").stdin(stream));
    drop(tar);
    reader.wait().context("cannot wait for the package's reader")?;
    let listed = listed.with_context(|| format!("cannot list {}", deb.display()))?;
    Ok(String::from_utf8_lossy(&listed).lines().map(str::to_owned).collect())
}

/// A command that prints the package's content as an uncompressed tar.
fn data(deb: &Path) -> Result<Command> {
    if process::find("dpkg-deb").is_some() {
        let mut command = Command::new("dpkg-deb");
        command.arg("--fsys-tarfile").arg(deb);
        return Ok(command);
    }
    let members = process::read_text(Command::new("ar").arg("t").arg(deb))
        .context("dpkg-deb or ar is needed (apt-get install dpkg or binutils)")?;
    let member = members.lines().find(|name| name.starts_with("data.tar"));
    let (member, tool) = match member {
        Some(name @ "data.tar.xz") => (name, "xz"),
        Some(name @ "data.tar.zst") => (name, "zstd"),
        other => bail!("{} has no member we can read ({other:?})", deb.display()),
    };
    let mut command = Command::new("sh");
    command.args(["-c", "ar p \"$1\" \"$2\" | \"$3\" -dc", "sh"]).arg(deb).args([member, tool]);
    Ok(command)
}
