//! vmtrace: which page faults a Linux process takes, of which kind, how long
//! each took, and where in its address space.

pub mod classify;
pub mod cli;
pub mod decode;
pub mod demo;
pub mod diff;
pub mod fault;
pub mod inspect;
pub mod pipeline;
pub mod preface;
pub mod probe;
pub mod recording;
pub mod region;
pub mod report;
pub mod stream;
#[doc(hidden)]
pub mod synthetic;
pub mod sys;
pub mod tally;
pub mod term;
