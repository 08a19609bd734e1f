//! Whom to trace, how long, how, and what to write where.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::Row;
use super::bench::{Bench, faults, len, pids};
use crate::child::Kept;
use crate::{sys, tool};

pub(super) const ROWS: &[Row] = &[
    ("", "--pid", pid),
    ("", "--all", all),
    ("", "--cgroup", cgroup),
    ("", "--no-follow", no_follow),
    ("", "--duration", duration),
    ("", "--format", format),
    ("", "--events", events),
    ("", "--interval", interval),
    ("", "--output", output),
    ("", "--force", force),
    ("", "--max-size", max_size),
    ("", "--backend", backend),
    ("", "--ring-size", ring_size),
    ("", "--tally", tally),
    ("", "--verbose", verbose),
    ("doctor", "--format", doctor),
    ("demo", "--list", demo_list),
    ("demo", "--format", demo_format),
    ("demo", "--declare", demo_declare),
    ("demo", "--check", demo_check),
    ("demo", "--backend", demo_backend),
];

/// A command with children.
const CHILDREN: [&str; 4] = ["--", "sh", "-c", "sleep 0; sleep 0; true"];

fn with(options: &[&'static str], command: &[&'static str]) -> Vec<&'static str> {
    [options, command].concat()
}

fn pid(bench: &Bench) -> Result<()> {
    let pid = bench.pid();
    let json = bench.traced(&["-p", &pid, "-d", "1s"])?;
    ensure!(pids(&json) == [pid.parse::<u64>()?], "processes are {:?}", pids(&json));
    ensure!(faults(&json) >= 256, "only {} faults", faults(&json));
    Ok(())
}

fn all(bench: &Bench) -> Result<()> {
    // Others begin meanwhile.
    let others = Kept::start(&["sh", "-c", "while :; do sleep 0.1; done"])?;
    let pids = pids(&bench.traced(&["-a", "-d", "1s"])?);
    drop(others);
    let one = bench.pid().parse::<u64>()?;
    ensure!(pids.contains(&one) && pids.len() > 1, "{one} and others are not among {pids:?}");
    Ok(())
}

fn cgroup(bench: &Bench) -> Result<()> {
    let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"];
    let mount = mounts.iter().map(Path::new).find(|mount| mount.join("cgroup.procs").is_file());
    let mount = mount.context("no cgroups are mounted")?;
    let group = mount.join(format!("vmtrace-options-{}", std::process::id()));
    std::fs::create_dir(&group).context("making a cgroup")?;
    let pid = bench.pid();
    let traced = std::fs::write(group.join("cgroup.procs"), &pid)
        .map_err(Into::into)
        .and_then(|()| bench.traced(&["--cgroup", group.to_str().unwrap_or_default(), "-d", "1s"]));
    std::fs::write(mount.join("cgroup.procs"), &pid)?;
    std::fs::remove_dir(&group).context("removing the cgroup")?;
    let pids = pids(&traced?);
    ensure!(pids == [pid.parse::<u64>()?], "processes are {pids:?}");
    Ok(())
}

fn no_follow(bench: &Bench) -> Result<()> {
    let all = bench.json(&with(&["--format", "json"], &CHILDREN))?;
    let one = bench.json(&with(&["--format", "json", "--no-follow"], &CHILDREN))?;
    let (all, one) = (len(&all["processes"]), len(&one["processes"]));
    ensure!(one == 1 && all == 3, "{one} process without children and {all} with");
    Ok(())
}

fn duration(bench: &Bench) -> Result<()> {
    let pid = bench.pid();
    let json = bench.json(&["-p", &pid, "-d", "300ms", "--format", "json"])?;
    let took = json["duration_ns"].as_u64().context("no duration")?;
    ensure!(took < 20_000_000_000, "it took {took} ns");
    Ok(())
}

fn format(bench: &Bench) -> Result<()> {
    let text = bench.ran(&["--", "true"])?;
    let json = bench.ran(&["--format", "json", "--", "true"])?;
    ensure!(json.starts_with('{') && !text.starts_with('{'), "{json:.60} {text:.60}");
    Ok(())
}

fn events(bench: &Bench) -> Result<()> {
    let text = bench.ran(&["--events", "--format", "json", "--", "true"])?;
    let faults = text.lines().filter(|line| line.contains("\"kind\":")).count();
    ensure!(faults > 10 && !text.contains("schema"), "{faults} lines of faults: {text:.200}");
    Ok(())
}

fn interval(bench: &Bench) -> Result<()> {
    let pid = bench.pid();
    let blocks = |options: &[&str]| -> Result<usize> {
        let mut words = vec!["-p", pid.as_str(), "-d", "1s"];
        words.extend(options);
        Ok(bench.ran(&words)?.lines().filter(|line| line.contains("faults so far")).count())
    };
    let (none, some) = (blocks(&[])?, blocks(&["-i", "200ms"])?);
    ensure!(none == 0 && some >= 2, "{none} blocks without and {some} with");
    Ok(())
}

