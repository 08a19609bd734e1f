//! Who would be killed, as text.

use std::io::{self, Write};

use super::advice;
use super::badness::{Candidate, Ranked};
use super::kills::Kill;
use super::look::{Arena, Standing};
use crate::term::colour::Ink;
use crate::term::table::{Cell, Column, Shrink, Table};
use crate::term::units::{bytes, nanoseconds, short_bytes, short_bytes_change};
use crate::term::{Screen, escape};

/// Writes who would be killed, machine-wide and in every cgroup with a limit.
pub fn write(
    out: &mut dyn Write,
    screen: &Screen,
    standing: &Standing,
    top: usize,
) -> io::Result<()> {
    for (index, arena) in standing.arenas.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        head(out, screen, standing, arena)?;
        table(out, screen, arena, top)?;
    }
    let line = "points = rss + swap + page tables + oom_score_adj × (RAM + swap) ÷ 1000; most points go first";
    writeln!(out)?;
    note(out, screen, line)?;
    let (yes, no) = standing.agreed;
    note(
        out,
        screen,
        &format!("the kernel's own oom_score agrees for {yes} of {} processes", yes + no),
    )?;
    never(out, screen, standing)?;
    settings(out, screen, standing)?;
    kills(out, screen, &standing.kills)?;
    standing.unseen.write(out, screen)
}

fn note(out: &mut dyn Write, screen: &Screen, text: &str) -> io::Result<()> {
    escape::wrap(text, screen.width)
        .try_for_each(|line| writeln!(out, "{}", screen.paint(Ink::Dim, line)))
}

fn head(
    out: &mut dyn Write,
    screen: &Screen,
    standing: &Standing,
    arena: &Arena,
) -> io::Result<()> {
    let (name, facts) = match &arena.group {
        None => {
            let left = bytes(standing.available + standing.swap_free);
            let facts = vec![
                format!("RAM {}", bytes(standing.ram)),
                format!("swap {}", bytes(standing.swap)),
                format!("{left} left before it runs out"),
            ];
            ("machine".to_owned(), facts)
        }
        Some(group) => {
            let mut facts = vec![
                format!("limit {}", group.limit.map_or("–".to_owned(), bytes)),
                format!("{} left before it is met", group.distance().map_or("–".to_owned(), bytes)),
            ];
            facts.extend(group.usage.map(|usage| format!("{} used", bytes(usage))));
            facts.extend(group.cache.map(|cache| format!("{} of that cache", bytes(cache))));
            facts.extend(
                group
                    .kills
                    .filter(|&kills| kills > 0)
                    .map(|kills| format!("{kills} killed so far")),
            );
            facts.extend(group.kills_all.then(|| "all of it is killed together".to_owned()));
            facts.extend(group.disabled.then(|| "killing is off: they wait".to_owned()));
            (format!("cgroup {}", escape::text(&group.path)), facts)
        }
    };
    writeln!(out, "{}", screen.paint(Ink::Bold, escape::fit_path(&name, screen.width)))?;
    for line in escape::flow(&facts, screen.width) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn table(out: &mut dyn Write, screen: &Screen, arena: &Arena, top: usize) -> io::Result<()> {
    if arena.ranked.is_empty() {
        return writeln!(out, " nobody in it can be killed");
    }
    let heads = ["", "points", "rss", "swap", "tables", "adj", "= worth", "pid"];
    let mut columns: Vec<Column> = heads.into_iter().map(Column::right).collect();
    columns.push(Column::left("name").shrink(Shrink::End));
    let mut table = Table::new(columns, 1);
    for (rank, ranked) in arena.ranked.iter().take(top).enumerate() {
        let ink = if rank == 0 { Ink::Red } else { Ink::Plain };
        let one = &ranked.candidate;
        let worth = one.adjustment(arena.total).saturating_mul(4096);
        let adj_ink = match one.adj.signum() {
            1 => Ink::Yellow,
            -1 => Ink::Green,
            _ => Ink::Dim,
        };
        table.row([
            Cell::new(ink, (rank + 1).to_string()),
            Cell::new(ink, points(ranked)),
            short_bytes(one.rss * 4096).into(),
            short_bytes(one.swap * 4096).into(),
            short_bytes(one.tables * 4096).into(),
            Cell::new(adj_ink, one.adj.to_string()),
            Cell::new(adj_ink, short_bytes_change(worth)),
            one.pid.to_string().into(),
            Cell::new(ink, escape::text(&one.comm).into_owned()),
        ]);
    }
    table.write(out, screen)?;
    if let Some(more) = arena.ranked.len().checked_sub(top).filter(|&more| more > 0) {
        writeln!(out, " {}", screen.paint(Ink::Dim, format!("… and {more} more")))?;
    }
    Ok(())
}

fn points(ranked: &Ranked) -> String {
    let bytes = short_bytes(ranked.points.unsigned_abs().saturating_mul(4096));
    if ranked.points < 0 { format!("-{bytes}") } else { bytes }
}

fn never(out: &mut dyn Write, screen: &Screen, standing: &Standing) -> io::Result<()> {
    use super::badness::Immune;
    let immune = |why: Immune| standing.all.iter().filter(move |one| one.immune == Some(why));
    let names: Vec<String> = immune(Immune::Init)
        .chain(immune(Immune::Adjusted))
        .take(12)
        .map(|one| format!("{} ({})", escape::text(&one.comm), one.pid))
        .collect();
    let threads = immune(Immune::KernelThread).count();
    let text = format!("never killed: {}, and {threads} kernel threads", names.join(", "));
    note(out, screen, &text)
}

fn settings(out: &mut dyn Write, screen: &Screen, standing: &Standing) -> io::Result<()> {
    if standing.settings.panic {
        let text = "vm.panic_on_oom is set: the machine panics, nobody is killed";
        writeln!(out, "{}", screen.paint(Ink::Red, text))?;
    }
    if standing.settings.kill_allocating {
        let text = "vm.oom_kill_allocating_task is set: whoever asks for memory is killed, whatever its points";
        writeln!(out, "{}", screen.paint(Ink::Yellow, text))?;
    }
    Ok(())
}

fn kills(out: &mut dyn Write, screen: &Screen, kills: &[Kill]) -> io::Result<()> {
    if kills.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n{}",
        screen.paint(Ink::Bold, "killed since the kernel's log began, the last first")
    )?;
    let heads = ["after boot", "rss", "adj", "pid"];
    let mut columns: Vec<Column> = heads.into_iter().map(Column::right).collect();
    columns.push(Column::left("name"));
    columns.push(Column::left("where").shrink(Shrink::Middle));
    columns.push(Column::left("asked by"));
    let mut table = Table::new(columns, 1);
    for kill in kills.iter().rev().take(10) {
        let place = match (&kill.cgroup, kill.constraint.as_deref()) {
            (Some(cgroup), Some("memcg")) => escape::text(cgroup).into_owned(),
            (_, Some("none") | None) => "machine".to_owned(),
            (_, Some(other)) => escape::text(other).into_owned(),
        };
        table.row([
            nanoseconds(kill.at_us.saturating_mul(1000)).into(),
            short_bytes(kill.anon + kill.file + kill.shmem).into(),
            kill.adj.map_or("–".to_owned(), |adj| adj.to_string()).into(),
            kill.pid.to_string().into(),
            escape::text(&kill.comm).into_owned().into(),
            place.into(),
            kill.trigger.as_deref().map(escape::text).unwrap_or_default().into_owned().into(),
        ]);
    }
    table.write(out, screen)
}

