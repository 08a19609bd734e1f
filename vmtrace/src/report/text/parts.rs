//! The parts of the page, from top to bottom.

use std::io::{self, Write};

use super::{LIMITS, process_name, sentence};
use crate::fault::Class;
use crate::report::Summary;
use crate::report::summary::{
    ByTable, Kinds, OomKill, ProcessSummary, REASONS, RegionSummary, Stats,
};
use crate::term::Screen;
use crate::term::bar::bar;
use crate::term::colour::Ink;
use crate::term::table::{Cell, Column, Shrink, Table};
use crate::term::units::{bytes, count, nanoseconds, share};

const PERCENTILES: [&str; 5] = ["p50", "p90", "p99", "p99.9", "max"];

fn percentile(ns: Option<u64>) -> String {
    ns.map_or_else(|| "–".to_owned(), nanoseconds)
}

fn latencies(stats: &Stats) -> [String; 5] {
    let told = [stats.p50_ns, stats.p90_ns, stats.p99_ns, stats.p999_ns];
    let [p50, p90, p99, p999] = told.map(percentile);
    [p50, p90, p99, p999, nanoseconds(stats.max_ns)]
}

const fn class_ink(class: Class) -> Ink {
    match class {
        Class::Minor => Ink::Plain,
        Class::Major => Ink::Yellow,
        Class::Cow => Ink::Cyan,
        Class::Invalid => Ink::Red,
    }
}

fn heading(out: &mut dyn Write, screen: &Screen, text: &str) -> io::Result<()> {
    writeln!(out, "\n{}", screen.paint(Ink::Bold, text))
}

/// The classes and the kinds they divide into.
pub(in crate::report) fn kinds(
    out: &mut dyn Write,
    screen: &Screen,
    summary: &Summary,
) -> io::Result<()> {
    let all = summary.classes.count();
    let mut columns = vec![
        Column::left("kind"),
        Column::right("faults"),
        Column::right("share"),
        Column::right("time"),
    ];
    columns.extend(PERCENTILES.map(Column::right));
    let mut table = Table::new(columns, 0);
    let row = |name: String, ink: Ink, stats: &Stats| {
        let numbers = [count(stats.count), share(stats.count, all), nanoseconds(stats.total_ns)];
        let cells = std::iter::once(name).chain(numbers).chain(latencies(stats));
        cells.map(|text| Cell::new(ink, text)).collect::<Vec<_>>()
    };
    for class in Class::ALL {
        let stats = summary.classes.of(class);
        if stats.count == 0 {
            let none = [class.name(), "0"].map(|text| Cell::new(Ink::Dim, text));
            table.row(none);
            continue;
        }
        let ink = if class == Class::Minor { Ink::Bold } else { class_ink(class) };
        table.row(row(class.name().to_owned(), ink, stats));
        let own = summary.kinds.0.iter().filter(|(kind, _)| kind.class() == class);
        for (kind, stats) in own {
            table.row(row(format!("  {kind}"), Ink::Plain, stats));
        }
    }
    writeln!(out)?;
    table.write(out, screen)
}

/// The table of `--by`.
pub(in crate::report) fn by(
    out: &mut dyn Write,
    screen: &Screen,
    table: &ByTable,
) -> io::Result<()> {
    heading(out, screen, &format!("By {}", table.key))?;
    let mut columns = vec![Column::left(table.key).shrink(Shrink::Middle)];
    let has_pid = table.rows.iter().any(|row| row.pid.is_some());
    if has_pid {
        columns.push(Column::right("pid"));
    }
    columns.extend(["faults", "major", "cow", "time", "p50", "p99", "max"].map(Column::right));
    let mut rows = Table::new(columns, 0);
    for row in &table.rows {
        let name = match row.value {
            Some(tid) if table.key == "thread" => format!("{} ({tid})", row.name),
            _ => row.name.clone(),
        };
        let mut cells = vec![name];
        if has_pid {
            cells.push(row.pid.map_or_else(String::new, |pid| pid.to_string()));
        }
        cells.extend([
            count(row.faults.count),
            count(row.classes.of(Class::Major).count),
            count(row.classes.of(Class::Cow).count),
            nanoseconds(row.faults.total_ns),
            percentile(row.faults.p50_ns),
            percentile(row.faults.p99_ns),
            nanoseconds(row.faults.max_ns),
        ]);
        rows.row(cells.into_iter().map(Cell::from));
    }
    rows.write(out, screen)?;
    rest(out, screen, table.rows_total.saturating_sub(table.rows.len()))
}

