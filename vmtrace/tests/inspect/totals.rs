//! What the regions add up to is what the kernel and `pmap -X` add up to.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use vmtrace::inspect::maps::field::{Amounts, Field, TABLE};
use vmtrace::inspect::maps::look::{Space, Wanted, look};
use vmtrace::inspect::maps::smaps;
use vmtrace::inspect::subject::Subject;

use crate::children::Kept;

/// Amounts that are shares of pages.
const ROUNDED: [Field; 3] = [Field::Pss, Field::PssDirty, Field::SwapPss];

/// How often a process is looked at that changes meanwhile.
const TRIES: usize = 4;

enum Outcome {
    Agrees,
    /// It changed at every try.
    Restless,
    /// It may not be read, has gone, or has no memory.
    Nothing,
}

fn check(pid: i32) -> Outcome {
    let Ok(subject) = Subject::open(pid) else { return Outcome::Nothing };
    let mut differences = Vec::new();
    for _try in 0..TRIES {
        let Ok(before) = subject.text("smaps_rollup") else { return Outcome::Nothing };
        let space = look(&subject, Wanted { cells: 0, nodes: false });
        let pmap = pmap(pid).unwrap_or_default();
        let Ok(after) = subject.text("smaps_rollup") else { return Outcome::Nothing };
        if before != after || space.regions.is_empty() {
            continue;
        }
        match difference(&space, &smaps::rollup(&after).0, &pmap) {
            None => return Outcome::Agrees,
            Some(difference) => differences.push(format!("{difference} of {pid} ({})", space.comm)),
        }
    }
    // A process may change and change back between two looks, but not every time.
    assert!(differences.len() < TRIES, "{differences:?}");
    Outcome::Restless
}

/// What does not agree, if anything.
fn difference(space: &Space, kernel: &Amounts, pmap: &BTreeMap<String, u64>) -> Option<String> {
    let sum = space.sum();
    for (field, name, _) in TABLE {
        let (Some(ours), Some(theirs)) = (sum.get(field), kernel.get(field)) else { continue };
        // Each region's share is rounded down before it is added up; the kernel's
        // own total is rounded once.
        let slack = if ROUNDED.contains(&field) { space.regions.len() as u64 * 1024 } else { 0 };
        if !(ours..=ours + slack).contains(&theirs) {
            return Some(format!("{name}: {ours}, the kernel's {theirs}"));
        }
    }
    // pmap maps the libraries that it looks at: while it runs, shares are smaller.
    let exact = pmap.iter().filter_map(|(name, kib)| Some((Field::named(name.as_bytes())?, kib)));
    let mut differing = exact.filter(|(field, _)| !ROUNDED.contains(field));
    differing
        .find(|&(field, &kib)| sum.of(field) != kib * 1024)
        .map(|(field, kib)| format!("{}: {}, pmap's {kib} KiB", field.key(), sum.of(field)))
}

/// The totals of `pmap -X`, in KiB, where it is installed.
fn pmap(pid: i32) -> Option<BTreeMap<String, u64>> {
    let output = Command::new("pmap").arg("-X").arg(pid.to_string()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let heads = text.lines().find(|line| line.trim_start().starts_with("Address"))?;
    let heads = heads.split_whitespace().skip_while(|head| *head != "Inode").skip(1);
    let total = text.lines().rev().find(|line| line.trim_end().ends_with("KB"))?;
    let numbers = total.split_whitespace().map_while(|word| word.parse().ok());
    Some(heads.map(str::to_owned).zip(numbers).collect())
}

/// Programs as people run them, where they are installed.
fn programs() -> Vec<Kept> {
    let commands: [&[&str]; 6] = [
        &["sh", "-c", "read x"],
        &["sleep", "60"],
        &["python3", "-c", "import json, ssl, time; x = bytearray(9 << 20); time.sleep(60)"],
        &["redis-server", "--port", "0", "--save", ""],
        &["node", "-e", "setTimeout(() => {}, 60000)"],
        &["perl", "-e", "sleep 60"],
    ];
    let mut started = Vec::new();
    for command in commands {
        let child = Command::new(command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => started.push(Kept(child)),
            Err(error) => println!("skipped {}: {error}", command[0]),
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(1500));
    started
}

#[test]
fn totals_agree_with_the_kernel_and_pmap() {
    if pmap(i32::try_from(std::process::id()).unwrap()).is_none() {
        println!("pmap is not installed (procps): compared with smaps_rollup only");
    }
    let mut started = programs();
    for child in &mut started {
        if child.0.try_wait().unwrap().is_none() {
            let outcome = check(child.pid());
            assert!(matches!(outcome, Outcome::Agrees), "a child of our own sits still");
        }
    }
    let own = std::env::current_exe().unwrap();
    let (mut agreed, mut restless) = (0, 0);
    for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // This process and the other tests' children are busy with other things.
        if std::fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == own) {
            continue;
        }
        match check(pid) {
            Outcome::Agrees => agreed += 1,
            Outcome::Restless => restless += 1,
            Outcome::Nothing => {}
        }
    }
    println!("{agreed} processes agree to the kilobyte, {restless} would not sit still");
    assert!(agreed > 0);
}
