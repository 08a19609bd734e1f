//! What was counted, for people and for programs: one file per output.
//!
//! [`summary`] adds the tallies up into numbers; [`text`] and [`json`] only
//! write them down, so both always say the same. [`events`] writes faults one
//! by one as they come, [`live`] redraws while a session runs.

pub mod events;
pub mod json;
mod line;
pub mod live;
pub mod reasons;
pub mod summary;
pub mod text;

pub use summary::Summary;

#[cfg(test)]
mod schema_tests;
