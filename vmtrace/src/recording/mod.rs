//! Recordings: the records of a session in a file, and back.
//!
//! A recording is a row of [blocks](block), each of which can be checked and
//! read by itself. [`Recorder`] is a [`Sink`](crate::stream::Sink) that writes
//! them on a thread of its own; [`Reading`] hands the same records in the same
//! order to another sink. `docs/record-format.md` describes the bytes.
//!
//! Nothing that is read is trusted: every length, count and size is bounded
//! before memory is taken or time is spent for it.

mod batch;
mod block;
mod columns;
mod ending;
#[doc(hidden)]
pub mod hostile;
mod merge;
mod payload;
mod read;
mod recorder;
mod scan;
mod state;
mod varint;
mod writer;

pub use batch::Batch;
pub use block::{Kind, VERSION};
pub use merge::{Joined, host_of, join, pid_of};
pub use payload::{pack, unpack};
pub use read::{Outcome, Progress, Reading, Unreadable};
pub use recorder::{Recorded, Recorder};

#[cfg(test)]
mod tests;
