//! What crosses between the kernel and user space, and nothing else.
//!
//! Every type here is `#[repr(C)]`, made of fixed-width integers and byte
//! arrays, with no implicit padding and with its layout asserted beside it, so
//! that the eBPF programs, the ring reader and a recording on disk mean the
//! same bytes. Nothing here judges: a [`record::Fault`] carries evidence, and
//! `vmtrace::classify` decides what it was.
#![no_std]
#![expect(
    clippy::inline_always,
    reason = "a BPF program that calls functions is one that 5.10's verifier does not finish"
)]

pub mod buckets;
pub mod config;
pub mod counters;
pub mod evidence;
pub mod record;
pub mod thread;
pub mod totals;
