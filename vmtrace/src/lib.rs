//! vmtrace: which page faults a Linux process takes, of which kind, how long
//! each took, and where in its address space.

pub mod cli;
pub mod inspect;
pub mod preface;
pub mod stream;
mod sys;
pub mod term;
