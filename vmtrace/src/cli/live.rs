//! A live trace: the session's records on their way to what is shown, until
//! something ends it.

use std::ffi::OsString;
use std::future::pending;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::log::KernelLog;
use super::record::{Takers, Tape};
use super::show::{Meanwhile, Show};
use super::trace::{Request, Target};
use crate::probe::session::{Options, Session};
use crate::probe::spills::Tables;
use crate::probe::target;
use crate::sys::alarm::Alarm;
use crate::sys::clock::monotonic_ns;
use crate::sys::held::Held;
use crate::sys::{pidfd, priority, ready};

/// The rings are looked at this often even if none is half full.
const TICK: Duration = Duration::from_millis(50);
/// The same while there is nothing in them.
const QUIET_TICK: Duration = Duration::from_millis(200);

/// Traces as asked; the exit status is the command's, where there is one.
pub fn trace(request: &Request) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(request))
}

async fn run(request: &Request) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let tape = Tape::create(request)?;
    let (mut command, over) = start_command(&request.target)?;
    // After the command is started: it stays where it is.
    priority::before_others();
    let mut session = Session::start(&options(request, command.as_ref()))?;
    let over = match over {
        Some(over) => Some(over),
        None => watch(&request.target)?,
    };
    let (meanwhile, every) = request.meanwhile();
    let show = Show::new(&request.view, session.preface(), meanwhile);
    let mut takers = tape.beside(show, session.preface(), request.max_size)?;
    for degradation in &session.preface().degradations {
        writeln!(io::stderr(), "vmtrace: on this kernel {degradation}")?;
    }
    if let Some(command) = &mut command {
        command.release().context("starting the command")?;
    }
    let ended = follow(request, &mut session, &mut takers, every, over, &mut signals).await;
    session.stop(&mut takers);
    // The recording is whole whatever became of the rest.
    let show = takers.finish_recording(&mut io::stderr())?;
    ended?;
    // The command first: if it never became its program there is nothing to show.
    let status = command.map(|command| wait(command, request)).transpose()?;
    show.finish(&mut io::stderr())?;
    Ok(status.map_or(ExitCode::SUCCESS, exit_code))
}

/// Drains until the trace is over.
async fn follow(
    request: &Request,
    session: &mut Session,
    takers: &mut Takers,
    every: Duration,
    over: Option<oneshot::Receiver<()>>,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let log = KernelLog::of(session, request.verbose)?;
    let bell = ready::readable(session.bell()?)?;
    let alarm = Alarm::new()?;
    alarm.set(TICK.min(every))?;
    let shows = request.meanwhile().0 != Meanwhile::Nothing;
    let mut show_tick = interval(every);
    show_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    show_tick.tick().await;
    let over = async {
        match over {
            Some(over) => drop(over.await),
            None => pending().await,
        }
    };
    let time_is_up = async {
        match request.duration {
            Some(duration) => sleep(duration).await,
            None => pending().await,
        }
    };
    tokio::pin!(over, time_is_up);
    let mut asked = false;
    loop {
        tokio::select! {
            biased;
            () = signals.any() => {
                // A command has the terminal's signal too: its end is ours.
                if asked || !matches!(request.target, Target::Command(_)) {
                    return Ok(());
                }
                asked = true;
            }
            () = &mut over => return Ok(()),
            () = &mut time_is_up => return Ok(()),
            _ = show_tick.tick(), if shows => takers.show.interval(monotonic_ns())?,
            ready = bell.readable() => ready?.clear_ready(),
            rang = alarm.ring() => rang?,
        }
        session.drain(takers);
        let wait = if session.is_quiet() { QUIET_TICK } else { TICK };
        takers.after_drain(&mut io::stderr())?;
        log.flush();
        alarm.set(wait.min(every))?;
    }
}

fn options(request: &Request, command: Option<&Held>) -> Options {
    let target = match (&request.target, command) {
        (Target::Pids(pids), _) => target::Target::Pids(pids.clone()),
        (Target::Cgroup(path), _) => target::Target::Cgroup(path.clone()),
        (Target::All | Target::Command(_), None) => target::Target::All,
        (_, Some(command)) => target::Target::Pids(vec![command.pid()]),
    };
    let mut options = Options::new(target);
    options.backend = request.backend;
    options.ring_size = request.ring_size;
    options.follow = request.follow;
    options.min_latency = request.view.min_latency;
    options.only_major = request.view.only_major();
    options.tlb_events = request.view.events;
    options.verbose = request.verbose;
    if request.tally {
        // Twice an interval, so that what is shown is not the interval before.
        let every = request.interval.unwrap_or(Duration::from_secs(1)) / 2;
        options.tally = Some(every);
        options.tables = Tables::TALLY;
        options.ring_size = 0;
    }
    if let Target::Command(words) = &request.target {
        options.named = Some(describe(words));
    }
    options
}

fn describe(words: &[OsString]) -> String {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    format!("command {}", words.join(" "))
}

/// Starts the command, held; the other end hears when it is over.
fn start_command(target: &Target) -> anyhow::Result<(Option<Held>, Option<oneshot::Receiver<()>>)> {
    let Target::Command(words) = target else { return Ok((None, None)) };
    let program = words.first().context("no command")?;
    if !runs(program) {
        bail!("there is no program {}: give its path, or check PATH", program.display());
    }
    let (tell, over) = oneshot::channel();
    let held = Held::start(words, move || {
        // Nobody listens any more once the trace was stopped.
        let _ = tell.send(());
    })
    .with_context(|| format!("starting {}", program.display()))?;
    Ok((Some(held), Some(over)))
}

fn runs(program: &OsString) -> bool {
    let path = Path::new(program);
    if path.components().count() > 1 {
        return path.is_file();
    }
    let places = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&places).any(|place| place.join(path).is_file())
}

/// Hears when all the processes that were asked for have ended.
fn watch(target: &Target) -> anyhow::Result<Option<oneshot::Receiver<()>>> {
    let Target::Pids(pids) = target else { return Ok(None) };
    let (tell, over) = oneshot::channel();
    let watched: Vec<_> = pids.iter().filter_map(|&pid| pidfd::open(pid).ok()).collect();
    std::thread::Builder::new()
        .name("vmtrace-exit".to_owned())
        .spawn(move || {
            for process in watched {
                pidfd::wait(&process);
            }
            // Nobody listens any more once the trace was stopped.
            let _ = tell.send(());
        })
        .context("watching for the processes' end")?;
    Ok(Some(over))
}

fn wait(command: Held, request: &Request) -> anyhow::Result<ExitStatus> {
    let Target::Command(words) = &request.target else { bail!("no command") };
    let name = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    command.wait().with_context(|| format!("cannot run {name}"))
}

/// As a shell tells it: 128 and the signal's number for one that was killed.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// What ends a trace from outside.
struct Signals([tokio::signal::unix::Signal; 3]);

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn any(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
