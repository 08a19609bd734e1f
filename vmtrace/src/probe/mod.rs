//! Getting records out of a running kernel.
//!
//! [`preflight`] says whether it can be done at all, [`btf`] finds the kernel's
//! fields, [`programs`] lists the eBPF programs and [`backend`] attaches those
//! of one way to watch; [`target`] fills the thread table, [`rings`] reads the
//! faults, and [`session`] holds all of it together.

pub mod backend;
mod blanks;
pub mod btf;
mod cgroups;
mod head;
mod load;
pub mod mapping;
mod memory;
pub mod namespace;
pub mod opened;
pub mod places;
pub mod preflight;
pub mod programs;
pub mod rings;
pub mod session;
pub mod spills;
pub mod survey;
pub mod target;
pub mod victim;
