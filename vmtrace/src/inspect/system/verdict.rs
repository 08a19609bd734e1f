//! Does it thrash? One plain sentence, and the numbers it rests on.

use serde::Serialize;

use super::rates::{Pressure, Rates};

/// How memory fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nobody waits for memory.
    Calm,
    /// The kernel frees memory in the background; nothing comes back.
    Reclaiming,
    /// Pages move to and from swap, or tasks free memory themselves.
    Tight,
    /// What is thrown out is needed again at once.
    Thrashing,
}

/// The sentence and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How memory fares.
    pub state: State,
    /// In words.
    pub sentence: &'static str,
    /// The numbers behind it.
    pub because: Vec<String>,
}

/// Pages per second that must come back before it is called thrashing: fewer
/// cost less than a disk's ordinary day.
const REFAULTS: f64 = 500.0;
/// Where pressure is not measured, this many major faults must go with them.
const MAJORS: f64 = 200.0;
/// Share of time in which every task waited for memory, in percent.
const FULL: f64 = 5.0;

/// Judges two looks' rates and the pressure.
pub fn judge(rates: &Rates, memory: Option<&Pressure>) -> Verdict {
    let full = memory.and_then(|memory| memory.full).map(|full| full.avg10);
    let some = memory.map_or(0.0, |memory| memory.some.avg10);
    let comes_back = rates.refaults() >= REFAULTS;
    let waits =
        full.map_or(rates.major >= MAJORS, |full| full >= FULL || rates.major >= MAJORS * 5.0);
    let mut because = Vec::new();
    let mut say = |when: bool, text: String| because.extend(when.then_some(text));
    if let Some(full) = full {
        say(full > 0.0, format!("for {full:.1} % of the last 10 s every task waited for memory"));
        say(some > 0.0, format!("for {some:.1} % at least one did"));
    }
    say(
        rates.refaults() >= 1.0,
        format!(
            "{:.0} pages/s came back soon after they had been thrown out ({:.0} from swap, {:.0} of files)",
            rates.refaults(),
            rates.refault_anon,
            rates.refault_file
        ),
    );
    say(rates.major >= 1.0, format!("{:.0} major faults/s", rates.major));
    say(
        rates.swap_in + rates.swap_out >= 1.0,
        format!("{:.0} pages/s from swap, {:.0} to it", rates.swap_in, rates.swap_out),
    );
    say(
        rates.stalls > 0.0,
        format!("{:.0} times a second a task had to free memory itself", rates.stalls),
    );
    say(
        rates.scanned >= 1.0,
        format!("{:.0} pages/s looked at to free {:.0}", rates.scanned, rates.reclaimed),
    );
    say(rates.kills > 0.0, format!("{:.1} processes/s killed for memory", rates.kills));
    let (state, sentence) = if comes_back && waits {
        (State::Thrashing, "it thrashes: what is thrown out is needed again at once")
    } else if comes_back
        || rates.stalls > 0.0
        || rates.swap_in + rates.swap_out >= 100.0
        || some >= FULL
        || rates.kills > 0.0
    {
        (State::Tight, "memory is tight: programs feel it")
    } else if rates.scanned >= 1.0 {
        (State::Reclaiming, "memory is being freed in the background; nobody waits for it")
    } else {
        (State::Calm, "memory is not short: nothing is being freed, nobody waits")
    };
    Verdict { state, sentence, because }
}

#[cfg(test)]
mod tests {
    use super::super::rates::Stalled;
    use super::*;

    fn full(avg10: f64) -> Pressure {
        let stalled = Stalled { avg10, ..Stalled::default() };
        Pressure { some: stalled, full: Some(stalled) }
    }

    #[test]
    fn calm_reclaiming_tight_thrashing() {
        let calm = Rates::default();
        assert_eq!(judge(&calm, None).state, State::Calm);
        assert!(judge(&calm, None).because.is_empty());
        let busy = Rates { scanned: 900.0, reclaimed: 890.0, ..calm };
        assert_eq!(judge(&busy, Some(&full(0.0))).state, State::Reclaiming);
        let swapping = Rates { swap_out: 500.0, ..busy };
        assert_eq!(judge(&swapping, Some(&full(0.0))).state, State::Tight);
        let back = Rates { refault_anon: 9000.0, swap_in: 9000.0, major: 800.0, ..swapping };
        assert_eq!(judge(&back, Some(&full(30.0))).state, State::Thrashing);
        assert_eq!(judge(&back, None).state, State::Thrashing, "without pressure, majors tell");
        let cheap = Rates { major: 0.0, ..back };
        assert_eq!(judge(&cheap, Some(&full(0.1))).state, State::Tight, "zram may be fast enough");
    }

    #[test]
    fn a_stream_of_new_files_is_no_thrashing() {
        let copy =
            Rates { scanned: 90_000.0, reclaimed: 90_000.0, major: 400.0, ..Rates::default() };
        assert_eq!(judge(&copy, Some(&full(0.0))).state, State::Reclaiming);
    }
}
