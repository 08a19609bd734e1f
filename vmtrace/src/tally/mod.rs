//! Counts and histograms under keys.
//!
//! A fault is counted once, in the [cell](cells) of its row and kind; what a
//! process, a class or the whole run amounts to is added up when a report is
//! made. Keys that rows do not give (threads, CPUs, nodes, cgroups,
//! instructions) have a second set of cells, kept only where one is asked for.

pub mod account;
pub mod cells;
pub mod keyed;
pub mod latency;

pub use keyed::By;

use cells::{Cells, Head};

use crate::fault::Kind;

/// Everything that was counted, by row of [`World`](crate::region::World) and kind.
#[derive(Debug, Default)]
pub struct Tally {
    cells: Cells,
    heads: Vec<Head>,
}

impl Tally {
    /// The cell of a row and kind.
    #[inline]
    pub fn cell(&mut self, row: u32, kind: Kind) -> u32 {
        let row = row as usize;
        if row >= self.heads.len() {
            self.heads.resize(row + 1, Head::default());
        }
        self.cells.find(&mut self.heads[row], kind)
    }

    /// The cells, to count in.
    #[inline]
    pub const fn cells_mut(&mut self) -> &mut Cells {
        &mut self.cells
    }

    /// The cells, to read.
    pub const fn cells(&self) -> &Cells {
        &self.cells
    }

    /// The cells of one row.
    pub fn row(&self, row: usize) -> impl Iterator<Item = &cells::Cell> {
        self.cells.of(self.heads.get(row).copied().unwrap_or_default())
    }
}
