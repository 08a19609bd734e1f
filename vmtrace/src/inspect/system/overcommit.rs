//! What the kernel promises beyond what it has, and what a large allocation
//! would be told. <https://elixir.bootlin.com/linux/latest/source/mm/util.c>
//! (`__vm_enough_memory`)

use serde::Serialize;

/// The policy and its numbers, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Overcommit {
    /// `vm.overcommit_memory`: 0, 1 or 2.
    pub mode: u64,
    /// `vm.overcommit_ratio`, in percent.
    pub ratio: u64,
    /// RAM and swap.
    pub total: u64,
    /// What may be promised where the policy is strict.
    pub limit: u64,
    /// What is promised.
    pub committed: u64,
    /// Set aside for root.
    pub admin_reserve: u64,
    /// Set aside from a process that takes nearly everything.
    pub user_reserve: u64,
}

/// What an allocation would be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It gets its address space.
    Granted,
    /// `ENOMEM`.
    Refused,
}

impl Overcommit {
    /// The policy in words.
    pub const fn words(&self) -> &'static str {
        match self.mode {
            0 => "heuristic: only what could never fit at once is refused",
            1 => "always: every allocation is granted",
            2 => "strict: nothing is granted beyond the limit",
            _ => "unknown to vmtrace",
        }
    }

    /// The largest single allocation that an ordinary process would be granted;
    /// `None` is without limit.
    pub fn largest(&self) -> Option<u64> {
        match self.mode {
            1 => None,
            2 => {
                let allowed = self.limit.saturating_sub(self.admin_reserve);
                Some(allowed.saturating_sub(self.user_reserve).saturating_sub(self.committed))
            }
            _ => Some(self.total),
        }
    }

    /// What an allocation of this size would be told.
    pub fn ask(&self, size: u64) -> Answer {
        if self.largest().is_none_or(|largest| size <= largest) {
            Answer::Granted
        } else {
            Answer::Refused
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_policies() {
        let strict = Overcommit {
            mode: 2,
            total: 100,
            limit: 60,
            committed: 40,
            admin_reserve: 5,
            user_reserve: 3,
            ..Overcommit::default()
        };
        assert_eq!(strict.largest(), Some(12));
        assert_eq!(strict.ask(13), Answer::Refused);
        let heuristic = Overcommit { mode: 0, ..strict };
        assert_eq!(heuristic.ask(100), Answer::Granted);
        assert_eq!(heuristic.ask(101), Answer::Refused);
        assert_eq!(Overcommit { mode: 1, ..strict }.ask(u64::MAX), Answer::Granted);
    }
}
