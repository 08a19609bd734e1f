//! Running other programs, and saying which one failed and how.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The command as it would be typed.
pub(crate) fn typed(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs a command that has to succeed; its output goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run `{}`", typed(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", typed(command));
    }
    Ok(())
}

/// Runs a command that has to succeed and hands back what it printed.
pub(crate) fn read(command: &mut Command) -> Result<Vec<u8>> {
    read_piped(command.stdin(Stdio::null()))
}

/// As [`read`], with the standard input that the command was given.
pub(crate) fn read_piped(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("cannot run `{}`", typed(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}: {}", typed(command), output.status, said.trim());
    }
    Ok(output.stdout)
}

/// As [`read`], for text.
pub(crate) fn read_text(command: &mut Command) -> Result<String> {
    let text = String::from_utf8_lossy(&read(command)?).trim().to_owned();
    Ok(text)
}

/// Where a program is, looked for as a root shell would: an ordinary user's
/// PATH often lacks the `sbin` directories.
pub(crate) fn find(program: impl AsRef<OsStr>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).collect::<Vec<_>>();
    let extra = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    dirs.into_iter().chain(extra).map(|dir| dir.join(program.as_ref())).find(|file| file.is_file())
}
