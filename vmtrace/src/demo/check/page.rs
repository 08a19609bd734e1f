//! The page: what happens in each scenario, whether the trace agrees, and then
//! kind by kind what was expected and what was observed.

use std::io::{self, Write};

use super::{Check, OfKind, Scene};
use crate::demo::declare::{Count, Outcome};
use crate::demo::run::title;
use crate::demo::waits;
use crate::fault::{Class, Kind};
use crate::term::Screen;
use crate::term::colour::Ink;
use crate::term::table::{Cell, Column, Shrink, Table};
use crate::term::units::{count, nanoseconds};

/// Writes the page.
pub fn write(out: &mut dyn Write, screen: &Screen, mut check: Check<'_>) -> io::Result<()> {
    head(out, screen, &check)?;
    scenarios(out, screen, &check.scenes)?;
    kinds(out, screen, &mut check)?;
    verdict(out, screen, &check)
}

fn head(out: &mut dyn Write, screen: &Screen, check: &Check<'_>) -> io::Result<()> {
    let trace = check.trace;
    let title = screen.paint(Ink::Bold, "vmtrace against its own demo");
    let (backend, kernel) = (&trace.backend, &trace.kernel);
    let took = trace.took.as_secs_f64();
    writeln!(out, "{title}  {took:.1} s, {backend} on {kernel}")?;
    let text = "Each scenario is a small program that takes page faults which it knows: so many, of this\n\
                kind, at these addresses. Expected is what it declares, by what it did and what the\n\
                kernel counted; observed is what vmtrace saw of it.\n";
    writeln!(out, "{text}")
}

fn scenarios(out: &mut dyn Write, screen: &Screen, scenes: &[Scene<'_>]) -> io::Result<()> {
    let columns = vec![
        Column::left("scenario"),
        Column::left("what happens").shrink(Shrink::End),
        Column::right("expected"),
        Column::right("observed"),
        Column::left(""),
    ];
    let mut table = Table::new(columns, 0);
    for scene in scenes {
        let name = scene.declaration.scenario.clone();
        let reason = scene.declaration.reason.as_deref().unwrap_or_default();
        let idle = |ink, text: String| vec![name.clone().into(), Cell::new(ink, text)];
        table.row(match scene.declaration.outcome {
            Outcome::Skipped => idle(Ink::Dim, format!("not played: {reason}")),
            Outcome::Failed => idle(Ink::Red, format!("FAILED: {reason}")),
            Outcome::Done => vec![
                name.into(),
                title(&scene.declaration.scenario).into(),
                range(scene.expected).into(),
                count(scene.observed).into(),
                state(scene),
            ],
        });
    }
    table.write(out, screen)?;
    for scene in scenes {
        for wrong in &scene.wrong {
            let line = format!("{}: {wrong}", scene.declaration.scenario);
            writeln!(out, "{}", screen.paint(Ink::Red, line))?;
        }
    }
    Ok(())
}

fn state(scene: &Scene<'_>) -> Cell {
    if !scene.wrong.is_empty() {
        Cell::new(Ink::Red, "WRONG")
    } else if scene.unseen > 0 {
        Cell::new(Ink::Yellow, "unseen")
    } else if scene.merged > 0 {
        Cell::new(Ink::Yellow, "merged")
    } else {
        Cell::new(Ink::Green, "agrees")
    }
}

fn range(expected: Count) -> String {
    match (expected.low(), expected.high()) {
        (low, high) if low == high => count(low),
        (low, u64::MAX) => format!("{} or more", count(low)),
        (low, high) => format!("{} – {}", count(low), count(high)),
    }
}

fn kinds(out: &mut dyn Write, screen: &Screen, check: &mut Check<'_>) -> io::Result<()> {
    let columns = vec![
        Column::left("kind"),
        Column::left("what it is").shrink(Shrink::End),
        Column::right("median"),
        Column::right("expected"),
        Column::right("observed"),
        Column::left(""),
    ];
    let mut table = Table::new(columns, 0);
    for class in Class::ALL {
        if !check.kinds.iter().any(|(kind, of)| kind.class() == class && of.occurs()) {
            continue;
        }
        table.row([Cell::new(Ink::Bold, class.name()), Cell::new(Ink::Dim, meaning(class))]);
        for kind in class.kinds() {
            let Some(of) = check.kinds.get_mut(&kind) else { continue };
            if of.occurs() {
                let notes = notes(of);
                table.row(row(kind, of, &notes));
                for note in notes {
                    table.row(["".into(), Cell::new(Ink::Dim, note)]);
                }
            }
        }
    }
    writeln!(out)?;
    table.write(out, screen)
}

fn meaning(class: Class) -> &'static str {
    match class {
        Class::Minor => "served from memory; the kernel's min_flt",
        Class::Major => "had to wait for input; the kernel's maj_flt",
        Class::Cow => "a write to what was shared until then; min_flt too",
        Class::Invalid => "failed; counted by nobody",
    }
}

