//! Latency histograms with two significant digits.
//!
//! 64 buckets to an octave: a bucket's middle is within 0.8 % of all it holds.
//! There may be a million histograms, most of a few faults, so the compact form
//! begins as a short list and becomes an array over the octaves it has met only
//! when it must; `hdrhistogram`'s smallest takes kilobytes from the start.

use vmtrace_common::buckets;
use vmtrace_common::evidence::end;
use vmtrace_common::record::Spill;

const SUB_BITS: u32 = 6;
const SUB: usize = 1 << SUB_BITS;
/// The part of a bucket's index that tells buckets of one octave apart.
const WITHIN: u16 = (1 << SUB_BITS) - 1;
/// How many buckets 64 bits of nanoseconds need.
pub const BUCKETS: usize = ((64 - SUB_BITS as usize) << SUB_BITS) + SUB;

/// The bucket of a latency.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "at most BUCKETS")]
pub const fn index(ns: u64) -> u16 {
    let octave = (ns | SUB as u64).ilog2() - SUB_BITS;
    ((octave << SUB_BITS) as u16).wrapping_add((ns >> octave) as u16)
}

/// The lowest latency in a bucket.
pub const fn floor(index: usize) -> u64 {
    if index < 2 * SUB {
        return index as u64;
    }
    let octave = (index >> SUB_BITS) - 1;
    ((index - (octave << SUB_BITS)) as u64) << octave
}

/// What a fault in a bucket is taken to have lasted.
pub const fn middle(index: usize) -> u64 {
    let floor = floor(index);
    let next = self::floor(index + 1);
    if next > floor { floor + (next - 1 - floor) / 2 } else { floor }
}

/// What histograms may still take, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Budget(pub usize);

impl Budget {
    const fn take(&mut self, bytes: usize) -> bool {
        let enough = self.0 >= bytes;
        if enough {
            self.0 -= bytes;
        }
        enough
    }

    const fn give_back(&mut self, counts: &Vec<u32>) {
        self.0 += counts.capacity() * size_of::<u32>();
    }
}

/// `Compact::base` of a list: `bucket << 20 | count`, in no order.
const LIST: u16 = u16::MAX;
/// The most entries of a list.
const LISTED: usize = 24;
/// How often one is met before the list becomes an array.
const OFTEN: u32 = 512;
const COUNT_BITS: u32 = 20;
const COUNT_MASK: u32 = (1 << COUNT_BITS) - 1;
/// `Compact::base` of one that was given up.
const FOLDED: u16 = u16::MAX - 1;

/// A histogram in as few bytes as it can.
#[derive(Clone, Debug)]
pub struct Compact {
    counts: Vec<u32>,
    base: u16,
}

/// The counts of a compact histogram.
#[derive(Debug)]
pub struct Quick<'a> {
    counts: &'a mut [u32],
    base: usize,
}

impl Quick<'_> {
    /// Counts one latency; false where that takes more than to add one.
    #[inline]
    pub fn count(&mut self, bucket: u16) -> bool {
        // Neither a list nor a folded one has so high an index.
        let index = usize::from(bucket).wrapping_sub(self.base);
        let Some(count) = self.counts.get_mut(index) else { return false };
        let Some(more) = count.checked_add(1) else { return false };
        *count = more;
        true
    }
}

/// A compact histogram could not take a latency: put it elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Default for Compact {
    fn default() -> Self {
        Self { counts: Vec::new(), base: LIST }
    }
}

