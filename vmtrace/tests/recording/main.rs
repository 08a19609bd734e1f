//! Recordings of real traces: a file that reads whatever becomes of the tracer and
//! the disk. They need root; without it they say so and pass. `VMTRACE_LONG=1` kills
//! the tracer fifty times instead of six.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "what a test needs")]

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use vmtrace::synthetic::Numbers;

fn program() -> PathBuf {
    let named = std::env::var_os("VMTRACE");
    named.map_or_else(|| env!("CARGO_BIN_EXE_vmtrace").into(), PathBuf::from)
}

fn vmtrace(words: &[&str]) -> Output {
    Command::new(program()).args(words).stdin(Stdio::null()).output().unwrap()
}

/// Whether tracing works here; says why not.
fn can_trace() -> bool {
    let output = vmtrace(&["--format", "json", "--", "true"]);
    if !output.status.success() {
        println!("skipped: {}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

/// A folder that is gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vmtrace-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How many faults a report counts, and what was said beside it; `None` where
/// nothing could be read.
fn reported(file: &str) -> (Option<u64>, String) {
    let output = vmtrace(&["report", file, "--format", "json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code();
    if code == Some(2) {
        return (None, said);
    }
    assert_eq!(code, Some(0), "{said}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    (json["accounting"]["received"].as_u64(), said)
}

/// Waits until a recording has begun.
fn wait_for(file: &str) {
    let until = Instant::now() + Duration::from_secs(20);
    while fs::metadata(file).map_or(0, |file| file.len()) == 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
}

const BUSY: &str = "while :; do ls /usr/bin > /dev/null; done";

#[test]
fn a_killed_tracer_leaves_a_recording() {
    if !can_trace() {
        return;
    }
    let folder = Folder::new("killed");
    let mut numbers = Numbers::new(31);
    let mut with_faults = 0;
    let rounds = if std::env::var_os("VMTRACE_LONG").is_some() { 50 } else { 10 };
    for round in 0..rounds {
        let file = folder.file(&format!("{round}.vmt"));
        let mut tracer = Command::new(program());
        tracer.args(["-o", &file, "--format", "json", "--", "sh", "-c", BUSY]);
        tracer.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own, so that the command can be ended after it.
        let mut tracer = tracer.process_group(0).spawn().unwrap();
        // Most are killed at work, some while they begin.
        if round % 5 != 0 {
            wait_for(&file);
        }
        std::thread::sleep(Duration::from_millis(numbers.below(900)));
        tracer.kill().unwrap();
        tracer.wait().unwrap();
        let group = format!("-{}", tracer.id());
        Command::new("kill").args(["-9", "--", &group]).stderr(Stdio::null()).status().unwrap();
        let (faults, said) = reported(&file);
        match faults {
            Some(faults) => {
                assert!(said.contains("it has no end") && said.contains("faults in"), "{said}");
                with_faults += u32::from(faults > 0);
            }
            None => assert!(said.contains("reading "), "{said}"),
        }
        // One that was killed early had not made it.
        let _ = fs::remove_file(&file);
    }
    println!("{with_faults} of {rounds} held faults");
    assert!(with_faults * 10 >= rounds, "only {with_faults} of {rounds} held faults");
}

fn mounted(at: &Path) -> bool {
    let words = ["-t", "tmpfs", "-o", "size=256k", "tmpfs"];
    Command::new("mount").args(words).arg(at).status().is_ok_and(|status| status.success())
}

#[test]
fn a_full_disk_ends_the_recording_and_not_the_trace() {
    if !can_trace() {
        return;
    }
    let folder = Folder::new("full");
    if !mounted(&folder.0) {
        println!("skipped: no file system can be mounted");
        return;
    }
    let file = folder.file("full.vmt");
    let script = "i=0; while [ $i -lt 200 ]; do ls /usr/bin > /dev/null; i=$((i+1)); done";
    let live = vmtrace(&["-o", &file, "--format", "json", "--", "sh", "-c", script]);
    let said = String::from_utf8_lossy(&live.stderr).into_owned();
    let (faults, read) = reported(&file);
    let json: serde_json::Value = serde_json::from_slice(&live.stdout).unwrap();
    let unmounted = Command::new("umount").arg(&folder.0).status().unwrap();
    assert!(unmounted.success());
    let traced = json["accounting"]["received"].as_u64().unwrap();
    assert!(said.contains("No space left on device"), "{said}");
    assert!(faults.is_some_and(|faults| faults > 0 && faults < traced), "{faults:?} of {traced}");
    assert!(read.contains("it has no end"), "{read}");
}
