//! The figures: read, compared, printed. Pure: text in, text out.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

/// What was measured in one boot of one kernel.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) kernel: String,
    all: Vec<Figure>,
}

/// What a fault costs, in tenths of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Figure {
    name: String,
    /// The thread that faults.
    kernel: u64,
    /// The tracer.
    user: u64,
}

/// What nobody traces; everything else is told as what it adds to this.
const BARE: &str = "untraced";
/// The same at the end: how far two figures of one thing may lie apart.
const AGAIN: &str = "untraced-again";

/// What the tracer's wake-ups may add to its part of a fault, in instructions.
const WAKES: u64 = 40;

/// The most that each may add, in instructions.
const GOALS: [(&str, u64); 6] = [
    ("fentry-streamed", 600),
    ("kprobe-streamed", 1500),
    ("tracepoint-streamed", 1400),
    ("fentry-tally", 393),
    ("fentry-events", 2500),
    ("fentry-others", 30),
];

impl Figures {
    /// Reads `bench NAME KERNEL USER` lines.
    pub(super) fn read(kernel: &str, text: &str) -> Result<Self> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("bench "));
        let all = lines.map(figure).collect::<Option<Vec<_>>>();
        let all = all.filter(|all| !all.is_empty()).context("the guest printed no figures")?;
        Ok(Self { kernel: kernel.to_owned(), all })
    }

    /// Reads what [`text`](Self::text) wrote.
    pub(super) fn kept(text: &str) -> Result<Self> {
        let (kernel, rest) = text.split_once('\n').context("no figures")?;
        Self::read(kernel, rest)
    }

    /// The figures to be kept.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n", self.kernel);
        for Figure { name, kernel, user } in &self.all {
            let _ = writeln!(text, "bench {name} {kernel} {user}");
        }
        text
    }

    fn get(&self, name: &str) -> Option<&Figure> {
        self.all.iter().find(|figure| figure.name == name)
    }

    /// What a way of tracing adds, in the kernel and beside it, if it was measured.
    pub(super) fn sum(&self, name: &str) -> Option<u64> {
        self.added().find(|(other, ..)| *other == name).map(|(_, kernel, user)| kernel + user)
    }

    pub(super) fn bare(&self) -> u64 {
        self.get(BARE).map_or(0, |figure| figure.kernel)
    }

    /// All but the untraced ones, as what they add: in the kernel, and beside it.
    fn added(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        let traced = self.all.iter().filter(|figure| ![BARE, AGAIN].contains(&&*figure.name));
        traced.map(|figure| {
            (figure.name.as_str(), figure.kernel.saturating_sub(self.bare()), figure.user)
        })
    }

    /// What adds over 2 % more than it did. The tracer's part also depends on how
    /// often it happened to wake.
    pub(super) fn worse_than(&self, kept: &Self) -> Vec<String> {
        let compared = self.added().filter_map(|(name, kernel, user)| {
            let (_, old_kernel, old_user) = kept.added().find(|(other, ..)| *other == name)?;
            let is_worse = |now, before, noise| now * 100 > before * 102 + noise * 1000;
            let worse = is_worse(kernel, old_kernel, 0) || is_worse(user, old_user, WAKES);
            worse.then(|| {
                let (now, before) = (kernel + user, old_kernel + old_user);
                format!("{name} adds {}, it was {}", tenths(now), tenths(before))
            })
        });
        compared.collect()
    }

    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "{}: {} instructions for a first write to an anonymous page\n\n\
             | added by | kernel | tracer | sum | goal |\n| --- | --- | --- | --- | --- |\n",
            self.kernel,
            tenths(self.bare())
        );
        for (name, kernel, user) in self.added() {
            let goal = GOALS.iter().find(|(goal, _)| *goal == name);
            let goal = goal.map_or(String::new(), |(_, goal)| {
                let met = if kernel + user <= goal * 10 { "met" } else { "missed" };
                format!("{goal}: {met}")
            });
            let name = name.replace('-', " ");
            let sum = tenths(kernel + user);
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {sum} | {goal} |",
                tenths(kernel),
                tenths(user)
            );
        }
        text
    }

    /// Figures in whole and tenth instructions; names hold nothing to escape.
    pub(super) fn json(&self) -> String {
        let bare = tenths(self.bare());
        let mut text = format!("{{\"kernel\":\"{}\",\"untraced\":{bare},\"added\":{{", self.kernel);
        for (index, (name, kernel, user)) in self.added().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let (kernel, user) = (tenths(kernel), tenths(user));
            let _ = write!(text, "{comma}\"{name}\":{{\"kernel\":{kernel},\"user\":{user}}}");
        }
        text + "}}"
    }
}

fn figure(line: &str) -> Option<Figure> {
    let mut words = line.split_whitespace();
    let name = words.next()?.to_owned();
    let (kernel, user) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Figure { name, kernel, user })
}

pub(super) fn tenths(value: u64) -> String {
    format!("{}.{}", value / 10, value % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "bench untraced 70000 0\nbench fentry-streamed 76000 900\n\
                        bench untraced-again 70010 0\n";

    #[test]
    fn tells_what_is_added_and_whether_that_is_too_much() {
        let figures = Figures::read("6.12", TEXT).expect("figures");
        let table = figures.table();
        assert!(table.contains("| fentry streamed | 600.0 | 90.0 | 690.0 | 600: missed |"));
        assert!(!table.contains("again"), "{table}");
        let json = figures.json();
        assert!(json.contains("\"fentry-streamed\":{\"kernel\":600.0,\"user\":90.0}"), "{json}");
        assert_eq!(Figures::kept(&figures.text()).expect("kept").text(), figures.text());
    }

    #[test]
    fn two_percent_are_noise_and_more_is_not() {
        let old = Figures::read("6.12", TEXT).expect("figures");
        let new = |kernel: u64| {
            let text = TEXT.replace("76000", &kernel.to_string());
            Figures::read("6.12", &text).expect("figures").worse_than(&old)
        };
        assert!(new(76120).is_empty());
        assert_eq!(new(76200), ["fentry-streamed adds 710.0, it was 690.0"]);
        let wakes = TEXT.replace(" 900", " 1300");
        assert!(Figures::read("6.12", &wakes).expect("figures").worse_than(&old).is_empty());
        let slow = TEXT.replace(" 900", " 1400");
        assert_eq!(Figures::read("6.12", &slow).expect("figures").worse_than(&old).len(), 1);
    }

    #[test]
    fn no_figures_are_an_error() {
        assert!(Figures::read("6.12", "nothing").is_err());
        assert!(Figures::read("6.12", "bench untraced x 0").is_err());
    }
}