fn output(bench: &Bench) -> Result<()> {
    let file = bench.file("output.vmt");
    bench.ran(&["-o", &file, "--", "true"])?;
    let json = bench.json(&["report", &file, "--format", "json"])?;
    ensure!(faults(&json) > 10, "only {} faults were recorded", faults(&json));
    Ok(())
}

fn force(bench: &Bench) -> Result<()> {
    let file = bench.file("force.vmt");
    std::fs::write(&file, "here before")?;
    bench.refuses(&["-o", &file, "--", "true"], "--force")?;
    bench.ran(&["-o", &file, "--force", "--", "true"])?;
    bench.json(&["report", &file, "--format", "json"]).map(drop)
}

fn max_size(bench: &Bench) -> Result<()> {
    let program = tool::ourselves()?;
    let program = program.to_str().unwrap_or_default();
    let size = |options: &[&str], file: &str| -> Result<u64> {
        let mut words = vec!["-o", file];
        words.extend(options);
        words.extend(["--", program, "workload", "mixed", "2", "600"]);
        bench.ran(&words)?;
        Ok(std::fs::metadata(file)?.len())
    };
    let all = size(&[], &bench.file("all-of-it.vmt"))?;
    let newest = size(&["--max-size", "1M"], &bench.file("newest.vmt"))?;
    ensure!(newest <= 1 << 20 && all > 1 << 20, "{newest} and {all} bytes");
    Ok(())
}

/// Each that works is used, each that does not is refused.
fn backend(bench: &Bench) -> Result<()> {
    let usable = tool::backends()?;
    for name in ["fentry", "kprobe", "tracepoint"] {
        if usable.iter().any(|one| one == name) {
            let json = bench.json(&["--backend", name, "--format", "json", "--", "true"])?;
            ensure!(json["backend"] == name, "{name} gave {}", json["backend"]);
        } else {
            bench.refuses(&["--backend", name, "--", "true"], name)?;
        }
    }
    Ok(())
}

fn ring_size(bench: &Bench) -> Result<()> {
    let program = tool::ourselves()?;
    let program = program.to_str().unwrap_or_default();
    let spilled = |size, cycles| -> Result<u64> {
        let words = ["--ring-size", size, "--format", "json", "--", program, "workload"];
        let json = bench.json(&[&words[..], &["mixed", "8", cycles]].concat())?;
        json["accounting"]["spilled"].as_u64().context("no account")
    };
    let (small, large) = (spilled("4K", "40")?, spilled("64M", "10")?);
    ensure!(small > 1000 && large == 0, "{small} spilled from 4K and {large} from 64M");
    Ok(())
}

fn tally(bench: &Bench) -> Result<()> {
    let json = bench.json(&["--tally", "--format", "json", "--", "true"])?;
    let (emitted, spilled) = (&json["accounting"]["emitted"], &json["accounting"]["spilled"]);
    ensure!(*emitted == 0 && spilled.as_u64() > Some(10), "{emitted} sent, {spilled} tallied");
    Ok(())
}

fn verbose(bench: &Bench) -> Result<()> {
    let said = |words: &[&str]| -> Result<String> {
        Ok(String::from_utf8_lossy(&bench.output(words)?.stderr).into_owned())
    };
    let (quiet, loud) = (said(&with(&[], &CHILDREN))?, said(&with(&["-v"], &CHILDREN))?);
    let kernel = "kernel: tracing thread";
    ensure!(loud.contains(kernel) && !quiet.contains(kernel), "it says: {loud}");
    Ok(())
}

fn doctor(bench: &Bench) -> Result<()> {
    let (text, json) = (bench.ran(&["doctor"])?, bench.ran(&["doctor", "--format", "json"])?);
    ensure!(json.starts_with('{') && !text.starts_with('{'), "{json:.60} {text:.60}");
    Ok(())
}

fn demo_list(bench: &Bench) -> Result<()> {
    let text = bench.ran(&["demo", "--list"])?;
    ensure!(text.contains("fork-child") && !text.contains("played"), "{text:.200}");
    Ok(())
}

fn demo_format(bench: &Bench) -> Result<()> {
    let text = bench.ran(&["demo", "null"])?;
    let json = bench.ran(&["demo", "null", "--format", "json"])?;
    ensure!(json.starts_with('{') && !text.starts_with('{'), "{json:.60} {text:.60}");
    Ok(())
}

fn demo_check(bench: &Bench) -> Result<()> {
    let text = bench.ran(&["demo", "--check", "null"])?;
    ensure!(text.contains("expected") && text.contains("observed"), "{text:.400}");
    Ok(())
}

fn demo_backend(bench: &Bench) -> Result<()> {
    let text = bench.ran(&["demo", "--check", "null", "--backend", "tracepoint"])?;
    ensure!(text.contains("tracepoint"), "{text:.400}");
    Ok(())
}

fn demo_declare(bench: &Bench) -> Result<()> {
    let file = bench.file("declared");
    bench.ran(&["demo", "null", "--declare", &file])?;
    let text = std::fs::read_to_string(&file).context("no declaration")?;
    ensure!(text.contains("\"scenario\":\"null\"") && sys::is_root(), "{text:.200}");
    Ok(())
}
