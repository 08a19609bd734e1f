//! How faults are looked at: `report`, `events` and `diff`, on a recording, and the
//! same options of a trace.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Row;
use super::bench::{Bench, faults, len};

pub(super) const ROWS: &[Row] = &[
    ("report", "--class", |bench| class(bench, &["report"])),
    ("report", "--kind", |bench| kind(bench, &["report"])),
    ("report", "--min-latency", |bench| min_latency(bench, &["report"])),
    ("report", "--by", |bench| by(bench, &["report"])),
    ("report", "--top", |bench| top(bench, &["report"])),
    ("report", "--format", |bench| format(bench, "report")),
    ("", "--class", |bench| class(bench, &[])),
    ("", "--kind", |bench| kind(bench, &[])),
    ("", "--min-latency", |bench| min_latency(bench, &[])),
    ("", "--by", |bench| by(bench, &[])),
    ("", "--top", |bench| top(bench, &[])),
    ("events", "--class", |bench| lines(bench, &["--class", "cow"], "class", "cow")),
    ("events", "--kind", |bench| lines(bench, &["--kind", "anon-zero"], "kind", "anon-zero")),
    ("events", "--min-latency", events_min_latency),
    ("events", "--by", |bench| bench.refuses(&["events", &bench.recording, "--by", "ip"], "--by")),
    ("events", "--top", |bench| {
        bench.refuses(&["events", &bench.recording, "--top", "1"], "--top")
    }),
    ("events", "--format", |bench| format(bench, "events")),
    ("diff", "--fail-if", fail_if),
    ("diff", "--class", |bench| diff_keeps(bench, &["--class", "cow"], "classes", "cow")),
    ("diff", "--kind", |bench| diff_keeps(bench, &["--kind", "anon-zero"], "kinds", "anon-zero")),
    ("diff", "--min-latency", diff_min_latency),
    ("diff", "--by", |bench| bench.refuses(&diff(bench, &["--by", "ip"]), "--by")),
    ("diff", "--top", diff_top),
    ("diff", "--format", diff_format),
];

/// A report: of the recording, or of a trace of the same scenarios.
fn report(bench: &Bench, command: &[&str], options: &[&str]) -> Result<Value> {
    let program = crate::tool::path()?;
    let mut words = command.to_vec();
    words.extend(["--format", "json"]);
    words.extend(options);
    if command.is_empty() {
        words.extend([
            "--",
            program.to_str().unwrap_or_default(),
            "demo",
            "fork-child",
            "cow-file",
        ]);
    } else {
        words.push(&bench.recording);
    }
    bench.json(&words)
}

fn class(bench: &Bench, command: &[&str]) -> Result<()> {
    let json = report(bench, command, &["--class", "cow"])?;
    let cow = json["classes"]["cow"]["count"].as_u64();
    ensure!(cow > Some(0) && cow == Some(faults(&json)), "classes are {}", json["classes"]);
    Ok(())
}

fn kind(bench: &Bench, command: &[&str]) -> Result<()> {
    let json = report(bench, command, &["--kind", "cow-file"])?;
    let kinds: Vec<_> = json["kinds"].as_object().context("no kinds")?.keys().collect();
    ensure!(kinds == ["cow-file"], "kinds are {kinds:?}");
    Ok(())
}

fn min_latency(bench: &Bench, command: &[&str]) -> Result<()> {
    let all = report(bench, command, &[])?;
    let median = all["classes"]["minor"]["p50_ns"].as_u64().context("no median")?;
    let json = report(bench, command, &["--min-latency", &format!("{}ns", median * 2)])?;
    let (long, all) = (faults(&json), faults(&all));
    ensure!(long > 0 && long < all / 2, "{long} of {all} are left");
    Ok(())
}

fn by(bench: &Bench, command: &[&str]) -> Result<()> {
    let json = report(bench, command, &["--by", "thread"])?;
    ensure!(json["by"]["key"] == "thread", "no table by thread: {}", json["by"]);
    ensure!(report(bench, command, &[])?["by"].is_null(), "a table unasked");
    Ok(())
}

