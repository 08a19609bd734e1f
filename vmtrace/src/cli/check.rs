//! `vmtrace demo --check`: a trace of the demo, held against what its scenarios
//! declare.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::demo;
use crate::demo::check::{self, Check, Trace};
use crate::demo::compare::Seen;
use crate::demo::declare::Declaration;
use crate::fault::{Fault, Kind};
use crate::pipeline::{Observer, Options, Pipeline};
use crate::probe::backend::Backend;
use crate::probe::session::{self, Session};
use crate::probe::target::Target;
use crate::region::{Place, World};
use crate::sys::held::Held;
use crate::sys::priority;
use crate::term::Screen;

/// The rings are looked at this often: what a scenario that thrashes faults in
/// between has to fit.
const TICK: Duration = Duration::from_millis(2);
/// Progress is shown once in so many.
const TICKS_SHOWN: u32 = 25;

/// Every fault, as a checker wants it.
#[derive(Debug, Default)]
struct Faults(Vec<Seen>);

impl Observer for Faults {
    fn fault(&mut self, fault: &Fault, kind: Kind, _: &Place, _: &World) {
        let Fault { pid, address, latency, .. } = *fault;
        self.0.push(Seen { pid, address, kind, latency });
    }
}

/// Plays the scenarios traced, and prints the page.
pub(super) fn run(words: &[String], backend: Option<Backend>) -> anyhow::Result<ExitCode> {
    let names = demo::names(words)?;
    let notes = Notes::new(names)?;
    let (tell, over) = mpsc::channel();
    let mut command = Held::start(&notes.command(words)?, move || {
        // Nobody listens any more where attaching failed.
        let _ = tell.send(());
    })
    .context("starting the demo")?;
    // After the command is started: it stays where it is.
    priority::before_others();
    let mut options = session::Options::new(Target::Pids(vec![command.pid()]));
    options.backend = backend;
    let mut session = Session::start(&options)?;
    let preface = session.preface().clone();
    let options = Options::for_backend(&preface.backend);
    let mut pipeline = Pipeline::observed(options, Faults::default());
    let began = Instant::now();
    command.release().context("starting the demo")?;
    let mut ticks = 0_u32;
    while over.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        session.drain(&mut pipeline);
        ticks = ticks.wrapping_add(1);
        if ticks.is_multiple_of(TICKS_SHOWN) {
            notes.progress()?;
        }
    }
    session.stop(&mut pipeline);
    notes.clear()?;
    let spilled = pipeline.stream().spilled;
    if spilled > 0 {
        let what = "faults found their ring full: they are counted, but not one by one as here";
        writeln!(io::stderr(), "vmtrace: {spilled} {what}")?;
    }
    let status = command.wait().context("running the demo")?;
    let declarations = notes.read()?;
    ensure!(!declarations.is_empty(), "the demo declared nothing and ended with {status}");
    let faults = std::mem::take(&mut pipeline.observer_mut().0);
    let trace =
        Trace { backend: preface.backend, kernel: preface.kernel, took: began.elapsed(), faults };
    let check = Check::new(&declarations, &trace);
    let agrees = check.agrees();
    let mut out = io::BufWriter::new(io::stdout().lock());
    check::write(&mut out, &Screen::of_stdout(), check)?;
    out.flush()?;
    Ok(ExitCode::from(u8::from(!agrees)))
}

/// A file in memory alone, to which the demo writes its declarations.
#[derive(Debug)]
struct Notes {
    file: File,
    names: Vec<&'static str>,
    shown: bool,
}

impl Notes {
    fn new(names: Vec<&'static str>) -> anyhow::Result<Self> {
        let file = demo::memory_file().context("making a file in memory")?;
        Ok(Self { file, names, shown: io::stderr().is_terminal() })
    }

    /// The demo that writes to it: this program, without a word of its own.
    fn command(&self, words: &[String]) -> anyhow::Result<Vec<OsString>> {
        let ourselves = std::env::current_exe().context("finding vmtrace itself")?;
        let file = format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd());
        let fixed = ["demo", "--format", "none", "--declare", &file].map(OsString::from);
        let words = words.iter().map(OsString::from);
        Ok([ourselves.into()].into_iter().chain(fixed).chain(words).collect())
    }

    fn text(&self) -> anyhow::Result<String> {
        let mut bytes = vec![0; usize::try_from(self.file.metadata()?.len())?];
        self.file.read_exact_at(&mut bytes, 0).context("reading the declarations")?;
        String::from_utf8(bytes).context("reading the declarations")
    }

    fn read(&self) -> anyhow::Result<Vec<Declaration>> {
        let text = self.text()?;
        let read = |line| serde_json::from_str(line).context("understanding a declaration");
        text.lines().map(read).collect()
    }

    /// Says which scenario is being played, to whoever waits.
    fn progress(&self) -> anyhow::Result<()> {
        if self.shown {
            let (done, all) = (self.text()?.lines().count(), self.names.len());
            let name = self.names.get(done).unwrap_or(&"");
            write!(io::stderr(), "\r\x1b[Kplaying {done} of {all}: {name}")?;
        }
        Ok(())
    }

    fn clear(&self) -> io::Result<()> {
        if self.shown { write!(io::stderr(), "\r\x1b[K") } else { Ok(()) }
    }
}
