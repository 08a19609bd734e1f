//! The accesses themselves: three leaf functions of one instruction and a
//! `ret`, so that a handler can leave a fault that cannot be mended by
//! returning from them, and so that every fault has one of three addresses
//! of instruction.

use std::arch::naked_asm;

use super::{Area, PAGE};

/// Reads one byte.
#[unsafe(naked)]
extern "C" fn load_byte(address: usize) -> u8 {
    naked_asm!("movzx eax, byte ptr [rdi]", "ret")
}

/// Writes one byte.
#[unsafe(naked)]
extern "C" fn store_byte(address: usize, value: u8) {
    naked_asm!("mov byte ptr [rdi], sil", "ret")
}

/// Goes there.
#[unsafe(naked)]
extern "C" fn jump_to(address: usize) {
    naked_asm!("jmp rdi")
}

/// Whether an instruction is one of the accesses that may fail: each is the
/// first of its function.
pub(super) fn is_access(instruction: usize) -> bool {
    let (load, store) = (load_byte as extern "C" fn(_) -> _, store_byte as extern "C" fn(_, _));
    instruction == load as usize || instruction == store as usize
}

/// Reads the byte at `address`, whatever is there.
///
/// Nothing is borrowed and nothing but the byte is learned; where there is no
/// memory the result is a signal, which [`signal::catch`](super::signal::catch)
/// turns into a plain return.
pub(crate) fn load(address: usize) -> u8 {
    load_byte(address)
}

/// Reads one byte of each of `pages` pages, `stride` pages apart.
pub(crate) fn read_every(area: Area, stride: usize) {
    for address in (area.start()..area.end()).step_by(stride * PAGE) {
        load(address);
    }
}

/// Reads one byte of every page.
pub(crate) fn read(area: Area) {
    read_every(area, 1);
}

/// Writes one byte at an address of an [`Area`].
pub(crate) fn store(area: Area, offset: usize, value: u8) {
    assert!(offset < area.len(), "a write past the area");
    store_byte(area.start() + offset, value);
}

/// Writes one byte of each page, `stride` pages apart.
pub(crate) fn write_every(area: Area, stride: usize) {
    for address in (area.start()..area.end()).step_by(stride * PAGE) {
        store_byte(address, 1);
    }
}

/// Writes one byte of every page.
pub(crate) fn write(area: Area) {
    write_every(area, 1);
}

/// Writes one byte of every page, from the last to the first, as a stack grows.
pub(crate) fn write_downwards(area: Area) {
    for address in (area.start()..area.end()).step_by(PAGE).rev() {
        store_byte(address, 1);
    }
}

/// Runs what lies in an area: the processor refuses, or a `ret` comes back.
pub(crate) fn execute(area: Area, offset: usize) {
    assert!(offset < area.len(), "a jump past the area");
    jump_to(area.start() + offset);
}

/// Writes one byte without changing it.
#[unsafe(naked)]
extern "C" fn renew_byte(address: usize) {
    naked_asm!("lock or byte ptr [rdi], 0", "ret")
}

/// Writes one byte without changing it, in memory that has an owner.
///
/// One atomic instruction: it may be the very stack that this runs on.
pub(super) fn renew(address: usize) {
    renew_byte(address);
}

/// Adds to the 32-bit counter at the start of an area.
#[unsafe(naked)]
extern "C" fn add_word(address: usize, value: u32) {
    naked_asm!("lock add dword ptr [rdi], esi", "ret")
}

/// Reads it.
#[unsafe(naked)]
extern "C" fn load_word(address: usize) -> u32 {
    naked_asm!("mov eax, dword ptr [rdi]", "ret")
}

/// Adds to the counter at the start of an area, which other processes may share.
pub(crate) fn add(counter: Area, value: u32) {
    add_word(counter.start(), value);
}

/// Reads the counter at the start of an area.
pub(crate) fn value(counter: Area) -> u32 {
    load_word(counter.start())
}
