//! Looking without tracing: `maps`, `walk`, `system` and `oom`.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Row;
use super::bench::{Bench, len};

pub(super) const ROWS: &[Row] = &[
    ("maps", "--by", maps_by),
    ("maps", "--sort", maps_sort),
    ("maps", "--filter", maps_filter),
    ("maps", "--top", maps_top),
    ("maps", "--all", |bench| differs(bench, &["--all"], "Locked")),
    ("maps", "--exact", maps_exact),
    ("maps", "--since", maps_since),
    ("maps", "--format", |bench| format(bench, &["maps", &bench.pid()])),
    ("maps", "--interval", |bench| again(bench, &["maps", &bench.pid()])),
    ("walk", "--format", |bench| format(bench, &["walk", &bench.pid(), "[stack]"])),
    ("walk", "--interval", |bench| again(bench, &["walk", &bench.pid(), "[stack]"])),
    ("system", "--over", system_over),
    ("system", "--malloc", system_malloc),
    ("system", "--format", |bench| format(bench, &["system", "--over", "50ms"])),
    ("system", "--interval", |bench| again(bench, &["system", "--over", "50ms"])),
    ("oom", "--top", oom_top),
    ("oom", "--format", |bench| format(bench, &["oom"])),
    ("oom", "--interval", |bench| again(bench, &["oom"])),
];

fn format(bench: &Bench, command: &[&str]) -> Result<()> {
    let text = bench.ran(command)?;
    let json = bench.json(&[command, &["--format", "json"]].concat())?;
    ensure!(json["schema"].is_string() && !text.starts_with('{'), "{text:.60}");
    Ok(())
}

/// Looks at least twice.
fn again(bench: &Bench, command: &[&str]) -> Result<()> {
    let words = [command, &["--format", "json", "-i", "100ms"]].concat();
    let lines = bench.lines(&words, 2)?;
    ensure!(lines.len() == 2, "{} looks", lines.len());
    ensure!(lines.iter().all(|line| line.starts_with('{')), "{:.60}", lines[1]);
    Ok(())
}

fn maps(bench: &Bench, options: &[&str]) -> Result<Value> {
    let pid = bench.pid();
    bench.json(&[&["maps", &pid, "--format", "json"], options].concat())
}

fn text(bench: &Bench, options: &[&str]) -> Result<String> {
    let pid = bench.pid();
    bench.ran(&[&["maps", &pid], options].concat())
}

fn differs(bench: &Bench, options: &[&str], word: &str) -> Result<()> {
    let (without, with) = (text(bench, &[])?, text(bench, options)?);
    let has = |text: &str| text.to_lowercase().contains(&word.to_lowercase());
    ensure!(has(&with) && !has(&without), "{word} is not what it adds: {with}");
    Ok(())
}

fn maps_by(bench: &Bench) -> Result<()> {
    let json = maps(bench, &["--by", "object"])?;
    ensure!(len(&json["groups"]) > 1 && json["regions"].is_null(), "no groups: {json:.200}");
    Ok(())
}

fn maps_sort(bench: &Bench) -> Result<()> {
    let json = maps(bench, &["--sort", "rss"])?;
    let regions = json["regions"].as_array().context("no regions")?;
    let rss: Vec<_> = regions.iter().map(|one| one["bytes"]["rss"].as_u64()).collect();
    ensure!(rss.is_sorted_by(|a, b| a >= b), "not by rss: {rss:?}");
    let starts = |json: &Value| -> Vec<_> {
        let regions = json["regions"].as_array().into_iter().flatten();
        regions.map(|one| one["start"].to_string()).collect()
    };
    ensure!(starts(&json) != starts(&maps(bench, &[])?), "the order is the usual one");
    Ok(())
}

fn maps_filter(bench: &Bench) -> Result<()> {
    let json = maps(bench, &["--filter", "[stack]"])?;
    let regions = json["regions"].as_array().context("no regions")?;
    ensure!(regions.len() == 1 && regions[0]["name"] == "[stack]", "{regions:?}");
    Ok(())
}

fn maps_top(bench: &Bench) -> Result<()> {
    let (all, two) = (maps(bench, &[])?, maps(bench, &["--top", "2"])?);
    let (all, two) = (len(&all["regions"]), len(&two["regions"]));
    ensure!(two == 2 && all > 2, "{two} and {all} regions");
    Ok(())
}

fn maps_exact(bench: &Bench) -> Result<()> {
    let rss = |json: &Value| json["totals"]["rss"].as_u64().map(|bytes| bytes >> 10);
    let kib = rss(&maps(bench, &[])?).context("no rss")?;
    let digits = |text: &str| -> String {
        text.chars().filter(|sign| !matches!(sign, '\u{202f}' | '\u{a0}' | ' ' | ',')).collect()
    };
    let (rounded, exact) = (digits(&text(bench, &[])?), digits(&text(bench, &["--exact"])?));
    let kib = kib.to_string();
    ensure!(exact.contains(&kib) && !rounded.contains(&kib), "{kib} KiB is not told exactly");
    Ok(())
}

fn maps_since(bench: &Bench) -> Result<()> {
    let file = bench.file("before.json");
    std::fs::write(&file, bench.ran(&["maps", &bench.pid(), "--format", "json"])?)?;
    bench.step();
    let json = maps(bench, &["--since", &file])?;
    ensure!(json["schema"] == "vmtrace.maps-since/1", "schema {}", json["schema"]);
    ensure!(len(&json["changes"]) > 0, "a MiB more is no change");
    ensure!(bench.folder().is_dir(), "the folder is gone");
    Ok(())
}

fn system_over(bench: &Bench) -> Result<()> {
    let took = |over: &str| -> Result<std::time::Duration> {
        let began = std::time::Instant::now();
        bench.json(&["system", "--format", "json", "--over", over])?;
        Ok(began.elapsed())
    };
    let (short, long) = (took("10ms")?, took("700ms")?);
    ensure!(long.as_millis() >= 700 && short < long, "{short:?} and {long:?}");
    Ok(())
}

fn system_malloc(bench: &Bench) -> Result<()> {
    let ask = |options: &[&str]| {
        bench.json(&[&["system", "--format", "json", "--over", "10ms"], options].concat())
    };
    let (without, with) = (ask(&[])?, ask(&["--malloc", "1M"])?);
    let (without, with) = (&without["allocation"], &with["allocation"]);
    ensure!(without.is_null() && !with.is_null(), "{without} and {with}");
    Ok(())
}

fn oom_top(bench: &Bench) -> Result<()> {
    let lines =
        |top: &str| -> Result<usize> { Ok(bench.ran(&["oom", "--top", top])?.lines().count()) };
    let (one, four) = (lines("1")?, lines("4")?);
    ensure!(one < four, "{one} lines for one and {four} for four");
    Ok(())
}
