//! Playing scenarios: each in a process of its own, so that one that dies
//! takes no other with it and none sees another's memory.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};

use super::declare::{Declaration, Outcome};
use super::need::Undo;
use super::stage::{Given, Message, Skip, Stage, send};
use super::sys::process as proc;
use super::sys::signal::interrupt;
use super::{SCENARIOS, Scenario};

/// What is printed while scenarios play.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Voice {
    /// What they do, for people.
    #[default]
    Prose,
    /// Their declarations, as JSON lines.
    Json,
    /// Nothing.
    None,
}

/// What to play and how to tell of it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The scenarios' names; empty for all.
    pub names: Vec<String>,
    /// What to print.
    pub voice: Voice,
    /// Append the declarations as JSON lines to this file.
    pub declare: Option<PathBuf>,
}

/// Plays scenarios one after another.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let chosen = choose(&options.names)?;
    let mut file = match &options.declare {
        Some(path) => Some(
            File::options()
                .append(true)
                .create(true)
                .open(path)
                .with_context(|| format!("open {} for the declarations", path.display()))?,
        ),
        None => None,
    };
    interrupt::defer().context("catch signals")?;
    let _turn = take_turn()?;
    let mut output = io::stdout().lock();
    let mut tally = [0usize; 3];
    for scenario in chosen {
        let declaration = tell(scenario, options, &mut output)?;
        let mut line = serde_json::to_vec(&declaration)?;
        line.push(b'\n');
        if let Some(file) = &mut file {
            file.write_all(&line).context("write the declaration")?;
        }
        if options.voice == Voice::Json {
            output.write_all(&line)?;
        }
        tally[declaration.outcome as usize] += 1;
        if let Some(signal) = interrupt::seen() {
            bail!("interrupted by signal {signal}; everything is put back");
        }
    }
    if options.voice == Voice::Prose {
        let [done, skipped, failed] = tally;
        writeln!(output, "\n{done} played, {skipped} skipped, {failed} failed")?;
    }
    output.flush()?;
    Ok(ExitCode::from(u8::from(tally[Outcome::Failed as usize] > 0)))
}

/// Plays one and says in words what it does, where that is wanted.
fn tell(
    scenario: &Scenario,
    options: &Options,
    output: &mut impl Write,
) -> anyhow::Result<Declaration> {
    let asked = !options.names.is_empty();
    if options.voice != Voice::Prose {
        return play(scenario, asked, &mut |_| Ok(()));
    }
    writeln!(output, "\n{}: {}", scenario.name, scenario.title)?;
    let declaration = play(scenario, asked, &mut |text| {
        writeln!(output, "  {text}").and_then(|()| output.flush())
    })?;
    if let Some(reason) = &declaration.reason {
        let word = if declaration.outcome == Outcome::Skipped { "skipped" } else { "FAILED" };
        writeln!(output, "  {word}: {reason}")?;
    }
    Ok(declaration)
}

/// The names of the scenarios that these words choose.
pub fn names(words: &[String]) -> anyhow::Result<Vec<&'static str>> {
    Ok(choose(words)?.into_iter().map(|scenario| scenario.name).collect())
}

/// What a scenario does, in a line.
pub(super) fn title(name: &str) -> &'static str {
    find(name).map_or("", |scenario| scenario.title)
}

/// Explains each scenario in two lines.
pub fn list(output: &mut impl Write) -> io::Result<()> {
    for scenario in SCENARIOS {
        writeln!(
            output,
            "{:<18} {}\n{:<18} {}",
            scenario.name, scenario.title, "", scenario.story
        )?;
    }
    Ok(())
}

fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

/// The scenarios of those names. A name that is none's may be a theme's, or
/// the start of several.
fn choose(names: &[String]) -> anyhow::Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(SCENARIOS.iter().collect());
    }
    let mut chosen = Vec::new();
    for name in names {
        if let Some(scenario) = find(name) {
            chosen.push(scenario);
            continue;
        }
        let starts = |one: &Scenario| {
            one.name.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('-'))
        };
        let before = chosen.len();
        chosen.extend(SCENARIOS.iter().filter(|one| one.theme == name || starts(one)));
        if chosen.len() == before {
            bail!("no scenario is called {name:?}: `vmtrace demo --list` names them");
        }
    }
    Ok(chosen)
}

