//! Log-linear latency buckets for spilled faults: four to an octave.
//!
//! A spilled fault keeps its count and its bucket, so a percentile taken from
//! spilled faults is right to within 12.5 %.

/// Buckets to an octave, as a power of two.
pub const SUB_BITS: u32 = 2;
/// Latencies below `1 << FIRST_OCTAVE` nanoseconds share the first bucket.
pub const FIRST_OCTAVE: u32 = 6;
/// Latencies from `1 << LAST_OCTAVE` nanoseconds (17 s) up share the last.
pub const LAST_OCTAVE: u32 = 34;
/// How many buckets there are.
pub const COUNT: usize = (((LAST_OCTAVE - FIRST_OCTAVE) << SUB_BITS) + 2) as usize;

/// The bucket that `ns` falls into.
#[inline(always)]
pub const fn index(ns: u64) -> usize {
    if ns < 1 << FIRST_OCTAVE {
        return 0;
    }
    if ns >= 1 << LAST_OCTAVE {
        return COUNT - 1;
    }
    let octave = ilog2(ns);
    let sub = ((ns >> (octave - SUB_BITS)) & ((1 << SUB_BITS) - 1)) as usize;
    (((octave - FIRST_OCTAVE) as usize) << SUB_BITS) + sub + 1
}

/// As [`index`], in a third of the instructions and with branches: for where
/// little comes after, because the verifier follows each way through them.
#[inline(always)]
pub const fn quick_index(ns: u64) -> usize {
    if ns < 1 << FIRST_OCTAVE {
        return 0;
    }
    if ns >= 1 << LAST_OCTAVE {
        return COUNT - 1;
    }
    let (mut rest, mut octave) = (ns, 0);
    if rest >= 1 << 20 {
        (rest, octave) = (rest >> 16, 16);
    }
    if rest >= 1 << 12 {
        (rest, octave) = (rest >> 8, octave + 8);
    }
    if rest >= 1 << 8 {
        (rest, octave) = (rest >> 4, octave + 4);
    }
    if rest >= 1 << 6 {
        (rest, octave) = (rest >> 2, octave + 2);
    }
    if rest >= 1 << 5 {
        (rest, octave) = (rest >> 1, octave + 1);
    }
    // What is left has its highest bit at the fourth place.
    let sub = (rest >> (4 - SUB_BITS)) as usize & ((1 << SUB_BITS) - 1);
    ((octave + 4 - FIRST_OCTAVE as usize) << SUB_BITS) + sub + 1
}

/// The lowest latency that falls into bucket `index`.
pub const fn floor(index: usize) -> u64 {
    if index == 0 {
        return 0;
    }
    let step = index as u64 - 1;
    let octave = FIRST_OCTAVE as u64 + (step >> SUB_BITS);
    (1 << octave) + ((step & ((1 << SUB_BITS) - 1)) << (octave - SUB_BITS as u64))
}

/// The middle of bucket `index`: what a spilled fault is taken to have lasted.
pub const fn middle(index: usize) -> u64 {
    if index + 1 >= COUNT { floor(index) } else { u64::midpoint(floor(index), floor(index + 1)) }
}

/// `u64::ilog2` without a branch: each would double the paths that the verifier
/// follows, and BPF has no instruction that counts leading zeros.
#[inline(always)]
const fn ilog2(mut v: u64) -> u32 {
    v |= v >> 1;
    v |= v >> 2;
    v |= v >> 4;
    v |= v >> 8;
    v |= v >> 16;
    v |= v >> 32;
    v.count_ones() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_lies_in_its_bucket() {
        for shift in 0..40 {
            for offset in [0_u64, 1, 2, 3, 5, 7] {
                let ns = (1_u64 << shift) + offset * ((1 << shift) / 8);
                let i = index(ns);
                assert_eq!(quick_index(ns), i, "{ns}");
                assert!(floor(i) <= ns, "{ns} below its bucket {i}");
                assert!(i == COUNT - 1 || ns < floor(i + 1), "{ns} above its bucket {i}");
            }
        }
    }

    #[test]
    fn the_ends_are_the_ends() {
        assert_eq!(index(0), 0);
        assert_eq!(index(u64::MAX), COUNT - 1);
        assert_eq!(floor(COUNT - 1), 1 << LAST_OCTAVE);
    }

    #[test]
    fn the_middle_is_within_an_eighth() {
        for i in 1..COUNT - 1 {
            let half = middle(i) - floor(i);
            assert!(half * 8 <= middle(i), "bucket {i}");
        }
    }
}
