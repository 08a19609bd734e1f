//! System calls that no safe crate offers: the only unsafe code in this crate.

pub(crate) mod pagemap;
