//! The machine's memory as text.

use std::io::{self, Write};

use super::look::Memory;
use super::overcommit::Answer;
use super::rates::{Rates, Stalled};
use super::settings::Setting;
use super::verdict::{State, Verdict};
use super::zones::{Level, Zone};
use crate::term::bar::bar;
use crate::term::colour::Ink;
use crate::term::table::{Cell, Column, Shrink, Table};
use crate::term::units::{bytes, count, share, short_bytes, short_count};
use crate::term::{Screen, escape};

/// Writes the machine's memory.
pub fn write(
    out: &mut dyn Write,
    screen: &Screen,
    memory: &Memory,
    rates: &Rates,
    verdict: &Verdict,
    malloc: Option<u64>,
) -> io::Result<()> {
    self::verdict(out, screen, verdict)?;
    ram(out, screen, memory)?;
    self::rates(out, screen, memory, rates)?;
    swap(out, screen, memory)?;
    overcommit(out, screen, memory, malloc)?;
    zones(out, screen, memory)?;
    nodes(out, screen, memory)?;
    kernel(out, screen, memory)?;
    huge(out, screen, memory)?;
    head(out, screen, "settings")?;
    settings(out, screen, &memory.settings)?;
    memory.unseen.write(out, screen)
}

fn head(out: &mut dyn Write, screen: &Screen, text: &str) -> io::Result<()> {
    writeln!(out, "\n{}", screen.paint(Ink::Bold, text))
}

fn lines(out: &mut dyn Write, screen: &Screen, facts: &[String]) -> io::Result<()> {
    let lines = escape::flow(facts, screen.width.saturating_sub(1));
    lines.iter().try_for_each(|line| writeln!(out, " {line}"))
}

fn verdict(out: &mut dyn Write, screen: &Screen, verdict: &Verdict) -> io::Result<()> {
    let ink = match verdict.state {
        State::Calm | State::Reclaiming => Ink::Green,
        State::Tight => Ink::Yellow,
        State::Thrashing => Ink::Red,
    };
    writeln!(out, "{}", screen.paint(ink, verdict.sentence))?;
    for reason in &verdict.because {
        for (index, line) in escape::wrap(reason, screen.width.saturating_sub(4)).enumerate() {
            let lead = if index == 0 { "  –" } else { "   " };
            writeln!(out, "{lead} {line}")?;
        }
    }
    Ok(())
}

/// What RAM is used for. The parts do not overlap; what none of them claims is
/// shown as such.
fn parts(memory: &Memory) -> Vec<(&'static str, Ink, u64)> {
    let of = |key: &str| memory.meminfo.get(key).copied().unwrap_or(0);
    let cache = (of("Cached") + of("Buffers")).saturating_sub(of("Shmem"));
    let hugetlb: u64 = memory.hugetlb.iter().map(|pool| pool.page * pool.total).sum();
    let mut parts = vec![
        ("anonymous", Ink::Cyan, of("AnonPages")),
        ("page cache", Ink::Blue, cache),
        ("shared memory", Ink::Magenta, of("Shmem")),
        ("slab, reclaimable", Ink::Yellow, of("SReclaimable")),
        ("slab, for good", Ink::Yellow, of("SUnreclaim")),
        ("page tables", Ink::Yellow, of("PageTables") + of("SecPageTables")),
        ("kernel stacks", Ink::Yellow, of("KernelStack")),
        ("vmalloc", Ink::Yellow, of("VmallocUsed").saturating_sub(of("KernelStack"))),
        ("per CPU", Ink::Yellow, of("Percpu")),
        ("huge page pools", Ink::Magenta, hugetlb),
        ("zswap", Ink::Magenta, of("Zswap")),
        ("free", Ink::Green, of("MemFree")),
    ];
    let claimed: u64 = parts.iter().map(|(.., size)| size).sum();
    let rest = of("MemTotal").saturating_sub(claimed);
    parts.insert(parts.len() - 1, ("drivers and others", Ink::Dim, rest));
    parts.retain(|(.., size)| *size > 0);
    parts
}

