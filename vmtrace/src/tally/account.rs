//! The account: what the kernel counted against what arrived.

use std::collections::HashMap;

use vmtrace_common::record::Totals;

use crate::region::Spread;

/// Sums over threads, in the words of one thread's account: whose it is, the header
/// does not say.
pub type Account = Totals;

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
        self.closed[process].add(totals);
    }

    /// What was counted of all threads that had ended where a part of a recording
    /// begins, under an id that is no thread's.
    pub fn so_far(&mut self, id: u32, process: u32, totals: &Totals) {
        self.so_far.insert(id, (process, *totals));
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
