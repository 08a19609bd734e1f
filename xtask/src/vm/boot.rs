//! Booting a guest and following it to its end.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::console;
use super::disk;
use super::image::{self, Content};
use super::machine::{Files, Machine};
use crate::kernel::Kernel;
use crate::place;
use crate::process;

/// How often we look at what the guest wrote.
const GLANCE: Duration = Duration::from_millis(20);

/// How much of the console explains a failure.
const TAIL: usize = 40;

/// A guest to be.
#[derive(Debug)]
pub(crate) struct Guest<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) machine: &'a Machine,
    pub(crate) programs: &'a [PathBuf],
    /// Nothing for an interactive shell.
    pub(crate) command: &'a [String],
    /// A root file system of its own, to be `/peers`.
    pub(crate) tree: Option<&'a Path>,
    /// Where the files in the guest's `/out` go.
    pub(crate) out: Option<&'a Path>,
    /// Pass the command's output on while it runs.
    pub(crate) show: bool,
}

/// How a guest ended that ended well: its kernel stayed sound and its init
/// said how the command fared.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) console: String,
    pub(crate) booted: Duration,
    pub(crate) took: Duration,
}

/// Boots the guest and waits for its end. A panic, an oops, a warning, a hang
/// or silence is an error that carries the console's tail.
pub(crate) fn boot(guest: &Guest<'_>) -> Result<Outcome> {
    let scratch = Scratch::new()?;
    let files = prepare(guest, &scratch.dir)?;
    let interactive = guest.command.is_empty();
    let mut qemu = guest.machine.command(&files, interactive)?;
    if interactive {
        process::run(&mut qemu)?;
        return Ok(Outcome {
            status: 0,
            stdout: String::new(),
            console: String::new(),
            booted: Duration::ZERO,
            took: Duration::ZERO,
        });
    }
    let child = qemu
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run `{}`", process::typed(&qemu)))?;
    let outcome = follow(child, guest, &files)?;
    if let Some(out) = guest.out {
        collect(&files.disk, out)?;
    }
    Ok(outcome)
}

fn prepare(guest: &Guest<'_>, dir: &Path) -> Result<Files> {
    let files = Files {
        image: guest.kernel.image(),
        disk: dir.join("disk"),
        console: dir.join("console"),
        stdout: dir.join("stdout"),
        stderr: dir.join("stderr"),
    };
    let content = Content {
        kernel: guest.kernel,
        programs: guest.programs,
        tree: guest.tree,
        command: guest.command,
        swap: guest.machine.swap,
    };
    let stage = dir.join("stage");
    disk::create(&files.disk)?;
    image::make(&content, &stage, &files.disk).context("cannot make the guest's disk")?;
    std::fs::remove_dir_all(&stage).context("cannot clear the staging directory")?;
    Ok(files)
}

/// Unpacks what the command left in the guest's `/out`.
fn collect(image: &Path, out: &Path) -> Result<()> {
    place::make_dir(out)?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--no-same-owner", "-C"]).arg(out).stdin(Stdio::piped());
    let mut child =
        tar.spawn().with_context(|| format!("cannot run `{}`", process::typed(&tar)))?;
    if let Some(mut pipe) = child.stdin.take() {
        // tar stops at the archive's end and closes the pipe: no error of ours.
        let _ = std::io::copy(&mut disk::mail(image)?, &mut pipe);
    }
    if !child.wait().context("cannot wait for tar")?.success() {
        bail!("the command left nothing in the guest's /out");
    }
    Ok(())
}

/// Passes output on, watches the console, and ends a machine that is done for.
fn follow(mut qemu: Child, guest: &Guest<'_>, files: &Files) -> Result<Outcome> {
    let began = Instant::now();
    let limit = Duration::from_secs(guest.machine.timeout);
    let mut stdout = Growing::new(&files.stdout);
    let mut stderr = Growing::new(&files.stderr);
    let mut log = Growing::new(&files.console);
    let mut booted = None;
    let mut hung = false;
    loop {
        let status = qemu.try_wait().context("cannot wait for QEMU")?;
        log.read();
        let (fresh, complaints) = (stdout.read(), stderr.read());
        if guest.show {
            let _ = std::io::stdout().write_all(&fresh).and_then(|()| std::io::stdout().flush());
            let _ = std::io::stderr().write_all(&complaints);
        }
        if booted.is_none() && log.text().contains("init: ready") {
            booted = Some(began.elapsed());
        }
        if status.is_some() {
            break;
        }
        if began.elapsed() > limit {
            hung = true;
            qemu.kill().ok();
        }
        std::thread::sleep(GLANCE);
    }
    let console = log.text();
    let name = &guest.kernel.release;
    let tail = || console::tail(&console, TAIL);
    if let Some(line) = console::complaint(&console) {
        bail!("{name}: the kernel complained: {line}\n{}", tail());
    }
    if hung {
        bail!("{name}: no end after {} s\n{}", limit.as_secs(), tail());
    }
    let Some(status) = console::exit_status(&console) else {
        bail!("{name}: the guest ended without a word from its init\n{}", tail());
    };
    Ok(Outcome {
        status,
        stdout: stdout.text(),
        console,
        booted: booted.unwrap_or_default(),
        took: began.elapsed(),
    })
}

/// A file that somebody else appends to.
#[derive(Debug)]
struct Growing {
    path: PathBuf,
    file: Option<File>,
    seen: Vec<u8>,
}

impl Growing {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None, seen: Vec::new() }
    }

    /// What came since the last look.
    fn read(&mut self) -> Vec<u8> {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let mut fresh = Vec::new();
        if let Some(file) = &mut self.file {
            let _ = file.read_to_end(&mut fresh);
        }
        self.seen.extend_from_slice(&fresh);
        fresh
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}

/// How many guests this process has booted.
static GUESTS: AtomicUsize = AtomicUsize::new(0);

/// A directory of one guest's own, named `PROCESS-GUEST`, that goes when it does.
#[derive(Debug)]
struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    fn new() -> Result<Self> {
        let all = place::cache("vm")?;
        for child in std::fs::read_dir(&all).context("cannot list .cache/vm")? {
            let child = child?;
            // A process that was killed left its own behind.
            let name = child.file_name().to_string_lossy().into_owned();
            let owner = name.split('-').next().unwrap_or_default();
            if !Path::new("/proc").join(owner).exists() {
                std::fs::remove_dir_all(child.path()).ok();
            }
        }
        let guest = GUESTS.fetch_add(1, Ordering::Relaxed);
        let dir = all.join(format!("{}-{guest}", std::process::id()));
        std::fs::remove_dir_all(&dir).ok();
        place::make_dir(&dir)?;
        Ok(Self { dir })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.dir).ok();
    }
}
