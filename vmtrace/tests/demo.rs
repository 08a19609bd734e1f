//! The scenarios' declarations, proven without a tracer: every fault that the
//! kernel's software events see in a declared range is declared, and the other
//! way round.

#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "what a test needs")]

mod witness;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use vmtrace::demo::compare::Place;
use vmtrace::demo::declare::{Counter, Declaration, Expectation, Origin, Outcome};
use witness::{Event, Sample, Witness};

/// The program: `VMTRACE` names another than the one just built, as in a guest.
fn vmtrace() -> Command {
    let named = std::env::var_os("VMTRACE");
    Command::new(named.unwrap_or_else(|| env!("CARGO_BIN_EXE_vmtrace").into()))
}

fn play(scenario: &str) -> Declaration {
    let output = vmtrace().args(["demo", "--format", "json", scenario]).output();
    let output = output.expect("run vmtrace");
    let text = String::from_utf8(output.stdout).expect("JSON is text");
    let mut lines = text.lines();
    let line = lines.next().unwrap_or_else(|| {
        panic!("{scenario} declared nothing: {}", String::from_utf8_lossy(&output.stderr))
    });
    assert_eq!(lines.next(), None, "one scenario, one line");
    serde_json::from_str(line).expect("a declaration")
}

fn names() -> Vec<String> {
    let output = vmtrace().args(["demo", "--list"]).output().expect("run vmtrace");
    let text = String::from_utf8(output.stdout).expect("text");
    let first = text.lines().filter(|line| !line.starts_with(' '));
    first.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// Whether the software events see such a fault at its address.
fn witnessed(one: &Expectation) -> bool {
    one.origin == Origin::User || one.origin == Origin::Kernel
}

/// What the witness saw in a place that was not declared there, in words.
fn complaints(place: &Place<'_>, samples: &[Sample]) -> Vec<String> {
    let counted = |event: Event| {
        let here = |one: &&Sample| one.event == event && place.holds(one.pid, one.address);
        samples.iter().filter(here).count() as u64
    };
    let is = |one: &Expectation, counter| witnessed(one) && Counter::of(one.kind) == Some(counter);
    let minor = place.bounds(|one| is(one, Counter::Minor));
    let major = place.bounds(|one| is(one, Counter::Major));
    let any = place.bounds(witnessed);
    let checks = [
        ("minor", counted(Event::Minor), minor.0, minor.1),
        ("major", counted(Event::Major), major.0, major.1),
        ("page", counted(Event::Any), any.0, any.1),
    ];
    let wrong = checks.into_iter().filter(|&(_, seen, low, high)| seen < low || seen > high);
    wrong
        .map(|(name, seen, low, high)| {
            let Place { pid, start, end, .. } = place;
            format!("{pid} {start:#x}..{end:#x}: {seen} {name} faults, declared {low} to {high}")
        })
        .collect()
}

/// Plays a scenario; what its declaration and the witness do not agree on.
fn disagreements(name: &str, witness: &mut Witness) -> Vec<String> {
    let declaration = play(name);
    let samples = witness.samples();
    let reason = declaration.reason.clone().unwrap_or_default();
    if declaration.outcome == Outcome::Failed {
        return vec![reason];
    }
    let places = declaration.places();
    places.iter().flat_map(|place| complaints(place, &samples)).collect()
}

#[test]
fn every_declaration_is_what_the_software_events_saw() {
    let mut witness = match Witness::begin() {
        Ok(witness) => witness,
        Err(error) => {
            println!("not checked: perf_event_open: {error}");
            return;
        }
    };
    let mut wrong = Vec::new();
    for name in names() {
        let mut found = disagreements(&name, &mut witness);
        if !found.is_empty() {
            // Others here share the page cache and the swap: what they disturbed
            // once is played again, and said.
            println!("{name}, once more: {}", found.join("; "));
            found = disagreements(&name, &mut witness);
        }
        wrong.extend(found.into_iter().map(|text| format!("{name}: {text}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_scenario_is_played_in_a_process_of_its_own() {
    let declaration = play("anon-write");
    assert_eq!(declaration.outcome, Outcome::Done);
    let pids: Vec<_> = declaration.expectations.iter().map(|one| one.pid).collect();
    assert_eq!(pids, [declaration.pid]);
    assert_ne!(declaration.pid, play("anon-write").pid);
}

#[test]
fn prose_ends_with_what_the_kernel_counted() {
    let output = vmtrace().args(["demo", "anon-read"]).output().expect("run vmtrace");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success());
    assert!(
        text.contains("256 anon-read; the kernel counted 256 minor, 0 major: agrees"),
        "{text}"
    );
    assert!(text.contains("1 played, 0 skipped, 0 failed"), "{text}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let mut demo = vmtrace()
        .args(["demo", "anon", "invalid"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run vmtrace");
    let mut line = String::new();
    let output = demo.stdout.take().expect("its output");
    BufReader::new(output).read_line(&mut line).expect("a line");
    let ended = demo.wait_with_output().expect("its end");
    assert!(ended.status.success(), "{}", ended.status);
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[test]
fn declarations_are_appended_to_a_file() {
    let path = std::env::temp_dir().join(format!("vmtrace-declare-{}", std::process::id()));
    for scenario in ["null", "unmapped"] {
        let status = vmtrace().args(["demo", scenario, "--declare"]).arg(&path).output();
        assert!(status.expect("run vmtrace").status.success());
    }
    let text = std::fs::read_to_string(&path).expect("the file");
    std::fs::remove_file(&path).expect("remove it");
    let names: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<Declaration>(line).expect("a declaration").scenario)
        .collect();
    assert_eq!(names, ["null", "unmapped"]);
}

#[test]
fn an_unknown_scenario_is_a_usage_error() {
    let output = vmtrace().args(["demo", "nonsense"]).output().expect("run vmtrace");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("vmtrace demo --list"));
}