fn top(bench: &Bench, command: &[&str]) -> Result<()> {
    let (all, one) = (report(bench, command, &[])?, report(bench, command, &["--top", "1"])?);
    let shown = |json: &Value| (len(&json["processes"]), len(&json["processes"][0]["regions"]));
    ensure!(shown(&one) == (1, 1) && shown(&all) > (1, 1), "{:?} {:?}", shown(&one), shown(&all));
    Ok(())
}

fn format(bench: &Bench, command: &str) -> Result<()> {
    let text = bench.ran(&[command, &bench.recording])?;
    let json = bench.ran(&[command, &bench.recording, "--format", "json"])?;
    ensure!(json.starts_with('{') && !text.starts_with('{'), "{json:.60} {text:.60}");
    Ok(())
}

fn events(bench: &Bench, options: &[&str]) -> Result<Vec<Value>> {
    let mut words = vec!["events", &bench.recording, "--format", "json"];
    words.extend(options);
    let text = bench.ran(&words)?;
    text.lines().map(|line| serde_json::from_str(line).context("no line of JSON")).collect()
}

fn lines(bench: &Bench, options: &[&str], key: &str, value: &str) -> Result<()> {
    let (all, some) = (events(bench, &[])?, events(bench, options)?);
    ensure!(!some.is_empty() && some.len() < all.len(), "{} of {}", some.len(), all.len());
    let other = some.iter().find(|line| line[key] != value);
    ensure!(other.is_none(), "{other:?}");
    Ok(())
}

fn events_min_latency(bench: &Bench) -> Result<()> {
    let (all, some) = (events(bench, &[])?, events(bench, &["--min-latency", "3us"])?);
    ensure!(!some.is_empty() && some.len() < all.len(), "{} of {}", some.len(), all.len());
    let short = some.iter().find(|line| line["latency_ns"].as_u64() < Some(3000));
    ensure!(short.is_none(), "{short:?}");
    Ok(())
}

fn diff<'a>(bench: &'a Bench, options: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["diff", bench.recording.as_str(), bench.recording.as_str()];
    words.extend(options);
    words
}

fn diff_json(bench: &Bench, options: &[&str]) -> Result<Value> {
    let mut words = diff(bench, options);
    words.extend(["--format", "json"]);
    bench.json(&words)
}

fn fail_if(bench: &Bench) -> Result<()> {
    let status = |condition| -> Result<Option<i32>> {
        Ok(bench.output(&diff(bench, &["--fail-if", condition]))?.status.code())
    };
    let (holds, does_not) = (status("count(all) > 1")?, status("count(all) > +1%")?);
    ensure!((holds, does_not) == (Some(1), Some(0)), "status {holds:?} and {does_not:?}");
    Ok(())
}

fn diff_keeps(bench: &Bench, options: &[&str], list: &str, name: &str) -> Result<()> {
    let json = diff_json(bench, options)?;
    let all = json[list].as_array().context("no list")?;
    let counted = all.iter().filter(|one| one["counts"][0].as_u64() > Some(0));
    let counted: Vec<_> = counted.filter_map(|one| one["name"].as_str()).collect();
    ensure!(counted == [name], "counted are {counted:?}");
    Ok(())
}

fn diff_min_latency(bench: &Bench) -> Result<()> {
    let count = |options: &[&str]| -> Result<u64> {
        diff_json(bench, options)?["all"]["counts"][0].as_u64().context("no count")
    };
    let (all, some) = (count(&[])?, count(&["--min-latency", "3us"])?);
    ensure!(some > 0 && some < all, "{some} of {all}");
    Ok(())
}

fn diff_top(bench: &Bench) -> Result<()> {
    let (all, one) = (diff_json(bench, &[])?, diff_json(bench, &["--top", "1"])?);
    let (all, one) = (len(&all["regions"]), len(&one["regions"]));
    ensure!(one == 1 && all > 1, "{one} and {all} regions");
    Ok(())
}

fn diff_format(bench: &Bench) -> Result<()> {
    let (text, json) = (bench.ran(&diff(bench, &[]))?, diff_json(bench, &[])?);
    ensure!(json["schema"] == "vmtrace.diff/1" && !text.starts_with('{'), "{text:.60}");
    Ok(())
}