fn ram(out: &mut dyn Write, screen: &Screen, memory: &Memory) -> io::Result<()> {
    let of = |key: &str| memory.meminfo.get(key).copied().unwrap_or(0);
    let total = of("MemTotal");
    head(out, screen, &format!("RAM {}", bytes(total)))?;
    let columns = vec![Column::left(""), Column::right(""), Column::right(""), Column::left("")];
    let mut table = Table::new(columns, 1);
    let width = screen.width.saturating_sub(44).clamp(10, 60);
    for (name, ink, size) in parts(memory) {
        table.row([
            name.into(),
            bytes(size).into(),
            Cell::new(Ink::Dim, share(size, total)),
            Cell::new(ink, bar(size, total, width).trim_end().to_owned()),
        ]);
    }
    table.write(out, screen)?;
    let facts = [
        format!("{} could be had without swapping", bytes(of("MemAvailable"))),
        format!("dirty {}", bytes(of("Dirty"))),
        format!("being written {}", bytes(of("Writeback"))),
        format!("locked {}", bytes(of("Mlocked"))),
        format!("mapped files {}", bytes(of("Mapped"))),
    ];
    lines(out, screen, &facts)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are not negative"
)]
fn per_second(rate: f64) -> String {
    if rate > 0.0 && rate < 10.0 { format!("{rate:.1}") } else { short_count(rate as u64) }
}

fn rates(out: &mut dyn Write, screen: &Screen, memory: &Memory, rates: &Rates) -> io::Result<()> {
    head(out, screen, &format!("per second, over {:.1} s", rates.seconds))?;
    let rate = |name: &str, value: f64| format!("{name} {}", per_second(value));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative")]
    let size = |name: &str, value: f64| format!("{name} {}", bytes(value as u64));
    let facts = [
        rate("faults", rates.faults),
        rate("major", rates.major),
        size("read", rates.read),
        size("written", rates.written),
        rate("pages from swap", rates.swap_in),
        rate("to swap", rates.swap_out),
        rate("scanned", rates.scanned),
        rate("freed", rates.reclaimed),
        rate("refaults", rates.refaults()),
        rate("stalls", rates.stalls),
        rate("huge at fault", rates.thp),
        rate("none free", rates.thp_fallback),
        rate("compaction stalls", rates.compact_stalls),
        rate("moved between nodes", rates.migrated),
    ];
    lines(out, screen, &facts)?;
    let Some(pressure) = memory.pressure else { return Ok(()) };
    let words = |name: &str, stalled: Stalled| {
        let Stalled { avg10, avg60, avg300, .. } = stalled;
        format!("{name} waited {avg10:.1} % of 10 s, {avg60:.1} % of 1 min, {avg300:.1} % of 5 min")
    };
    let mut facts = vec![words("pressure: some task", pressure.some)];
    facts.extend(pressure.full.map(|full| words("every task", full)));
    lines(out, screen, &facts)
}

fn swap(out: &mut dyn Write, screen: &Screen, memory: &Memory) -> io::Result<()> {
    head(out, screen, "swap")?;
    if memory.swap.is_empty() {
        writeln!(out, " none: anonymous memory cannot be thrown out")?;
    }
    let columns = vec![
        Column::left("area").shrink(Shrink::Middle),
        Column::right("size"),
        Column::right("used"),
        Column::right(""),
        Column::right("priority"),
        Column::left("compressed"),
    ];
    let mut table = Table::new(columns, 1);
    for area in &memory.swap {
        let zram = area.zram.as_ref().map_or(String::new(), |zram| {
            let algorithm = zram.algorithm.as_deref().unwrap_or("zram");
            let (original, memory) = (bytes(zram.original), bytes(zram.memory));
            format!("{original} in {memory} by {}", escape::text(algorithm))
        });
        table.row([
            escape::text(&area.path).into_owned().into(),
            bytes(area.size).into(),
            bytes(area.used).into(),
            share(area.used, area.size).into(),
            area.priority.to_string().into(),
            zram.into(),
        ]);
    }
    if !table.is_empty() {
        table.write(out, screen)?;
    }
    if let Some(zswap) = &memory.zswap {
        let size = |value: Option<u64>| value.map_or("–".to_owned(), bytes);
        let text = if zswap.enabled {
            format!(" zswap: {} held in {}", size(zswap.original), size(zswap.memory))
        } else {
            " zswap is off".to_owned()
        };
        writeln!(out, "{text}")?;
    }
    Ok(())
}

