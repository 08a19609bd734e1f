//! Children that hold memory: this test program itself, started again.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use crate::memory::Mapping;

const HOLD: &str = "VMTRACE_TEST_HOLD_MIB";
const REGIONS: &str = "VMTRACE_TEST_REGIONS";

/// A child that dies with its owner.
pub(crate) struct Kept(pub(crate) Child);

impl Kept {
    /// Its number.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a child that holds so much memory, and more at each line it is sent.
/// It waits for its first line before it takes any.
pub(crate) fn holder(mib: usize) -> Kept {
    start("children::hold", HOLD, mib)
}

/// Starts a child with so many regions, each of one page.
pub(crate) fn divided(regions: usize) -> Kept {
    start("children::divide", REGIONS, regions)
}

fn start(body: &str, variable: &str, value: usize) -> Kept {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", body, "--ignored", "--nocapture", "--test-threads=1"])
        .env(variable, value.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Kept(child)
}

/// Waits until a child has said that it did what the last line asked for.
pub(crate) fn ready(child: &mut Kept) -> bool {
    let out = child.0.stdout.as_mut().unwrap();
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"ready\n") {
        match out.read(&mut byte) {
            Ok(1) => seen.push(byte[0]),
            Ok(_) | Err(_) => return false,
        }
    }
    true
}

#[test]
#[ignore = "the body of a child process, not a test"]
fn hold() {
    let Ok(mib) = std::env::var(HOLD) else { return };
    let mib: usize = mib.parse().unwrap();
    let mut held = Vec::new();
    for _line in BufReader::new(std::io::stdin()).lines() {
        held.push(vec![7u8; mib << 20]);
        println!("ready");
    }
    drop(held);
}

#[test]
#[ignore = "the body of a child process, not a test"]
fn divide() {
    let Ok(regions) = std::env::var(REGIONS) else { return };
    let regions: usize = regions.parse().unwrap();
    let mapping = Mapping::anonymous(regions * 4096);
    for page in 0..regions {
        mapping.write(page * 4096);
        if page % 2 == 0 {
            assert!(mapping.protect(page * 4096, 4096, libc::PROT_READ));
        }
    }
    println!("ready");
    let _ = std::io::stdin().lines().next();
}
