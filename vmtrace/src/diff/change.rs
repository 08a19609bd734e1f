//! One row of a comparison, and whether it is more than noise.
//!
//! Counts of a workload that does the same twice scatter less than chance would
//! have it; so a change is taken for one where it is beyond four standard
//! deviations of two Poisson counts *and* more than 5 %. Latencies scatter in
//! two ways. Chance: a percentile of n faults lies, four times out of four and
//! a bit, between the ranks four standard deviations of a binomial around it; a
//! change needs these intervals to be apart. And the machine's mood, which no
//! statistics within one run can show: the medians have to be 30 % apart as
//! well, other percentiles a factor of two.

use super::Group;

/// Standard deviations.
const SIGMAS: f64 = 4.0;
/// The least relative change of a count.
const COUNTS: f64 = 0.05;
/// The least relative change of a median.
const MEDIANS: f64 = 0.30;
/// The least relative change of a percentile in the tail.
const TAILS: f64 = 1.0;

/// Whether two numbers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Noise {
    /// No more than noise would make them.
    Same,
    /// The second is larger.
    Rose,
    /// The second is smaller.
    Fell,
    /// There are too few to tell.
    Unknown,
}

impl Noise {
    /// Whether they do.
    pub const fn is_change(self) -> bool {
        matches!(self, Self::Rose | Self::Fell)
    }
}

/// One row: what was, what is.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Change {
    /// The class, kind or region.
    pub name: String,
    /// How many there were and are.
    pub counts: [u64; 2],
    /// How many a second.
    pub rates: [f64; 2],
    /// The time spent in them.
    pub total_ns: [u64; 2],
    /// The medians.
    pub p50_ns: [Option<u64>; 2],
    /// The 99th percentiles.
    pub p99_ns: [Option<u64>; 2],
    /// The longest.
    pub max_ns: [u64; 2],
    /// Whether the counts (or rates) differ.
    pub count: Noise,
    /// Whether the medians differ.
    pub p50: Noise,
    /// Whether the 99th percentiles differ.
    pub p99: Noise,
}

impl Change {
    /// Compares; per second where the runs' durations are given.
    pub(super) fn new(name: &str, was: &Group, is: &Group, scale: Option<(u64, u64)>) -> Self {
        Self {
            name: name.to_owned(),
            counts: [was.count, is.count],
            rates: scale.map_or([0.0; 2], |(before, after)| {
                [rate(was.count, before), rate(is.count, after)]
            }),
            total_ns: [was.total_ns, is.total_ns],
            p50_ns: [was.latencies.percentile(500), is.latencies.percentile(500)],
            p99_ns: [was.latencies.percentile(990), is.latencies.percentile(990)],
            max_ns: [was.max_ns, is.max_ns],
            count: counts(was.count, is.count, scale),
            p50: percentiles(was, is, 0.5, MEDIANS),
            p99: percentiles(was, is, 0.99, TAILS),
        }
    }

    /// Whether anything in it is more than noise.
    pub fn is_change(&self) -> bool {
        self.count.is_change() || self.p50.is_change() || self.p99.is_change()
    }

    /// How much it matters: the time that was or is spent.
    pub(super) fn weight(&self) -> u64 {
        self.total_ns[0].max(self.total_ns[1])
    }
}

#[expect(clippy::cast_precision_loss, reason = "a statistic")]
const fn real(value: u64) -> f64 {
    value as f64
}

/// So many in so many nanoseconds, a second.
pub(super) fn rate(count: u64, duration_ns: u64) -> f64 {
    if duration_ns == 0 { 0.0 } else { real(count) * 1e9 / real(duration_ns) }
}

/// Whether counts differ, or counts a second where durations are given.
fn counts(was: u64, is: u64, scale: Option<(u64, u64)>) -> Noise {
    let (was, is) = (real(was), real(is));
    // What the second would be, had it lasted as long as the first.
    let factor = match scale {
        Some((before, after)) if before > 0 && after > 0 => real(before) / real(after),
        _ => 1.0,
    };
    let expected = is * factor;
    let deviation = (was + is * factor * factor).sqrt();
    let difference = (expected - was).abs();
    if difference <= SIGMAS * deviation + SIGMAS || difference <= COUNTS * was.max(expected) {
        return Noise::Same;
    }
    if expected > was { Noise::Rose } else { Noise::Fell }
}

/// Whether a percentile differs.
fn percentiles(was: &Group, is: &Group, share: f64, least: f64) -> Noise {
    let (Some(before), Some(after)) = (interval(was, share), interval(is, share)) else {
        return Noise::Unknown;
    };
    let apart = |low: u64, high: u64| real(high) > real(low) * (1.0 + least);
    if after.0 > before.2 && apart(before.1, after.1) {
        Noise::Rose
    } else if after.2 < before.0 && apart(after.1, before.1) {
        Noise::Fell
    } else {
        Noise::Same
    }
}

/// A percentile and what it may as well have been; `None` where there are too
/// few faults to say.
fn interval(group: &Group, share: f64) -> Option<(u64, u64, u64)> {
    let count = real(group.latencies.count());
    let middle = count * share;
    let around = SIGMAS * (count * share * (1.0 - share)).sqrt();
    if middle - around < 1.0 || middle + around > count {
        return None;
    }
    let at = |rank: f64| group.latencies.ranked(whole(rank));
    Some((at(middle - around)?, at(middle)?, at(middle + around)?))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 1 and a count"
)]
const fn whole(rank: f64) -> u64 {
    rank.ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Numbers;
    use crate::tally::latency::index;

    #[test]
    fn counts_differ_beyond_chance_and_five_percent() {
        assert_eq!(counts(100, 120, None), Noise::Same);
        assert_eq!(counts(10_000, 10_450, None), Noise::Same);
        assert_eq!(counts(10_000, 11_000, None), Noise::Rose);
        assert_eq!(counts(0, 10, None), Noise::Same);
        assert_eq!(counts(0, 30, None), Noise::Rose);
        assert_eq!(counts(6144, 12, None), Noise::Fell);
        assert_eq!(counts(1000, 2000, Some((1_000, 2_000))), Noise::Same);
        assert_eq!(counts(1000, 1000, Some((1_000, 2_000))), Noise::Fell);
        assert_eq!(counts(0, 0, Some((0, 0))), Noise::Same);
    }

    fn group(seed: u64, count: u64, times: u64) -> Group {
        let mut numbers = Numbers::new(seed);
        let mut group = Group { count, ..Group::default() };
        for _ in 0..count {
            group.latencies.add(index(numbers.latency() * times / 100), 1);
        }
        group.latencies.merge(&crate::tally::latency::Compact::default(), u64::MAX);
        group
    }

    #[test]
    fn percentiles_differ_beyond_chance_and_mood() {
        let judge = |a: &Group, b: &Group| percentiles(a, b, 0.5, MEDIANS);
        for seed in 1..50 {
            let (a, b) = (group(seed, 2000, 100), group(seed + 100, 2000, 100));
            assert_eq!(judge(&a, &b), Noise::Same, "{seed}");
            assert_eq!(percentiles(&a, &b, 0.99, TAILS), Noise::Same, "{seed}");
        }
        assert_eq!(judge(&group(1, 2000, 100), &group(2, 2000, 200)), Noise::Rose);
        assert_eq!(judge(&group(1, 2000, 200), &group(2, 2000, 100)), Noise::Fell);
        assert_eq!(judge(&group(1, 10, 100), &group(2, 2000, 200)), Noise::Unknown);
    }
}