fn overcommit(
    out: &mut dyn Write,
    screen: &Screen,
    memory: &Memory,
    malloc: Option<u64>,
) -> io::Result<()> {
    let policy = memory.overcommit;
    head(out, screen, "promises")?;
    let largest = policy.largest().map_or("any size is granted".to_owned(), |largest| {
        format!("a single allocation is granted up to {}", bytes(largest))
    });
    let mut facts = vec![
        format!("vm.overcommit_memory {}, {}", policy.mode, policy.words()),
        format!("promised {} of a limit of {}", bytes(policy.committed), bytes(policy.limit)),
    ];
    if policy.mode != 2 {
        facts.push("which is not in force".to_owned());
    }
    facts.push(largest);
    facts.extend(malloc.map(|size| {
        let told = match policy.ask(size) {
            Answer::Granted => "granted; whether it can be filled is another matter",
            Answer::Refused => "refused with ENOMEM",
        };
        format!("a malloc of {} would be {told}", bytes(size))
    }));
    lines(out, screen, &facts)
}

fn zones(out: &mut dyn Write, screen: &Screen, memory: &Memory) -> io::Result<()> {
    head(out, screen, "zones")?;
    let heads = ["node", "zone", "free", "min", "low", "high", "of", "in 2M+"];
    let mut columns: Vec<Column> = heads.into_iter().map(Column::right).collect();
    columns.push(Column::left("state"));
    let mut table = Table::new(columns, 1);
    for zone in &memory.zones {
        let (ink, state) = match zone.level() {
            Level::Enough => (Ink::Green, "enough"),
            Level::BelowHigh => (Ink::Plain, "below high"),
            Level::BelowLow => (Ink::Yellow, "below low: kswapd at work"),
            Level::BelowMin => (Ink::Red, "below min: tasks free memory"),
        };
        table.row([
            zone.node.to_string().into(),
            escape::text(&zone.name).into_owned().into(),
            short_bytes(zone.free).into(),
            short_bytes(zone.min).into(),
            short_bytes(zone.low).into(),
            short_bytes(zone.high).into(),
            short_bytes(zone.managed).into(),
            share(zone.free_huge(), zone.free).into(),
            Cell::new(ink, state),
        ]);
    }
    table.write(out, screen)?;
    orders(out, screen, &memory.zones)
}

/// Free blocks by size.
fn orders(out: &mut dyn Write, screen: &Screen, zones: &[Zone]) -> io::Result<()> {
    let most = zones.iter().map(|zone| zone.orders.len()).max().unwrap_or(0);
    if most == 0 {
        return Ok(());
    }
    let mut columns = vec![Column::left("free blocks of")];
    columns.extend((0..most).map(|order| {
        let size = short_bytes(4096 << order);
        Column::right(size.replace(".0", ""))
    }));
    let mut table = Table::new(columns, 1);
    for zone in zones {
        let mut cells: Vec<Cell> =
            vec![format!("{} {}", zone.node, escape::text(&zone.name)).into()];
        cells.extend(zone.orders.iter().map(|&blocks| match blocks {
            0 => Cell::new(Ink::Dim, "0"),
            many => short_count(many).into(),
        }));
        table.row(cells);
    }
    table.write(out, screen)
}