/// Writes where one process stands.
pub fn write_one(
    out: &mut dyn Write,
    screen: &Screen,
    standing: &Standing,
    one: &Candidate,
) -> io::Result<()> {
    let name = format!("{} ({})", escape::text(&one.comm), one.pid);
    writeln!(out, "{}", screen.paint(Ink::Bold, name))?;
    if let Some(immune) = one.immune {
        writeln!(out, "{}", screen.paint(Ink::Green, immune.words()))?;
        return standing.unseen.write(out, screen);
    }
    let size = |pages: u64| bytes(pages.saturating_mul(4096));
    for arena in &standing.arenas {
        let Some(rank) = arena.ranked.iter().position(|ranked| ranked.candidate.pid == one.pid)
        else {
            continue;
        };
        let place = match &arena.group {
            None => "machine".to_owned(),
            Some(group) => format!("cgroup {}", escape::text(&group.path)),
        };
        let of = arena.ranked.len();
        let ink = if rank == 0 { Ink::Red } else { Ink::Plain };
        let verdict = if rank == 0 { "it would be killed first" } else { "someone goes before it" };
        writeln!(out, "\n{}", screen.paint(Ink::Bold, escape::fit_path(&place, screen.width)))?;
        writeln!(out, " {}", screen.paint(ink, format!("rank {} of {of}: {verdict}", rank + 1)))?;
        let adjustment = one.adjustment(arena.total).saturating_mul(4096);
        let parts = format!(
            "rss {} + swap {} + page tables {} + adj {} ({}) = {} points",
            size(one.rss),
            size(one.swap),
            size(one.tables),
            one.adj,
            short_bytes_change(adjustment),
            points(&arena.ranked[rank])
        );
        escape::wrap(&parts, screen.width - 1).try_for_each(|line| writeln!(out, " {line}"))?;
        if rank > 0 {
            let first = &arena.ranked[0];
            let ahead = first.points.saturating_sub(arena.ranked[rank].points).unsigned_abs();
            let who = escape::text(&first.candidate.comm).into_owned();
            writeln!(out, " first is {who} ({}), {} more", first.candidate.pid, size(ahead))?;
        }
    }
    writeln!(out, "\n{}", screen.paint(Ink::Bold, "to protect it"))?;
    for (command, effect) in advice::protect(one) {
        writeln!(out, " {}", screen.paint(Ink::Cyan, command))?;
        writeln!(out, "   {}", screen.paint(Ink::Dim, effect))?;
    }
    standing.unseen.write(out, screen)
}
