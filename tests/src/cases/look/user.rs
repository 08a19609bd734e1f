//! A user without any privilege gets an answer from each command.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::harness::{Verdict, fact};
use crate::{sys, tool};

/// `nobody`.
const NOBODY: u32 = 65534;

pub(super) fn useful() -> Result<Verdict> {
    // What root built may lie where others cannot reach.
    let copy = std::env::temp_dir().join(format!("vmtrace-look-{}", std::process::id()));
    std::fs::copy(tool::path()?, &copy).context("cannot copy vmtrace")?;
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
    let mut own = as_nobody(Path::new("sleep")).arg("60").stdout(Stdio::null()).spawn()?;
    // Until it is what it will be.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let looked = look_at(&copy, &own);
    own.kill().ok();
    own.wait().ok();
    std::fs::remove_file(&copy).context("cannot remove the copy of vmtrace")?;
    looked.map(|()| Verdict::Passed)
}

fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").stdin(Stdio::null());
    if sys::is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn look_at(vmtrace: &Path, own: &Child) -> Result<()> {
    let pid = own.id().to_string();
    let ask = |words: &[&str]| -> Result<Value> {
        let mut command = as_nobody(vmtrace);
        let output = tool::output(command.args(words).args(["--format", "json"]))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{words:?} ended with {}: {said}", output.status);
        serde_json::from_slice(&output.stdout).with_context(|| format!("{words:?}: no JSON"))
    };
    let maps = ask(&["maps", &pid])?;
    let regions = maps["regions"].as_array().context("no regions")?;
    ensure!(regions.len() > 4, "only {} regions", regions.len());
    ensure!(maps["totals"]["rss"].as_u64() > Some(0), "no totals: {}", maps["totals"]);
    ensure!(maps["kernel_totals"]["Rss"].as_u64() > Some(0), "no totals of the kernel's");
    let pages = regions.iter().filter(|region| region["pages"]["resident"].as_u64() > Some(0));
    ensure!(pages.count() > 2, "the page map of one's own process is not used");
    let walk = ask(&["walk", &pid, "[stack]"])?;
    ensure!(walk["page"]["state"] == "mapped", "the stack is {}", walk["page"]);
    let read = &walk["verdicts"][0];
    ensure!(read["faults"] == false, "a read of the stack would fault: {read}");
    let why = walk["unseen"].to_string();
    ensure!(why.contains("CAP_BPF"), "it does not say why no entries are shown: {why}");
    let system = ask(&["system", "--over", "100ms"])?;
    ensure!(system["memory"]["meminfo"]["MemTotal"].as_u64() > Some(0), "no memory");
    ensure!(system["verdict"]["sentence"].is_string(), "no sentence: {}", system["verdict"]);
    let oom = ask(&["oom"])?;
    let ranked = oom["arenas"][0]["ranked"].as_array().context("no ranking")?;
    let found = ranked.iter().any(|one| one["process"]["pid"] == own.id());
    ensure!(found, "one's own process is not ranked");
    fact("an ordinary user's walk", &why);
    Ok(())
}