/// What became of those that were not reported as what they were.
fn notes(of: &OfKind) -> Vec<String> {
    let rest = [
        (of.unseen, "not seen by this backend"),
        (of.missing, "missing"),
        (of.undeclared, "more that nobody declared"),
    ];
    let instead = of.instead.iter().map(|(kind, n)| format!("  {} reported as {kind}", count(*n)));
    let rest = rest.iter().filter(|(n, _)| *n > 0);
    instead.chain(rest.map(|(n, what)| format!("  {} {what}", count(*n)))).collect()
}

fn row(kind: Kind, of: &mut OfKind, notes: &[String]) -> Vec<Cell> {
    let median = of.median().map(nanoseconds).unwrap_or_default();
    let state = if of.wrong > 0 {
        Cell::new(Ink::Red, "WRONG")
    } else if notes.is_empty() {
        Cell::new(Ink::Green, "agrees")
    } else {
        Cell::new(Ink::Yellow, if of.instead.is_empty() { "unseen" } else { "merged" })
    };
    vec![
        format!("  {kind}").into(),
        kind.meaning().into(),
        median.into(),
        count(of.expected).into(),
        count(of.observed).into(),
        state,
    ]
}

fn verdict(out: &mut dyn Write, screen: &Screen, check: &Check<'_>) -> io::Result<()> {
    let all = check.scenes.len();
    let of = |outcome| check.scenes.iter().filter(|one| one.declaration.outcome == outcome).count();
    let (played, skipped) = (of(Outcome::Done), of(Outcome::Skipped));
    let right = check
        .scenes
        .iter()
        .filter(|one| one.declaration.outcome == Outcome::Done && one.wrong.is_empty());
    let (ink, right) = (if check.agrees() { Ink::Green } else { Ink::Red }, right.count());
    let sentence = format!("{right} of {played} scenarios agree");
    let rest =
        if skipped > 0 { format!(", {skipped} of {all} were not played") } else { String::new() };
    writeln!(out, "\n{}{rest}.", screen.paint(ink, sentence))?;
    let known: Vec<_> = check.waits.iter().filter(|wait| wait.least > 0).collect();
    let outside = waits::outside(&check.waits);
    let mut deviations: Vec<_> = known.iter().map(|wait| wait.deviation(outside)).collect();
    deviations.sort_unstable();
    if let Some(median) = deviations.get(deviations.len() / 2) {
        let longest = known.iter().map(|wait| wait.least).max().unwrap_or(0);
        let shortest = known.iter().map(|wait| wait.least).min().unwrap_or(0);
        writeln!(
            out,
            "{} faults that a pager kept waiting, {} to {}, were measured within {}.{} % (median).",
            known.len(),
            nanoseconds(shortest),
            nanoseconds(longest),
            median / 10,
            median % 10
        )?;
    }
    let merged = |one: &Scene<'_>| one.merged + one.unseen > 0;
    if check.scenes.iter().any(merged) {
        writeln!(
            out,
            "Merged: the {} backend cannot tell these kinds apart and says the coarser one. Unseen:\n\
             they take no exception or leave no event. The fentry and kprobe backends have neither.",
            check.trace.backend
        )?;
    }
    let text = "What one does, in words: vmtrace demo SCENARIO. Each of its faults in a line:\n\
                vmtrace --events -- vmtrace demo SCENARIO.";
    writeln!(out, "{text}")
}
