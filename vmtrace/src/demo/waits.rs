//! Faults whose time is known: the program that took them looked at the clock
//! around each, and where a pager of its own served them it knows how long that
//! waited at least.

use super::compare::Seen;
use super::declare::Declaration;
use crate::fault::Kind;

/// A fault that took a known time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Its kind.
    pub kind: Kind,
    /// It waited at least so long, in nanoseconds; 0 where that is not known.
    pub least: u64,
    /// So long by its program's own clock.
    pub most: u64,
    /// What the trace says.
    pub told: u64,
}

impl Wait {
    /// How far the trace is from the program's clock, in thousandths, if so
    /// many nanoseconds of what the program sees lie outside the fault.
    pub fn deviation(&self, outside: u64) -> u64 {
        let most = self.most.saturating_sub(outside);
        (most.abs_diff(self.told) * 1000).checked_div(self.most).unwrap_or(0)
    }

    /// Whether it lies between what the program knows.
    pub fn holds(&self) -> bool {
        // The two clocks are one, but the kernel reads it in a cheaper way.
        const GRAIN: u64 = 20_000;
        (self.least.saturating_sub(GRAIN)..=self.most.saturating_add(GRAIN)).contains(&self.told)
    }
}

impl Declaration {
    /// The faults of known length, as a trace tells of them. None where it
    /// tells of another number of faults than was declared.
    pub fn waits(&self, faults: &[Seen]) -> Vec<Wait> {
        let mut waits = Vec::new();
        for one in &self.expectations {
            let Some((least, most)) = one.latency_ns else { continue };
            let here = |fault: &&Seen| {
                fault.pid == one.pid && (one.start..one.end).contains(&fault.address)
            };
            let told: Vec<_> = faults.iter().filter(here).map(|fault| fault.latency).collect();
            if one.count.allows(told.len() as u64) {
                let wait = |told| Wait { kind: one.kind, least, most, told };
                waits.extend(told.into_iter().map(wait));
            }
        }
        waits
    }
}

/// What a program sees of a fault besides the fault: the way into the kernel
/// and back, which an emulated processor makes long. The median of its faults
/// that waited for nothing.
pub fn outside(waits: &[Wait]) -> u64 {
    let plain = waits.iter().filter(|wait| wait.kind == Kind::AnonRead && wait.least == 0);
    let mut differences: Vec<_> = plain.map(|wait| wait.most.saturating_sub(wait.told)).collect();
    let middle = differences.len() / 2;
    if differences.is_empty() { 0 } else { *differences.select_nth_unstable(middle).1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn wait(told: u64) -> Wait {
        Wait { kind: Kind::Userfault, least: 10 * MS, most: 10 * MS + 50_000, told }
    }

    #[test]
    fn a_wait_lies_between_what_its_program_knows() {
        assert!(wait(10 * MS + 30_000).holds());
        assert!(!wait(9 * MS).holds(), "its first try is not in it");
        assert!(!wait(11 * MS).holds(), "somebody else's time is in it");
    }

    #[test]
    fn deviations_are_thousandths() {
        assert_eq!(wait(10 * MS + 50_000).deviation(0), 0);
        assert_eq!(wait(5 * MS).deviation(0), 502);
        assert_eq!(wait(5 * MS).deviation(50_000), 497);
        assert_eq!(Wait { most: 0, ..wait(1) }.deviation(0), 0);
    }

    #[test]
    fn what_lies_outside_is_told_by_faults_that_do_not_wait() {
        let plain = |most| Wait { kind: Kind::AnonRead, least: 0, most, told: 500 };
        assert_eq!(outside(&[plain(700), wait(1), plain(90_500), plain(800)]), 300);
        assert_eq!(outside(&[wait(1)]), 0);
    }
}
