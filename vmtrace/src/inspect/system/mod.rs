//! `vmtrace system`: the machine's memory as it is, and how it fares.

pub mod json;
pub mod look;
pub mod overcommit;
pub mod rates;
pub mod settings;
pub mod slab;
pub mod swap;
pub mod text;
pub mod verdict;
pub mod zones;
