//! What a session looks like while it runs: rates since the last look, totals
//! so far, the regions that cost most since. Redrawn in place on a terminal,
//! block after block where it is piped.

use std::io::{self, Write};

use crate::fault::{Class, Kind};
use crate::pipeline::{Observer, Pipeline};
use crate::preface::Preface;
use crate::region::names::permissions;
use crate::report::text::per_second;
use crate::term::Screen;
use crate::term::colour::Ink;
use crate::term::escape;
use crate::term::table::{Cell, Column, Shrink, Table};
use crate::term::units::{count, nanoseconds, share};

/// Counts and times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    total: u64,
}

impl Sum {
    const fn add(&mut self, count: u64, total: u64) {
        self.count = self.count.saturating_add(count);
        self.total = self.total.saturating_add(total);
    }

    const fn since(self, before: Self) -> Self {
        Self {
            count: self.count.saturating_sub(before.count),
            total: self.total.saturating_sub(before.total),
        }
    }
}

/// Everything counted up to a moment.
#[derive(Clone, Debug, Default)]
struct Snapshot {
    time: u64,
    kinds: Vec<Sum>,
    rows: Vec<Sum>,
}

impl Snapshot {
    fn of<O: Observer>(pipeline: &Pipeline<O>, time: u64) -> Self {
        let mut kinds = vec![Sum::default(); Kind::COUNT];
        let rows = (0..pipeline.world().rows().len()).map(|row| {
            let mut sum = Sum::default();
            for cell in pipeline.tally().row(row) {
                sum.add(cell.count, cell.total);
                kinds[cell.kind.index()].add(cell.count, cell.total);
            }
            sum
        });
        let rows = rows.collect();
        Self { time, kinds, rows }
    }

    fn since(&self, before: &Self) -> Self {
        let older = |sums: &[Sum], at: usize| sums.get(at).copied().unwrap_or_default();
        let less = |now: &[Sum], before: &[Sum]| {
            now.iter().enumerate().map(|(at, sum)| sum.since(older(before, at))).collect()
        };
        Self {
            time: self.time.saturating_sub(before.time),
            kinds: less(&self.kinds, &before.kinds),
            rows: less(&self.rows, &before.rows),
        }
    }

    fn class(&self, class: Class) -> Sum {
        let mut sum = Sum::default();
        for kind in class.kinds() {
            let of = self.kinds.get(kind.index()).copied().unwrap_or_default();
            sum.add(of.count, of.total);
        }
        sum
    }

    fn all(&self) -> Sum {
        let mut sum = Sum::default();
        self.kinds.iter().for_each(|of| sum.add(of.count, of.total));
        sum
    }
}

/// A view that remembers its last look.
#[derive(Debug)]
pub struct Live {
    before: Snapshot,
    top: usize,
}

impl Live {
    /// From a session's start on, showing so many regions.
    pub fn new(started_ns: u64, top: usize) -> Self {
        Self { before: Snapshot { time: started_ns, ..Snapshot::default() }, top }
    }

    /// One look, at a moment of the records' clock.
    pub fn look<O: Observer>(
        &mut self,
        out: &mut dyn Write,
        screen: &Screen,
        pipeline: &Pipeline<O>,
        preface: &Preface,
        now_ns: u64,
    ) -> io::Result<()> {
        let so_far = Snapshot::of(pipeline, now_ns);
        let recent = so_far.since(&self.before);
        let elapsed = nanoseconds(now_ns.saturating_sub(preface.started_ns));
        let circumstances = format!("{elapsed}, {} on {}", preface.backend, preface.kernel);
        let room = screen.width.saturating_sub(escape::width(&circumstances) + 2).max(12);
        let target = escape::text(&preface.target);
        let title = screen.paint(Ink::Bold, escape::fit(&target, room));
        writeln!(out, "{title}  {circumstances}")?;
        let all = recent.all();
        let rate = per_second(all.count, recent.time).unwrap_or(0);
        writeln!(
            out,
            "{} faults/s, {} of the time in them; {} faults so far",
            screen.paint(Ink::Bold, count(rate)),
            share(all.total, recent.time.max(all.total)),
            count(so_far.all().count),
        )?;
        let stream = pipeline.stream();
        if stream.malformed > 0 {
            let unread = format!("{} records could not be read", count(stream.malformed));
            writeln!(out, "{}", screen.paint(Ink::Red, unread))?;
        }
        classes(out, screen, &so_far, &recent)?;
        regions(out, screen, pipeline, &so_far, &recent, self.top)?;
        self.before = so_far;
        Ok(())
    }
}

fn classes(
    out: &mut dyn Write,
    screen: &Screen,
    so_far: &Snapshot,
    recent: &Snapshot,
) -> io::Result<()> {
    let mut columns = vec![Column::left("kind").width(17)];
    for (head, width) in [("faults/s", 10), ("mean", 8), ("so far", 12), ("time", 8), ("mean", 8)] {
        columns.push(Column::right(head).width(width));
    }
    let mut table = Table::new(columns, 0);
    let mut row = |name: String, ink: Ink, now: Sum, total: Sum| {
        let rate = per_second(now.count, recent.time).unwrap_or(0);
        let mean =
            |sum: Sum| sum.total.checked_div(sum.count).map_or_else(|| "–".to_owned(), nanoseconds);
        let cells = [
            name,
            count(rate),
            mean(now),
            count(total.count),
            nanoseconds(total.total),
            mean(total),
        ];
        table.row(cells.map(|text| Cell::new(ink, text)));
    };
    for class in Class::ALL {
        let (now, total) = (recent.class(class), so_far.class(class));
        let ink = if total.count == 0 { Ink::Dim } else { Ink::Bold };
        row(class.name().to_owned(), ink, now, total);
        for kind in class.kinds().filter(|kind| so_far.kinds[kind.index()].count > 0) {
            let (now, total) = (recent.kinds[kind.index()], so_far.kinds[kind.index()]);
            row(format!("  {kind}"), Ink::Plain, now, total);
        }
    }
    writeln!(out)?;
    table.write(out, screen)
}

