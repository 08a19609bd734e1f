//! The session's settings: blanks in the instructions, which the loader fills in.
//!
//! rustc emits no relocations for the fields of a kernel's structs, and a setting
//! read from `.rodata` costs every fault two instructions and more to compare it.
//! So a setting is an immediate operand, or a load's offset, with a value that
//! stands for nothing else ([`blank`](vmtrace_common::config::blank)), and
//! `vmtrace::probe::blanks` puts the right one in its place.

use core::arch::asm;

use vmtrace_common::config::blank;

/// The field of [`Config`](vmtrace_common::config::Config) that lies at `PLACE`.
#[inline(always)]
pub(crate) fn setting<const PLACE: usize>() -> u32 {
    let value: u32;
    // SAFETY: a constant in a register.
    unsafe {
        asm!(
            "{0} = {1}",
            out(wreg) value,
            const blank::IMMEDIATE as usize | PLACE,
            // Not `pure`: to keep a copy of it would cost more than it does.
            options(nomem, nostack, preserves_flags),
        );
    }
    value
}

/// The same of one of eight bytes.
#[inline(always)]
pub(crate) fn long_setting<const PLACE: usize>() -> u64 {
    let value: u64;
    // SAFETY: a constant in a register.
    unsafe {
        asm!(
            "{0} = {1} ll",
            out(reg) value,
            const blank::IMMEDIATE as usize | PLACE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    value
}

/// Whether the field is not 0, at the price of no instruction: the loader makes this a
/// jump if `value` is null, or one if it is not, and the verifier, which knows that no
/// map value is, takes the way not gone out of the program. (A jump without a condition
/// would leave a way that none leads to, which it refuses.)
#[inline(always)]
pub(crate) fn is_set<const PLACE: usize, T>(value: &T) -> bool {
    // SAFETY: a jump.
    unsafe {
        asm!(
            "if {0} == {1} goto {2}",
            in(reg) core::ptr::from_ref(value).addr(),
            const blank::JUMP as usize | PLACE,
            label { return false },
            options(nomem, nostack, preserves_flags),
        );
    }
    true
}

/// Whether `value` is no less than the field, in one instruction.
#[inline(always)]
pub(crate) fn is_no_less<const PLACE: usize>(value: u64) -> bool {
    // SAFETY: a jump.
    unsafe {
        asm!(
            "if {0} >= {1} goto {2}",
            in(reg) value,
            const blank::IMMEDIATE as usize | PLACE,
            label { return true },
            options(nomem, nostack, preserves_flags),
        );
    }
    false
}

/// Whether `value` is the field's, in one instruction.
#[inline(always)]
pub(crate) fn is_equal<const PLACE: usize>(value: u64) -> bool {
    // SAFETY: a jump.
    unsafe {
        asm!(
            "if {0} == {1} goto {2}",
            in(reg) value,
            const blank::IMMEDIATE as usize | PLACE,
            label { return true },
            options(nomem, nostack, preserves_flags),
        );
    }
    false
}

/// `value & field`, in one instruction.
#[inline(always)]
pub(crate) fn mask<const PLACE: usize>(value: u32) -> u32 {
    let mut value = value;
    // SAFETY: arithmetic on a register.
    unsafe {
        asm!(
            "{0} &= {1}",
            inout(wreg) value,
            const blank::IMMEDIATE as usize | PLACE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    value
}

/// Whether `value` has one of `BITS`, in one instruction: the compiler, which does not
/// know of that one, takes three.
#[inline(always)]
pub(crate) fn has<const BITS: u32>(value: u64) -> bool {
    // SAFETY: a jump.
    unsafe {
        asm!(
            "if {0} & {1} goto {2}",
            in(reg) value,
            const BITS,
            label { return true },
            options(nomem, nostack, preserves_flags),
        );
    }
    false
}

/// The address of the map's memory whose [`Shared`](vmtrace_common::config::Shared) lies
/// at `PLACE`; 0 where it has none.
#[inline(always)]
pub(crate) fn memory<const PLACE: usize>() -> u64 {
    let address: u64;
    // SAFETY: a constant in a register.
    unsafe {
        asm!(
            "{0} = {1} ll",
            out(reg) address,
            const blank::MEMORY as usize | PLACE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    address
}

/// One field of [`Config`](vmtrace_common::config::Config).
macro_rules! config {
    ($($field:ident).+) => {
        $crate::config::setting::<{ $crate::config::place!($($field).+) }>()
    };
}

/// One field of eight bytes.
macro_rules! config_long {
    ($field:ident) => {
        $crate::config::long_setting::<{ $crate::config::place!($field) }>()
    };
}

/// Whether a field of [`Config`](vmtrace_common::config::Config) is not 0; `by` a
/// reference to a map's value where there is one, which costs nothing.
macro_rules! enabled {
    ($field:ident) => {
        $crate::config::config!($field) != 0
    };
    ($field:ident by $value:expr) => {
        $crate::config::is_set::<{ $crate::config::place!($field) }, _>($value)
    };
}

/// Whether a value is no less than a field.
macro_rules! reaches {
    ($value:expr, $field:ident) => {
        $crate::config::is_no_less::<{ $crate::config::place!($field) }>($value)
    };
}

/// Whether a value is a field's.
macro_rules! equals {
    ($value:expr, $field:ident) => {
        $crate::config::is_equal::<{ $crate::config::place!($field) }>($value)
    };
}

/// A value masked by a field.
macro_rules! masked {
    ($value:expr, $field:ident) => {
        $crate::config::mask::<{ $crate::config::place!($field) }>($value)
    };
}

/// One of the kernel's offsets.
macro_rules! at {
    ($field:ident) => {
        $crate::config::config!(at.$field)
    };
}

/// Where in [`Config`](vmtrace_common::config::Config) a field lies.
macro_rules! place {
    ($($field:ident).+) => {
        core::mem::offset_of!(vmtrace_common::config::Config, $($field).+)
    };
}

/// Reads a field of a kernel struct: `read!(R: u64, base, field)`.
macro_rules! read {
    ($how:ident: $type:ident, $base:expr, $field:ident) => {
        <$how as $crate::kernel::Read>::$type::<{ $crate::config::place!(at.$field) }>($base)
    };
}

pub(crate) use {at, config, config_long, enabled, equals, masked, place, reaches, read};