fn rest(out: &mut dyn Write, screen: &Screen, left: usize) -> io::Result<()> {
    if left == 0 {
        return Ok(());
    }
    let left = count(u64::try_from(left).unwrap_or(u64::MAX));
    writeln!(out, "{}", screen.paint(Ink::Dim, format!("and {left} more (--top shows more)")))
}

/// The processes, where there are several.
pub(in crate::report) fn processes(
    out: &mut dyn Write,
    screen: &Screen,
    summary: &Summary,
) -> io::Result<()> {
    heading(out, screen, "Processes by time")?;
    let mut columns = vec![Column::left("process").shrink(Shrink::End)];
    columns.extend(["faults", "minor", "major", "cow", "invalid", "time"].map(Column::right));
    let mut table = Table::new(columns, 0);
    for process in &summary.processes {
        let mut cells = vec![process_name(process), count(process.classes.count())];
        cells.extend(Class::ALL.map(|class| count(process.classes.of(class).count)));
        cells.push(nanoseconds(process.classes.total_ns()));
        table.row(cells.into_iter().map(Cell::from));
    }
    table.write(out, screen)?;
    rest(out, screen, summary.processes_total.saturating_sub(summary.processes.len()))
}

/// One process's latencies, drawn.
pub(in crate::report) fn histogram(
    out: &mut dyn Write,
    screen: &Screen,
    process: &ProcessSummary,
) -> io::Result<()> {
    let most = process.histogram.iter().map(|bar| bar.count).max().unwrap_or(0);
    if most == 0 {
        return Ok(());
    }
    heading(out, screen, &format!("Latency of {}", process_name(process)))?;
    let room = screen.width.saturating_sub(48).clamp(10, 60);
    let columns = vec![
        Column::right(""),
        Column::left(""),
        Column::left("").width(room),
        Column::right(""),
        Column::right(""),
    ];
    let mut table = Table::new(columns, 0);
    let all = process.histogram.iter().map(|bar| bar.count).sum();
    for octave in &process.histogram {
        table.row([
            nanoseconds(octave.from_ns).into(),
            format!("– {}", nanoseconds(octave.to_ns)).into(),
            Cell::new(Ink::Blue, bar(octave.count, most, room)),
            count(octave.count).into(),
            share(octave.count, all).into(),
        ]);
    }
    table.write(out, screen)
}

/// The regions that cost most, over all processes shown.
pub(in crate::report) fn regions(
    out: &mut dyn Write,
    screen: &Screen,
    summary: &Summary,
) -> io::Result<()> {
    let processes = summary.processes.iter();
    let mut all: Vec<(&ProcessSummary, &RegionSummary)> = processes
        .flat_map(|process| process.regions.iter().map(move |region| (process, region)))
        .collect();
    if all.is_empty() {
        return Ok(());
    }
    all.sort_by_key(|(process, region)| {
        (std::cmp::Reverse(region.classes.total_ns()), process.pid, region.start)
    });
    let most = summary.processes.iter().map(|process| process.regions.len()).max().unwrap_or(0);
    let most = most.max(LIMITS.regions);
    let several = summary.processes.len() > 1;
    heading(out, screen, "Regions by time")?;
    let mut columns = vec![Column::left("region").shrink(Shrink::Middle), Column::left("perm")];
    if several {
        columns.push(Column::left("process"));
    }
    columns.extend(["faults", "time", "max"].map(Column::right));
    columns.push(Column::left("kinds").shrink(Shrink::End));
    let mut table = Table::new(columns, 0);
    for (process, region) in all.iter().take(most) {
        let mut cells: Vec<Cell> = vec![region_name(region).into(), region.perm.clone().into()];
        if several {
            cells.push(process_name(process).into());
        }
        let max = region.classes.0.iter().map(|stats| stats.max_ns).max().unwrap_or(0);
        cells.extend([
            count(region.classes.count()).into(),
            nanoseconds(region.classes.total_ns()).into(),
            nanoseconds(max).into(),
            mix(&region.kinds).into(),
        ]);
        table.row(cells);
    }
    table.write(out, screen)?;
    let there = summary.processes.iter().map(|process| process.regions_total).sum::<usize>();
    rest(out, screen, there.saturating_sub(all.len().min(most)))
}

/// A region's name with its part.
pub(in crate::report) fn region_name(region: &RegionSummary) -> String {
    if region.part.is_empty() {
        return region.name.clone();
    }
    format!("{} {}", region.name, region.part)
}

