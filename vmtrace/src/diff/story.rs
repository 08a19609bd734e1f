//! What changed, in sentences; and what some changes mean together.

use super::Change;
use super::change::Noise;
use crate::term::units::{count, nanoseconds};

/// Pages in a huge one.
const HUGE: u64 = 512;

/// Sentences about regions at most: the table has the rest.
const REGIONS: usize = 5;

/// Two kinds that change together, and what that means.
const MEANINGS: [(&str, Noise, &str, Noise, &str); 6] = [
    (
        "anon-zero",
        Noise::Fell,
        "thp",
        Noise::Rose,
        "memory that was faulted in page by page now comes as huge pages: one fault where there were up to 512",
    ),
    (
        "anon-zero",
        Noise::Rose,
        "thp",
        Noise::Fell,
        "memory that came as huge pages is now faulted in page by page: up to 512 faults where there was one",
    ),
    (
        "file-read",
        Noise::Fell,
        "file-map",
        Noise::Rose,
        "what had to be read from the disk is in the page cache now",
    ),
    (
        "file-read",
        Noise::Rose,
        "file-map",
        Noise::Fell,
        "what was in the page cache has to be read from the disk now",
    ),
    (
        "swap-in",
        Noise::Rose,
        "swap-in",
        Noise::Rose,
        "memory is short: what was swapped out is needed again",
    ),
    (
        "cow-copy",
        Noise::Rose,
        "cow-copy",
        Noise::Rose,
        "more pages are written to while another process shares them: a fork, or a larger heap at one",
    ),
];

/// All that is more than noise: the kinds, what they mean, the regions.
pub(super) fn sentences(kinds: &[Change], regions: &[Change]) -> Vec<String> {
    let mut told: Vec<String> = kinds.iter().flat_map(of).collect();
    let went = |kind: &str| {
        let kind = kinds.iter().find(|change| change.name == kind);
        kind.map_or(Noise::Same, |change| change.count)
    };
    for (one, how, other, so, meaning) in MEANINGS {
        if went(one) == how && went(other) == so {
            told.push(meaning.to_owned());
        }
    }
    // A few hundred pages fit into a huge one: too few of those to be told from noise
    // may stand for all that changed.
    let grew = |kind: &str, [from, to]: [usize; 2]| {
        let kind = kinds.iter().find(|change| change.name == kind);
        kind.map_or(0, |kind| kind.counts[to].saturating_sub(kind.counts[from]))
    };
    let replaced = |[from, to]: [usize; 2]| {
        let (huge, small) = (grew("thp", [from, to]), grew("anon-zero", [to, from]));
        huge > 0 && huge.saturating_mul(HUGE * 2) >= small
    };
    for (how, order, meaning) in
        [(Noise::Fell, [0, 1], MEANINGS[0].4), (Noise::Rose, [1, 0], MEANINGS[1].4)]
    {
        let told_already = told.iter().any(|sentence| sentence == meaning);
        if went("anon-zero") == how && replaced(order) && !told_already {
            told.push(meaning.to_owned());
        }
    }
    let only_fell = |kind: &str| {
        went(kind) == Noise::Fell && kinds.iter().all(|change| change.count != Noise::Rose)
    };
    if only_fell("anon-zero") && !replaced([0, 1]) {
        told.push(
            "no other kind took its place: that memory is touched no more, or it is filled beforehand (MAP_POPULATE, mlock, io_uring), which the tracepoint backend does not see as faults"
                .to_owned(),
        );
    }
    let changed = regions.iter().filter(|change| change.count.is_change());
    told.extend(changed.take(REGIONS).filter_map(counts));
    told
}

fn of(change: &Change) -> Vec<String> {
    let latency = |what: &str, noise: Noise, values: [Option<u64>; 2]| {
        let [Some(was), Some(is)] = values else { return None };
        let word = match noise {
            Noise::Rose => "slower",
            Noise::Fell => "faster",
            Noise::Same | Noise::Unknown => return None,
        };
        let (name, was, is) = (&change.name, nanoseconds(was), nanoseconds(is));
        Some(format!("{name} became {word}: {what} was {was}, is {is}"))
    };
    let told = [
        counts(change),
        latency("the median", change.p50, change.p50_ns),
        latency("the 99th percentile", change.p99, change.p99_ns),
    ];
    told.into_iter().flatten().collect()
}

fn counts(change: &Change) -> Option<String> {
    let [was, is] = change.counts;
    let name = &change.name;
    let how = match (change.count, was, is) {
        (Noise::Same | Noise::Unknown, ..) => return None,
        (Noise::Rose, 0, _) => format!("{name} appeared: none before, {} now", count(is)),
        (Noise::Fell, _, 0) => format!("{name} vanished: {} before, none now", count(was)),
        (Noise::Rose, ..) => format!("{name} rose from {} to {}", count(was), count(is)),
        (Noise::Fell, ..) => format!("{name} fell from {} to {}", count(was), count(is)),
    };
    let [before, after] = change.rates;
    if before + after > 0.0 {
        return Some(format!("{how} ({before:.0}/s, then {after:.0}/s)"));
    }
    Some(match relative(was, is) {
        Some(share) => format!("{how} ({share})"),
        None => how,
    })
}

/// `+12 %`, `×512`; nothing where one side has none.
pub(super) fn relative(was: u64, is: u64) -> Option<String> {
    if was == 0 || is == 0 {
        return None;
    }
    if is / was >= 10 {
        return Some(format!("×{}", is / was));
    }
    let difference = i128::from(is) - i128::from(was);
    let permille = difference * 1000 / i128::from(was);
    let sign = if permille < 0 { "−" } else { "+" };
    let permille = permille.unsigned_abs();
    Some(format!("{sign}{}.{} %", permille / 10, permille % 10))
}
