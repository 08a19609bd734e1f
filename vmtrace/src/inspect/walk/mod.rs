//! `vmtrace walk`: one address, taken apart and followed down the page tables.

pub mod absent;
pub mod address;
pub mod entry;
pub mod json;
pub mod kernel;
pub mod look;
pub mod page;
pub mod text;
pub mod verdict;
