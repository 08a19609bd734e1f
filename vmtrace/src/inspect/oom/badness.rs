//! The kernel's own reckoning of who is worst: resident and swapped pages, the
//! page tables, and what `oom_score_adj` adds or takes away.
//! <https://elixir.bootlin.com/linux/latest/source/mm/oom_kill.c> (`oom_badness`)

use serde::Serialize;

/// Why a process is never killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Immune {
    /// The first process.
    Init,
    /// A kernel thread.
    KernelThread,
    /// `oom_score_adj` is -1000.
    Adjusted,
    /// It has no memory of its own any more.
    NoMemory,
}

impl Immune {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Init => "never: it is init",
            Self::KernelThread => "never: a kernel thread",
            Self::Adjusted => "never: oom_score_adj is -1000",
            Self::NoMemory => "never: it has no memory left",
        }
    }
}

/// A process as the kernel weighs it. Amounts are pages of 4 KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// Its number.
    pub pid: i32,
    /// Its name. Hostile.
    pub comm: String,
    /// Whose it is.
    pub uid: u32,
    /// Its memory cgroup. Hostile.
    pub cgroup: String,
    /// Resident pages: anonymous, of files, shared.
    pub rss: u64,
    /// Pages in swap.
    pub swap: u64,
    /// Pages of page tables.
    pub tables: u64,
    /// `oom_score_adj`.
    pub adj: i64,
    /// `oom_score` as the kernel shows it.
    pub score: Option<i64>,
    /// When it started, in ticks: who starts later loses a tie.
    pub started: u64,
    /// Why it is never killed.
    pub immune: Option<Immune>,
}

impl Candidate {
    /// What it holds, before any adjustment.
    pub const fn held(&self) -> u64 {
        self.rss + self.swap + self.tables
    }

    /// What `oom_score_adj` adds, in pages, where `total` pages are at stake.
    pub fn adjustment(&self, total: u64) -> i64 {
        // The kernel divides first.
        self.adj * i64::try_from(total / 1000).unwrap_or(i64::MAX / 2000)
    }

    /// Its points, in pages; `None` where it is never killed.
    pub fn points(&self, total: u64) -> Option<i64> {
        if self.immune.is_some() {
            return None;
        }
        let held = i64::try_from(self.held()).unwrap_or(i64::MAX);
        Some(held.saturating_add(self.adjustment(total)))
    }

    /// What `oom_score` should read, from the same parts.
    pub fn expected_score(&self, total: u64) -> i64 {
        let total_pages = i64::try_from(total).unwrap_or(i64::MAX).max(1);
        self.points(total).map_or(0, |points| {
            (1000 + points.saturating_mul(1000) / total_pages).saturating_mul(2) / 3
        })
    }
}

/// A candidate and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ranked {
    /// The candidate.
    #[serde(flatten)]
    pub candidate: Candidate,
    /// Its points in pages.
    pub points: i64,
}

/// Those who can be killed, the first to go first.
pub fn rank<'a>(candidates: impl Iterator<Item = &'a Candidate>, total: u64) -> Vec<Ranked> {
    let points = |candidate: &Candidate| candidate.points(total);
    let mut ranked: Vec<Ranked> = candidates
        .filter_map(|candidate| {
            Some(Ranked { candidate: candidate.clone(), points: points(candidate)? })
        })
        .collect();
    // The kernel keeps the last of equals, and looks at them in the order of their start.
    ranked.sort_by_key(|one| {
        std::cmp::Reverse((one.points, one.candidate.started, one.candidate.pid))
    });
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: u64 = 6_170_604;

    fn candidate(pid: i32, rss: u64, adj: i64) -> Candidate {
        Candidate { pid, rss, adj, ..Candidate::default() }
    }

    #[test]
    fn the_formula() {
        let one = Candidate { swap: 50, tables: 7, ..candidate(1, 1000, 0) };
        assert_eq!(one.points(TOTAL), Some(1057));
        assert_eq!(one.expected_score(TOTAL), 666);
        let condemned = candidate(2, 0, 500);
        assert_eq!(condemned.points(TOTAL), Some(500 * 6170));
        assert_eq!(condemned.expected_score(TOTAL), 999);
        let spared = candidate(3, 1000, -999);
        assert!(spared.points(TOTAL).unwrap() < 0);
        assert_eq!(spared.expected_score(TOTAL), 1);
        let immune = Candidate { immune: Some(Immune::Adjusted), ..candidate(4, 9, -1000) };
        assert_eq!(immune.points(TOTAL), None);
        assert_eq!(immune.expected_score(TOTAL), 0);
    }

    #[test]
    fn the_worst_goes_first_and_the_younger_of_equals() {
        let first = Candidate { started: 5, ..candidate(9, 70, 0) };
        let second = Candidate { started: 6, ..candidate(8, 70, 0) };
        let immune = Candidate { immune: Some(Immune::Init), ..candidate(1, 900, 0) };
        let small = candidate(7, 10, 1);
        let all = [first, small, second, immune];
        let order = |total| -> Vec<_> {
            rank(all.iter(), total).iter().map(|ranked| ranked.candidate.pid).collect()
        };
        assert_eq!(order(TOTAL), [7, 8, 9], "one point of adj outweighs 60 pages");
        assert_eq!(order(900), [8, 9, 7], "in a small cgroup it weighs nothing");
    }
}
