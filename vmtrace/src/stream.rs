//! The way records travel: one trait between whoever has records (a live
//! session, a recording) and whoever wants them (the pipeline, a recorder).
//!
//! The order is part of the contract. A rare record reaches the sink before the
//! first fault that ended at or after its time, so that a region or a process
//! is known when a fault refers to it; faults of one CPU come in the order in
//! which they ended. Faults of different CPUs between two rare records come in
//! any order.

use vmtrace_common::record::Fault;

/// What is known beforehand to be missing from a stream that was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// Faults before the newest part, which alone was to be kept.
    pub older: u64,
    /// Its end, where the accounts of threads stand that outlived the session.
    pub end: bool,
}

/// Takes records.
pub trait Sink {
    /// A recording begins that lacks something.
    fn lacks(&mut self, _lacks: Lacks) {}

    /// Takes faults, oldest first as far as one CPU is concerned.
    fn faults(&mut self, faults: &[Fault]);

    /// Takes one rare record: its bytes, from its
    /// [`Header`](vmtrace_common::record::Header) to its end.
    fn rare(&mut self, record: &[u8]);
}