fn nodes(out: &mut dyn Write, screen: &Screen, memory: &Memory) -> io::Result<()> {
    if memory.nodes.len() < 2 {
        return Ok(());
    }
    head(out, screen, "nodes")?;
    let heads = [
        "node",
        "RAM",
        "free",
        "anonymous",
        "files",
        "slab",
        "local",
        "from others",
        "meant elsewhere",
    ];
    let mut table = Table::new(heads.into_iter().map(Column::right).collect(), 1);
    for node in &memory.nodes {
        let size =
            |key: &str| node.memory.get(key).map_or("–".to_owned(), |&size| short_bytes(size));
        let events =
            |key: &str| node.numastat.get(key).map_or("–".to_owned(), |&n| short_count(n));
        table.row([
            node.node.to_string().into(),
            size("MemTotal").into(),
            size("MemFree").into(),
            size("AnonPages").into(),
            size("FilePages").into(),
            size("Slab").into(),
            events("local_node").into(),
            events("other_node").into(),
            events("numa_miss").into(),
        ]);
    }
    table.write(out, screen)
}

fn kernel(out: &mut dyn Write, screen: &Screen, memory: &Memory) -> io::Result<()> {
    let of = |key: &str| memory.meminfo.get(key).copied().unwrap_or(0);
    head(
        out,
        screen,
        &format!("slab {}, vmalloc {}", bytes(of("Slab")), bytes(of("VmallocUsed"))),
    )?;
    let named = |name: &str, size: u64| format!("{} {}", escape::text(name), bytes(size));
    let caches: Vec<String> =
        memory.slabs.iter().take(8).map(|cache| named(&cache.name, cache.size)).collect();
    lines(out, screen, if caches.is_empty() { &[] } else { &caches })?;
    let callers: Vec<String> =
        memory.vmalloc.iter().take(5).map(|(caller, size)| named(caller, *size)).collect();
    if !callers.is_empty() {
        writeln!(out, " {}", screen.paint(Ink::Dim, "vmalloc by caller"))?;
    }
    lines(out, screen, &callers)
}

fn huge(out: &mut dyn Write, screen: &Screen, memory: &Memory) -> io::Result<()> {
    let of = |key: &str| memory.meminfo.get(key).copied().unwrap_or(0);
    head(out, screen, "huge pages")?;
    let mut facts = vec![
        format!("anonymous {}", bytes(of("AnonHugePages"))),
        format!("shared memory {}", bytes(of("ShmemHugePages"))),
        format!("files {}", bytes(of("FileHugePages"))),
    ];
    for pool in memory.hugetlb.iter().filter(|pool| pool.total > 0) {
        facts.push(format!(
            "pool of {}: {} pages, {} free, {} reserved",
            bytes(pool.page),
            count(pool.total),
            count(pool.free),
            count(pool.reserved)
        ));
    }
    lines(out, screen, &facts)?;
    settings(out, screen, &memory.thp)
}

/// Names and values in columns; what they mean beside them, or below where the
/// line is too short.
fn settings(out: &mut dyn Write, screen: &Screen, settings: &[Setting]) -> io::Result<()> {
    let widest =
        |of: fn(&Setting) -> &str| settings.iter().map(|set| of(set).len()).max().unwrap_or(0);
    let (names, values) = (widest(|set| &set.name), widest(|set| &set.value).min(12));
    for setting in settings {
        let (name, value) = (escape::text(&setting.name), escape::text(&setting.value));
        let line = format!(" {name:names$}  {value:values$}");
        let room = screen.width.saturating_sub(escape::width(&line) + 2);
        let means = screen.paint(Ink::Dim, setting.means);
        if escape::width(setting.means) <= room {
            writeln!(out, "{line}  {means}")?;
        } else {
            writeln!(out, "{}\n     {means}", line.trim_end())?;
        }
    }
    Ok(())
}