impl Compact {
    /// What counts a latency where that takes no thought.
    #[inline]
    pub fn quick(&mut self) -> Quick<'_> {
        Quick { counts: &mut self.counts, base: self.base.into() }
    }

    /// Counts latencies, growing if it must and may.
    pub fn add(&mut self, bucket: u16, count: u32, budget: &mut Budget) -> Result<(), Full> {
        if self.base == FOLDED {
            return Err(Full);
        }
        if self.base == LIST {
            if self.listed(bucket, count, budget)? {
                return Ok(());
            }
            self.spread_out(bucket, budget)?;
        }
        self.reach(bucket, budget)?;
        let slot = &mut self.counts[usize::from(bucket - self.base)];
        *slot = slot.checked_add(count).ok_or(Full)?;
        Ok(())
    }

    /// Counts in the list, where that has room for it.
    fn listed(&mut self, bucket: u16, count: u32, budget: &mut Budget) -> Result<bool, Full> {
        let met = self.counts.iter_mut().find(|entry| **entry >> COUNT_BITS == u32::from(bucket));
        if let Some(entry) = met {
            let before = *entry & COUNT_MASK;
            if count > COUNT_MASK - before {
                return Ok(false);
            }
            *entry += count;
            if before < OFTEN && before + count >= OFTEN {
                // To search the list each time costs more than an array is worth.
                // Where there is no memory for one, the list is still right.
                let _ = self.spread_out(bucket, budget);
            }
            return Ok(true);
        }
        if self.counts.len() >= LISTED || count > COUNT_MASK {
            return Ok(false);
        }
        if self.counts.len() == self.counts.capacity() {
            // Two, four, eight, sixteen, twenty-four: a million of these are made.
            let more = (self.counts.len().max(2)).min(LISTED - self.counts.len());
            if !budget.take(more * size_of::<u32>()) {
                return Err(Full);
            }
            self.counts.reserve_exact(more);
        }
        self.counts.push(u32::from(bucket) << COUNT_BITS | count);
        Ok(true)
    }

    /// From a list to an array.
    fn spread_out(&mut self, bucket: u16, budget: &mut Budget) -> Result<(), Full> {
        let buckets = || self.entries().map(|(index, _)| index).chain([bucket]);
        let low = buckets().min().unwrap_or(bucket) & !WITHIN;
        let high = buckets().max().unwrap_or(bucket) | WITHIN;
        let len = usize::from(high - low) + 1;
        if !budget.take(len * size_of::<u32>()) {
            return Err(Full);
        }
        let mut counts = vec![0; len];
        for (index, count) in self.entries() {
            counts[usize::from(index - low)] = u32::try_from(count).unwrap_or(u32::MAX);
        }
        budget.give_back(&self.counts);
        *self = Self { counts, base: low };
        Ok(())
    }

    /// Widens the array by whole octaves.
    fn reach(&mut self, bucket: u16, budget: &mut Budget) -> Result<(), Full> {
        let base = bucket & !WITHIN;
        let missing = usize::from(self.base.saturating_sub(base));
        let end = usize::from(base - base.min(self.base)) + SUB;
        let len = (self.counts.len() + missing).max(end);
        if len == self.counts.len() {
            return Ok(());
        }
        if !budget.take((len - self.counts.len()) * size_of::<u32>()) {
            return Err(Full);
        }
        let mut counts = Vec::with_capacity(len);
        counts.resize(missing, 0);
        counts.append(&mut self.counts);
        counts.resize(len, 0);
        *self = Self { counts, base: self.base.min(base) };
        Ok(())
    }

    /// Gives it up, handing over what it held.
    #[must_use]
    pub fn fold(&mut self, budget: &mut Budget) -> Self {
        budget.give_back(&self.counts);
        std::mem::replace(self, Self { counts: Vec::new(), base: FOLDED })
    }

    /// Whether its latencies went elsewhere.
    pub const fn is_folded(&self) -> bool {
        self.base == FOLDED
    }

    /// Buckets that hold something, and how many.
    pub fn entries(&self) -> impl Iterator<Item = (u16, u64)> {
        let (base, list) = (self.base, self.base == LIST);
        self.counts.iter().zip(0_u16..).filter(|&(&count, _)| count != 0).map(
            move |(&count, at)| {
                if list {
                    // At most twelve bits are left.
                    ((count >> COUNT_BITS) as u16, u64::from(count & COUNT_MASK))
                } else {
                    (base + at, u64::from(count))
                }
            },
        )
    }
}

/// A histogram to read percentiles from: made of others when a report is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    counts: Vec<u64>,
    count: u64,
    max: u64,
    partial: bool,
}

impl Distribution {
    /// Counts latencies.
    pub fn add(&mut self, bucket: u16, count: u64) {
        let bucket = usize::from(bucket).min(BUCKETS - 1);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += count;
        self.count += count;
    }

    /// Takes in a compact one, whose longest latency is `max`.
    pub fn merge(&mut self, other: &Compact, max: u64) {
        self.max = self.max.max(max);
        self.partial |= other.is_folded();
        other.entries().for_each(|(bucket, count)| self.add(bucket, count));
    }

    /// Takes in another one.
    pub fn absorb(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.count += other.count;
        self.max = self.max.max(other.max);
        self.partial |= other.partial;
    }

    /// Latencies that were folded into this one are all here after all.
    pub const fn complete(&mut self) {
        self.partial = false;
    }

    /// The latency that `permille` of a thousand do not exceed; `None` where
    /// nothing was timed or the latencies were folded with others'.
    pub fn percentile(&self, permille: u64) -> Option<u64> {
        let rank = u128::from(self.count) * u128::from(permille);
        self.ranked(u64::try_from(rank.div_ceil(1000)).unwrap_or(u64::MAX))
    }

    /// The latency that `rank` of all do not exceed, as
    /// [`percentile`](Self::percentile) tells it.
    pub fn ranked(&self, rank: u64) -> Option<u64> {
        if self.count == 0 || self.partial {
            return None;
        }
        let mut below = 0;
        for (index, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank.max(1) {
                return Some(middle(index).min(self.max));
            }
        }
        Some(self.max)
    }

    /// How many latencies it holds.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Powers of two from the shortest to the longest latency: from, to, count.
    pub fn octaves(&self) -> Vec<(u64, u64, u64)> {
        let mut octaves: Vec<(u64, u64, u64)> = Vec::new();
        for (octave, counts) in self.counts.chunks(SUB).enumerate() {
            let count: u64 = counts.iter().sum();
            if count == 0 && octaves.is_empty() {
                continue;
            }
            let from = floor(octave << SUB_BITS);
            let to = floor((octave + 1) << SUB_BITS);
            octaves.push((from, to, count));
        }
        octaves
    }
}

/// A spill's buckets as these; none where nobody knows how long its faults took.
pub fn spilled(spill: &Spill) -> impl Iterator<Item = (u16, u32)> {
    let timed = spill.common.end() != end::RECONSTRUCTED;
    let counts = spill.buckets.iter().enumerate().filter(move |&(_, &count)| timed && count != 0);
    counts.map(|(bucket, &count)| (index(buckets::middle(bucket).min(spill.max)), count))
}

#[cfg(test)]
#[path = "latency/tests.rs"]
mod tests;
