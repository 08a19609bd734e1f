//! The process that is looked at. It is held by its directory in `/proc`, so a
//! process that takes over its number later is never mistaken for it.

use std::fs::File;
use std::io::{self, Read as _};

use anyhow::{Context as _, anyhow};
use procfs::ProcError;
use procfs::process::Process;

/// A process, held.
#[derive(Debug)]
pub struct Subject {
    process: Process,
    /// Its number.
    pub pid: i32,
    /// Its name, as the kernel has it: hostile.
    pub comm: String,
    /// Its program's path; `None` for a kernel thread or where it may not be read.
    pub exe: Option<String>,
}

impl Subject {
    /// Takes hold of a process.
    pub fn open(pid: i32) -> anyhow::Result<Self> {
        let process = Process::new(pid).map_err(|error| {
            if matches!(error, ProcError::NotFound(_)) {
                anyhow!("there is no process {pid}: it has gone, or lives in another PID namespace")
            } else {
                anyhow!("cannot look at process {pid}: {error}")
            }
        })?;
        let comm = process.stat().context("reading the process's name")?.comm;
        let exe = process.exe().ok().map(|path| path.to_string_lossy().into_owned());
        Ok(Self { process, pid, comm, exe })
    }

    /// Whether it still exists.
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// `/proc/PID/status`, parsed.
    pub fn status(&self) -> Result<procfs::process::Status, ProcError> {
        self.process.status()
    }

    /// One of its files in `/proc`.
    pub fn file(&self, name: &str) -> io::Result<File> {
        self.process.open_relative(name).map_err(|error| plain(error, self.pid, name))
    }

    /// One of its files, whole.
    pub fn text(&self, name: &str) -> io::Result<String> {
        let mut raw = Vec::new();
        self.file(name)?.read_to_end(&mut raw).map_err(|error| explain(&error, self.pid, name))?;
        Ok(String::from_utf8_lossy(&raw).into_owned())
    }

    /// Its threads' numbers.
    pub fn threads(&self) -> Vec<i32> {
        let tasks = self.process.tasks().into_iter().flatten();
        tasks.filter_map(Result::ok).map(|task| task.tid).collect()
    }
}

fn plain(error: ProcError, pid: i32, name: &str) -> io::Error {
    match error {
        ProcError::PermissionDenied(_) => {
            explain(&io::Error::from(io::ErrorKind::PermissionDenied), pid, name)
        }
        ProcError::NotFound(_) => explain(&io::Error::from(io::ErrorKind::NotFound), pid, name),
        ProcError::Io(error, _) => explain(&error, pid, name),
        other @ (ProcError::Incomplete(_) | ProcError::Other(_) | ProcError::InternalError(_)) => {
            io::Error::other(other)
        }
    }
}

/// The error in words that say what to do.
fn explain(error: &io::Error, pid: i32, name: &str) -> io::Error {
    let kind = error.kind();
    let why = if kind == io::ErrorKind::PermissionDenied {
        format!("/proc/{pid}/{name} may be read only by the process's own user or root")
    } else if kind == io::ErrorKind::NotFound {
        format!("/proc/{pid}/{name} does not exist: the process has gone, or this kernel lacks it")
    } else if error.raw_os_error() == Some(libc::ESRCH) {
        format!("process {pid} went while it was being looked at")
    } else {
        format!("/proc/{pid}/{name}: {error}")
    };
    io::Error::new(kind, why)
}