/// Waits for another `vmtrace demo` to end: two would undo each other's settings.
fn take_turn() -> anyhow::Result<Option<File>> {
    let path = std::env::temp_dir().join("vmtrace-demo.lock");
    // Somebody else's file, or no place for one: nothing to wait for.
    let Ok(file) = File::options().append(true).create(true).open(&path) else {
        return Ok(None);
    };
    file.lock()
        .with_context(|| format!("lock {} (descriptor {})", path.display(), file.as_raw_fd()))?;
    Ok(Some(file))
}

/// Provides what a scenario needs, plays it, and puts everything back.
fn play(
    scenario: &Scenario,
    asked: bool,
    say: &mut dyn FnMut(&str) -> io::Result<()>,
) -> anyhow::Result<Declaration> {
    let mut given = Given::default();
    let mut undo = Undo::default();
    for need in scenario.needs {
        if let Err(error) = need.provide(asked, &mut given, &mut undo) {
            let reason = format!("{error:#}");
            return Ok(Declaration::ended(scenario.name, Outcome::Skipped, reason));
        }
    }
    let mut child = start(scenario, &given)?;
    interrupt::running(child.id().cast_signed());
    let declaration = listen(&mut child, say);
    if declaration.is_err() {
        // It may be gone already, which is as good.
        let _ = child.kill();
    }
    let status = child.wait().context("wait for the scenario")?;
    interrupt::running(0);
    Ok(declaration?.unwrap_or_else(|| {
        let reason = format!("it ended without a declaration: {status}");
        Declaration::ended(scenario.name, Outcome::Failed, reason)
    }))
}

fn start(scenario: &Scenario, given: &Given) -> anyhow::Result<Child> {
    Command::new(ourselves())
        .args(["demo", "--child", scenario.name, "--given"])
        .arg(serde_json::to_string(given)?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start a process for the scenario")
}

/// This program by its own name, which a trace shows until the scenario has
/// given itself another. Replaced by a newer one meanwhile, it is still there
/// under the kernel's name for it.
fn ourselves() -> PathBuf {
    let found = std::env::current_exe().ok().filter(|path| path.is_file());
    found.unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}

/// Passes on what the scenario says, up to its declaration.
fn listen(
    child: &mut Child,
    say: &mut dyn FnMut(&str) -> io::Result<()>,
) -> anyhow::Result<Option<Declaration>> {
    let output = child.stdout.take().context("the scenario has no output")?;
    for line in BufReader::new(output).lines() {
        let line = line.context("read what the scenario says")?;
        match serde_json::from_str(&line).with_context(|| format!("understand {line:?}"))? {
            Message::Say(text) => say(&text)?,
            Message::Declare(declaration) => return Ok(Some(*declaration)),
        }
    }
    Ok(None)
}

/// The scenario's process: plays it and declares.
pub fn child(name: &str, given: &str) -> anyhow::Result<ExitCode> {
    let scenario = find(name).with_context(|| format!("no scenario is called {name:?}"))?;
    proc::die_with_parent().context("ask to die with the parent")?;
    proc::rename(name).context("take the scenario's name")?;
    let given = serde_json::from_str(given).context("understand what was given")?;
    let declaration = perform(scenario, given).unwrap_or_else(|error| {
        let skipped = error.downcast_ref::<Skip>().is_some();
        let outcome = if skipped { Outcome::Skipped } else { Outcome::Failed };
        Declaration::ended(scenario.name, outcome, format!("{error:#}"))
    });
    send(&Message::Declare(Box::new(declaration)))?;
    Ok(ExitCode::SUCCESS)
}

fn perform(scenario: &Scenario, given: Given) -> anyhow::Result<Declaration> {
    let mut stage = Stage::new(scenario.name, given)?;
    (scenario.play)(&mut stage)?;
    stage.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_theme_or_a_prefix_names_several() {
        let names = |wanted: &str| -> Vec<_> {
            choose(&[wanted.to_owned()]).unwrap().iter().map(|one| one.name).collect()
        };
        assert_eq!(names("anon-write"), ["anon-write"]);
        assert!(names("anon").contains(&"anon-write"));
        assert!(names("cow").contains(&"fork-child"), "a theme");
        assert!(names("cow").contains(&"cow-file"), "a prefix");
        assert_eq!(names("oom"), ["oom"], "a scenario first");
        assert!(choose(&["ano".to_owned()]).is_err());
    }

    #[test]
    fn the_list_explains_each_in_two_lines() {
        let mut text = Vec::new();
        list(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().count(), 2 * SCENARIOS.len());
        assert!(text.lines().all(|line| line.len() <= 119), "{text}");
    }
}
