//! Buckets, budgets, and percentiles held against another implementation.

use super::*;
use crate::synthetic::Numbers;

const PLENTY: Budget = Budget(1 << 30);

#[test]
fn every_latency_lies_in_its_bucket() {
    let mut numbers = Numbers::new(1);
    for round in 0..100_000_u32 {
        let ns = numbers.next() >> (round % 64);
        let bucket = usize::from(index(ns));
        assert!(bucket < BUCKETS && floor(bucket) <= ns);
        assert!(bucket + 1 == BUCKETS || ns < floor(bucket + 1), "{ns} in {bucket}");
        assert!(middle(bucket).abs_diff(ns) <= ns / 127 + 1, "{ns}");
    }
    assert_eq!(usize::from(index(u64::MAX)), BUCKETS - 1);
}

#[test]
fn percentiles_agree_with_hdrhistogram() {
    let mut other = hdrhistogram::Histogram::<u64>::new(2).unwrap();
    let mut compact = Compact::default();
    let mut numbers = Numbers::new(2);
    let mut max = 0;
    for _ in 0..100_000 {
        let ns = numbers.latency();
        max = max.max(ns);
        other.record(ns).unwrap();
        compact.add(index(ns), 1, &mut { PLENTY }).unwrap();
    }
    let mut mine = Distribution::default();
    mine.merge(&compact, max);
    for permille in [1_u32, 100, 500, 900, 990, 999, 1000] {
        let told = mine.percentile(permille.into()).unwrap();
        let theirs = other.value_at_quantile(f64::from(permille) / 1000.0);
        assert!(told.abs_diff(theirs) * 50 <= theirs, "{permille}: {told} {theirs}");
    }
    assert_eq!(mine.count(), 100_000);
}

#[test]
fn a_list_becomes_an_array_and_loses_nothing() {
    let mut compact = Compact::default();
    let mut plain = Distribution::default();
    let mut numbers = Numbers::new(3);
    for _ in 0..1000 {
        let bucket = index(numbers.latency());
        plain.add(bucket, 3);
        compact.add(bucket, 3, &mut { PLENTY }).unwrap();
    }
    let mut merged = Distribution::default();
    merged.merge(&compact, 0);
    assert_eq!(merged, plain);
}

#[test]
fn counts_are_refused_rather_than_wrapped() {
    let mut compact = Compact::default();
    compact.add(5, COUNT_MASK, &mut { PLENTY }).unwrap();
    compact.add(5, 1, &mut { PLENTY }).unwrap();
    compact.add(5, u32::MAX - COUNT_MASK - 1, &mut { PLENTY }).unwrap();
    assert!(!compact.quick().count(5));
    assert_eq!(compact.add(5, 1, &mut { PLENTY }), Err(Full));
    assert_eq!(compact.entries().collect::<Vec<_>>(), [(5, u64::from(u32::MAX))]);
}

#[test]
fn without_a_budget_it_stays_a_list_and_is_folded() {
    let mut compact = Compact::default();
    let mut little = Budget(LISTED * size_of::<u32>());
    for bucket in 0..24 {
        compact.add(bucket, 1, &mut little).unwrap();
    }
    assert_eq!(compact.add(99, 1, &mut little), Err(Full));
    let held = compact.fold(&mut little);
    assert_eq!((held.entries().count(), little.0), (24, LISTED * size_of::<u32>()));
    assert!(compact.is_folded() && !compact.quick().count(3));
    assert_eq!(compact.add(3, 1, &mut { PLENTY }), Err(Full));
    let mut told = Distribution::default();
    told.merge(&compact, 7);
    assert_eq!(told.percentile(500), None);
}

#[test]
fn octaves_are_powers_of_two() {
    let mut told = Distribution::default();
    told.add(index(600), 2);
    told.add(index(1024), 1);
    told.add(index(5000), 1);
    assert_eq!(told.octaves(), [(512, 1024, 2), (1024, 2048, 1), (2048, 4096, 0), (4096, 8192, 1)]);
    assert_eq!(Distribution::default().octaves(), []);
    told.merge(&Compact::default(), 8000);
    assert_eq!(told.percentile(500), Some(603));
}

#[test]
fn a_busy_list_becomes_an_array_where_there_is_memory() {
    for (budget, is_array) in [(Budget(1 << 20), true), (Budget(16), false)] {
        let (mut compact, mut budget) = (Compact::default(), budget);
        for _ in 0..2 * OFTEN {
            compact.add(700, 1, &mut budget).unwrap();
        }
        assert_eq!(compact.quick().count(700), is_array);
        let counted = u64::from(2 * OFTEN) + u64::from(is_array);
        assert_eq!(compact.entries().collect::<Vec<_>>(), [(700, counted)]);
    }
}
