//! The account: what the kernel counted against what arrived.

use std::collections::HashMap;

use vmtrace_common::record::{Header, TLB_REASONS, Totals};

use crate::region::Spread;

/// Sums over threads of what the kernel side counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Growth of the kernel's `min_flt`.
    pub min_flt: u64,
    /// Growth of the kernel's `maj_flt`.
    pub maj_flt: u64,
    /// Faults that ended under the programs' eyes.
    pub seen: u64,
    /// Sent one by one.
    pub emitted: u64,
    /// Folded for want of room.
    pub spilled: u64,
    /// Neither.
    pub lost: u64,
    /// Left out by a filter in the kernel.
    pub filtered: u64,
    /// Their end was not seen.
    pub stale: u64,
    /// TLB flushes by reason.
    pub flushes: [u64; TLB_REASONS],
    /// Pages flushed one by one.
    pub pages: u64,
    /// Flushes of everything.
    pub full_flushes: u64,
}

impl From<&Totals> for Account {
    fn from(totals: &Totals) -> Self {
        Self {
            min_flt: totals.min_flt,
            maj_flt: totals.maj_flt,
            seen: totals.seen,
            emitted: totals.emitted,
            spilled: totals.spilled,
            lost: totals.lost,
            filtered: totals.filtered,
            stale: totals.stale,
            flushes: totals.flushes,
            pages: totals.pages,
            full_flushes: totals.full_flushes,
        }
    }
}

impl Account {
    /// Adds another one. What a hostile recording claims must not overflow.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.min_flt, other.min_flt),
            (&mut self.maj_flt, other.maj_flt),
            (&mut self.seen, other.seen),
            (&mut self.emitted, other.emitted),
            (&mut self.spilled, other.spilled),
            (&mut self.lost, other.lost),
            (&mut self.filtered, other.filtered),
            (&mut self.stale, other.stale),
            (&mut self.pages, other.pages),
            (&mut self.full_flushes, other.full_flushes),
        ];
        let flushes = self.flushes.iter_mut().zip(other.flushes);
        for (mine, theirs) in pairs.into_iter().chain(flushes) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// As a record of its own.
    pub fn totals(&self, header: Header) -> Totals {
        Totals {
            header,
            min_flt: self.min_flt,
            maj_flt: self.maj_flt,
            seen: self.seen,
            emitted: self.emitted,
            spilled: self.spilled,
            lost: self.lost,
            filtered: self.filtered,
            stale: self.stale,
            flushes: self.flushes,
            pages: self.pages,
            full_flushes: self.full_flushes,
        }
    }

    /// Whether everything seen is somewhere.
    pub fn balances(&self) -> bool {
        let places = [self.emitted, self.spilled, self.lost, self.filtered];
        let somewhere = places.into_iter().fold(0_u64, u64::saturating_add);
        self.seen == somewhere && self.lost == 0 && self.stale == 0
    }
}

/// The accounts of all processes: of their threads, each told once, when nothing
/// of it runs any more or the session ends.
#[derive(Debug, Default)]
pub struct Accounts {
    closed: Vec<Account>,
    /// Sums of many threads in nobody's name, of which the next holds the last.
    so_far: HashMap<u32, (u32, Account), Spread>,
}

impl Accounts {
    /// A thread's account, or more of it.
    pub fn add(&mut self, process: u32, totals: &Totals) {
        let process = process as usize;
        if process >= self.closed.len() {
            self.closed.resize(process + 1, Account::default());
        }
        self.closed[process].add(&totals.into());
    }

    /// What was counted of all threads that had ended where a part of a recording
    /// begins, under an id that is no thread's.
    pub fn so_far(&mut self, id: u32, process: u32, totals: &Totals) {
        self.so_far.insert(id, (process, totals.into()));
    }

    /// Every process's account, by its place in the world.
    pub fn by_process(&self, processes: usize) -> Vec<Account> {
        let mut sums = self.closed.clone();
        sums.resize(processes.max(sums.len()), Account::default());
        for (process, account) in self.so_far.values() {
            if let Some(sum) = sums.get_mut(*process as usize) {
                sum.add(account);
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_counts_and_a_running_sum_counts_once() {
        let totals = |seen| Totals { seen, emitted: seen, ..Totals::default() };
        let mut accounts = Accounts::default();
        accounts.so_far(0, 0, &totals(5));
        accounts.so_far(0, 0, &totals(7));
        accounts.add(1, &totals(1));
        accounts.add(1, &totals(2));
        let all = accounts.by_process(3);
        assert_eq!(all.iter().map(|one| one.seen).collect::<Vec<_>>(), [7, 3, 0]);
        assert!(all.iter().all(Account::balances));
    }

    #[test]
    fn a_lost_fault_does_not_balance() {
        let account = Account { seen: 2, emitted: 1, lost: 1, ..Account::default() };
        assert!(!account.balances());
        let huge = Account { seen: u64::MAX, emitted: u64::MAX, ..Account::default() };
        let mut sum = huge;
        sum.add(&huge);
        assert!(sum.balances());
    }
}
