//! `vmtrace maps`: every region of an address space.

pub mod bss;
pub mod columns;
pub mod field;
pub mod glance;
pub mod json;
pub mod look;
pub mod name;
pub mod numa;
pub mod pages;
pub mod region;
pub mod scan;
pub mod since;
pub mod smaps;
pub mod stacks;
pub mod text;
pub mod view;