fn regions<O: Observer>(
    out: &mut dyn Write,
    screen: &Screen,
    pipeline: &Pipeline<O>,
    so_far: &Snapshot,
    recent: &Snapshot,
    top: usize,
) -> io::Result<()> {
    let mut order: Vec<usize> =
        (0..so_far.rows.len()).filter(|&row| so_far.rows[row].count > 0).collect();
    let cost =
        |&row: &usize| (std::cmp::Reverse((recent.rows[row].total, so_far.rows[row].total)), row);
    if order.len() > top {
        order.select_nth_unstable_by_key(top, cost);
        order.truncate(top);
    }
    order.sort_unstable_by_key(cost);
    if order.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(
        vec![
            Column::left("region").shrink(Shrink::Middle),
            Column::left("perm"),
            Column::left("process"),
            Column::right("faults/s"),
            Column::right("so far"),
            Column::right("time"),
        ],
        0,
    );
    let world = pipeline.world();
    for index in order {
        let row = &world.rows()[index];
        let process = &world.processes()[row.process as usize];
        let (now, total) = (recent.rows[index], so_far.rows[index]);
        let perm: String = permissions(row.nature).map(char::from).iter().collect();
        let cells = [
            world.text(row.name).to_owned(),
            perm,
            format!("{} ({})", world.text(process.comm), process.pid),
            count(per_second(now.count, recent.time).unwrap_or(0)),
            count(total.count),
            nanoseconds(total.total),
        ];
        table.row(cells.map(Cell::from));
    }
    writeln!(out)?;
    table.write(out, screen)
}

/// A terminal's other screen, given back however the program ends: by its end,
/// by an error, by a panic. (Signals end the session's loop, and with it this.)
#[derive(Debug)]
pub struct Stage<W: Write> {
    out: W,
}

impl<W: Write> Stage<W> {
    /// Takes the terminal over.
    pub fn enter(mut out: W) -> io::Result<Self> {
        out.write_all(b"\x1b[?1049h\x1b[?25l")?;
        out.flush()?;
        Ok(Self { out })
    }

    /// Draws over what is there, within the terminal's size as it is now, in
    /// one go.
    pub fn draw(&mut self, text: &[u8], height: usize) -> io::Result<()> {
        let mut frame = Vec::with_capacity(text.len() + 512);
        frame.extend_from_slice(b"\x1b[H");
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate().take(height) {
            frame.extend_from_slice(if index > 0 { b"\r\n" } else { b"" });
            frame.extend_from_slice(line);
            frame.extend_from_slice(b"\x1b[K");
        }
        frame.extend_from_slice(b"\x1b[J");
        self.out.write_all(&frame)?;
        self.out.flush()
    }
}

impl<W: Write> Drop for Stage<W> {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = self.out.write_all(b"\x1b[?25h\x1b[?1049l");
        let _ = self.out.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Options;
    use crate::stream::Sink as _;
    use crate::synthetic::Workload;

    fn look(live: &mut Live, pipeline: &Pipeline, now: u64) -> String {
        let preface = Preface { target: "pid 1000".to_owned(), ..Preface::default() };
        let mut out = Vec::new();
        live.look(&mut out, &Screen::plain(80), pipeline, &preface, now).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rates_are_those_since_the_last_look() {
        let load =
            Workload { processes: 1, regions: 3, faults: 6000, events: false, named: true, run: 1 };
        let mut pipeline = Pipeline::new(Options::default());
        let mut live = Live::new(0, 2);
        assert!(look(&mut live, &pipeline, 1_000_000_000).contains("0 faults/s"));
        load.begin(0, &mut pipeline);
        let faults = load.faults(0).0;
        pipeline.faults(&faults);
        let first = look(&mut live, &pipeline, 3_000_000_000);
        assert!(first.contains("3 000 faults/s"), "{first}");
        assert!(first.contains("6 000 faults so far"), "{first}");
        pipeline.faults(&faults[..500]);
        let second = look(&mut live, &pipeline, 3_500_000_000);
        assert!(second.contains("1 000 faults/s"), "{second}");
        assert_eq!(second.matches("/srv/data/").count(), 2, "{second}");
        assert!(second.lines().all(|line| escape::width(line) <= 80), "{second}");
    }

    #[test]
    fn the_terminal_is_given_back() {
        let mut out = Vec::new();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut stage = Stage::enter(&mut out).unwrap();
            stage.draw(b"one\ntwo\nthree\n", 2).unwrap();
            panic!("whatever ends it");
        }));
        assert!(panicked.is_err());
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "\x1b[?1049h\x1b[?25l\x1b[Hone\x1b[K\r\ntwo\x1b[K\x1b[J\x1b[?25h\x1b[?1049l"
        );
    }
}
