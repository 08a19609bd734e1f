//! vmtrace's eBPF programs: thin shells over shared bodies.
//!
//! A program finds its thread ([`target`]), notes or completes the fault in
//! flight ([`inflight`]), reads the region ([`vma`]) and sends the fault off
//! ([`emit`]). It gathers evidence and judges nothing.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod config;
mod emit;
mod inflight;
mod kernel;
mod maps;
mod probes;
mod target;
mod vma;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lends some helpers only to programs that say so.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