/// The commonest kinds, the most first.
fn mix(kinds: &Kinds) -> String {
    let mut order: Vec<_> = kinds.0.iter().collect();
    order.sort_by_key(|(kind, stats)| (std::cmp::Reverse(stats.count), *kind));
    let all = order.iter().map(|(_, stats)| stats.count).fold(0, u64::saturating_add);
    let words = order.iter().take(3).map(|(kind, stats)| match order.len() {
        1 => kind.name().to_owned(),
        _ => format!("{kind} {}", share(stats.count, all)),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// TLB flushes and who caused them.
pub(in crate::report) fn tlb(
    out: &mut dyn Write,
    screen: &Screen,
    summary: &Summary,
) -> io::Result<()> {
    let tlb = &summary.tlb;
    if tlb.flushes == 0 {
        return Ok(());
    }
    let (flushes, pages, full) = (count(tlb.flushes), count(tlb.pages), count(tlb.full));
    heading(out, screen, "TLB flushes")?;
    writeln!(out, "{flushes} flushes: {full} of everything, {pages} pages in the others")?;
    let columns = vec![Column::left("reason"), Column::right("flushes"), Column::left("most by")];
    let mut table = Table::new(columns, 0);
    for (reason, name) in REASONS.into_iter().enumerate() {
        let number = tlb.by_reason.0[reason];
        if number == 0 {
            continue;
        }
        let by = |process: &&ProcessSummary| process.tlb.by_reason.0[reason];
        let most = summary.processes.iter().max_by_key(by).filter(|process| by(process) > 0);
        // Reason 1 runs on the CPU that is flushed: its process suffers it.
        let role = if reason == 1 { "suffered by" } else { "caused by" };
        let who = most.map_or_else(String::new, |process| {
            format!("{role} {}: {}", process_name(process), count(by(&process)))
        });
        table.row([name.into(), count(number).into(), who.into()]);
    }
    table.write(out, screen)
}

/// The OOM killer's doings, each a story.
pub(in crate::report) fn oom(
    out: &mut dyn Write,
    screen: &Screen,
    summary: &Summary,
) -> io::Result<()> {
    const MOST: usize = 20;
    if summary.oom.is_empty() {
        return Ok(());
    }
    heading(out, screen, "OOM kills")?;
    for kill in summary.oom.iter().take(MOST) {
        sentence(out, screen, (Ink::Red, "killed:"), &killed(kill))?;
        if let Some(memory) = held(kill) {
            sentence(out, screen, (Ink::Plain, "  it held"), &memory)?;
        }
        if let Some(why) = why(kill) {
            sentence(out, screen, (Ink::Plain, " "), &why)?;
        }
    }
    rest(out, screen, summary.oom.len().saturating_sub(MOST))
}

fn killed(kill: &OomKill) -> String {
    let victim = &kill.victim;
    let adjusted = match victim.score_adj {
        Some(adjusted) if adjusted != 0 => format!(", oom_score_adj {adjusted}"),
        _ => String::new(),
    };
    let user = victim.uid.map_or_else(String::new, |uid| format!(", uid {uid}"));
    let (comm, pid, at) = (&victim.comm, victim.pid, nanoseconds(kill.at_ns));
    format!("{comm} ({pid}{user}{adjusted}) after {at}")
}

fn held(kill: &OomKill) -> Option<String> {
    let victim = &kill.victim;
    let parts = [
        ("anonymous", victim.anon_rss_kb),
        ("file", victim.file_rss_kb),
        ("shared memory", victim.shmem_rss_kb),
        ("page tables", victim.page_tables_kb),
        ("mapped in all", victim.total_vm_kb),
    ];
    let told = parts.into_iter().filter_map(|(what, kilobytes)| {
        Some(format!("{} {what}", bytes(kilobytes?.saturating_mul(1024))))
    });
    Some(told.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty())
}

fn why(kill: &OomKill) -> Option<String> {
    let trigger = kill.trigger.as_ref()?;
    let limit = match trigger.constraint {
        "none" => "the machine's memory".to_owned(),
        "memcg" => match &trigger.memcg_name {
            Some(name) => format!("the limit of memory cgroup {name}"),
            None => format!("the limit of memory cgroup {}", trigger.memcg),
        },
        "cpuset" => "the memory of its cpuset".to_owned(),
        "mempolicy" => "the memory its policy allows".to_owned(),
        other => format!("a limit of kind {other}"),
    };
    let (comm, pid) = (&trigger.comm, trigger.pid);
    let asked = match trigger.order {
        ..0 => "was asked to (sysrq)".to_owned(),
        0 => "asked for a page".to_owned(),
        order @ 1..=20 => format!("asked for {} pages in a row", count(1 << order)),
        order => format!("asked for memory of order {order}"),
    };
    let (points, pages) = (count(trigger.points), count(trigger.total_pages));
    Some(format!(
        "{comm} ({pid}) {asked} and {limit} was exhausted; the victim had {points} points of {pages}"
    ))
}
