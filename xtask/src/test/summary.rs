//! What is said when everything has run.

use std::time::Duration;

use super::lines::Tally;
use crate::say::say;

/// One line of the table.
#[derive(Debug)]
pub(super) struct Row {
    /// `lint`, `native 6.12.117`, `guest 5.10.262-1`.
    pub(super) place: String,
    pub(super) tally: Tally,
    pub(super) took: Duration,
}

/// Prints the reasons, the table and the closing line; says whether all is well.
pub(super) fn print(rows: &[Row]) -> bool {
    for row in rows {
        for what in &row.tally.skipped {
            say!("skipped  {}: {what}", row.place);
        }
    }
    for row in rows {
        for what in &row.tally.failed {
            say!("failed   {}: {what}", row.place);
        }
    }
    say!("{:<34} {:>7} {:>7} {:>7} {:>8}", "", "passed", "failed", "skipped", "seconds");
    for Row { place, tally, took } in rows {
        let (failed, skipped) = (tally.failed.len(), tally.skipped.len());
        let seconds = took.as_secs_f64();
        say!("{place:<34} {:>7} {failed:>7} {skipped:>7} {seconds:>8.1}", tally.passed);
    }
    let (passed, failed, skipped) = total(rows);
    say!("");
    say!("{passed} passed, {failed} failed, {skipped} skipped");
    failed == 0
}

fn total(rows: &[Row]) -> (u32, usize, usize) {
    let passed = rows.iter().map(|row| row.tally.passed).sum();
    let failed = rows.iter().map(|row| row.tally.failed.len()).sum();
    let skipped = rows.iter().map(|row| row.tally.skipped.len()).sum();
    (passed, failed, skipped)
}
