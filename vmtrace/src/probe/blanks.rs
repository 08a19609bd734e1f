//! Filling in the blanks: settings that the eBPF programs have as operands.
//!
//! The object holds [`blank`] values where a setting belongs: in an immediate
//! operand, or as a load's offset within a struct of the running kernel. They are
//! replaced here, before the loader sees the object, as it would itself do with the
//! relocations that rustc cannot emit.

use anyhow::Context as _;
use object::{Object as _, ObjectSection as _, SectionKind};
use vmtrace_common::config::{ABSENT, Config, blank};

use crate::sys::pod::Wire;

/// An instruction's length; one that loads eight bytes of immediate takes two.
const LENGTH: usize = 8;
/// `if dst == imm32`, and `!=`.
const IF_EQUAL: u8 = 0x15;
const IF_UNEQUAL: u8 = 0x55;
/// `dst = imm64`, the first half.
const LOAD_LONG: u8 = 0x18;
/// The same of a map's memory, by the map's descriptor: this in place of a source.
const OF_MEMORY: u8 = 2 << 4;
/// `dst = imm32`.
const MOVE: u8 = 0xb7;
/// The classes that compute and compare begin here, and take an immediate operand where
/// the next bit is not set.
const ARITHMETIC: u8 = 4;
const REGISTER: u8 = 8;
/// `dst = *(u32 *)(src + offset)` and the same of eight bytes.
const LOAD: [u8; 2] = [0x61, 0x79];

/// The object with `config` in its instructions.
pub(super) fn fill(object: &[u8], config: &Config) -> anyhow::Result<Vec<u8>> {
    let file = object::File::parse(object).context("reading the eBPF object")?;
    let settings = Wire(*config);
    let mut filled = object.to_vec();
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let Some((start, size)) = section.file_range() else { continue };
        let (start, size) = (usize::try_from(start)?, usize::try_from(size)?);
        let code = filled.get_mut(start..start + size).context("a section beyond the object")?;
        fill_code(code, settings.bytes());
    }
    Ok(filled)
}

fn fill_code(code: &mut [u8], settings: &[u8]) {
    let mut rest = code;
    while let Some((instruction, after)) = rest.split_first_chunk_mut::<LENGTH>() {
        let [operation, registers, offset @ .., a, b, c, d] = *instruction;
        let immediate = u32::from_le_bytes([a, b, c, d]);
        let place = immediate ^ blank::IMMEDIATE;
        let is_blank = place >> 16 == 0;
        if operation == LOAD_LONG {
            let Some((second, after)) = after.split_first_chunk_mut::<LENGTH>() else { return };
            let memory = immediate ^ blank::MEMORY;
            if is_blank {
                instruction[4..].copy_from_slice(&setting(settings, place as usize));
                second[4..].copy_from_slice(&setting(settings, place as usize + 4));
            } else if memory >> 16 == 0 {
                let map = setting(settings, memory as usize);
                instruction[4..].copy_from_slice(&map);
                if map != [0; 4] {
                    instruction[1] = registers & 0xf | OF_MEMORY;
                }
            }
            rest = after;
            continue;
        }
        let has_immediate = operation & ARITHMETIC != 0 && operation & REGISTER == 0;
        if has_immediate && is_blank {
            instruction[4..].copy_from_slice(&setting(settings, place as usize));
        }
        let jump = immediate ^ blank::JUMP;
        if operation == IF_EQUAL && jump >> 16 == 0 {
            if setting(settings, jump as usize) == [0; 4] {
                instruction[0] = IF_UNEQUAL;
            }
            instruction[4..].fill(0);
        }
        let quarter = u16::from_le_bytes(offset) ^ blank::LOAD;
        if LOAD.contains(&operation) && quarter >> 8 == 0 {
            let value = setting(settings, usize::from(quarter) * 4);
            *instruction = if value == ABSENT.to_le_bytes() {
                // Of the register that was to be loaded: 0.
                [MOVE, registers & 0xf, 0, 0, 0, 0, 0, 0]
            } else {
                [operation, registers, value[0], value[1], 0, 0, 0, 0]
            };
        }
        rest = after;
    }
}

/// The four bytes of a setting; those of [`ABSENT`] where there is none.
fn setting(settings: &[u8], place: usize) -> [u8; 4] {
    let found = settings.get(place..).and_then(|rest| rest.first_chunk::<4>());
    *found.unwrap_or(&ABSENT.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: [u8; 12] = [0x10, 0x32, 0, 0, 0xff, 0xff, 0xff, 0xff, 7, 0, 0, 0];
    const UNSET: [u8; 12] = [0; 12];

    fn filled(code: &[u8]) -> Vec<u8> {
        let mut code = code.to_vec();
        fill_code(&mut code, &SETTINGS);
        code
    }

    #[test]
    fn immediates_of_four_and_eight_bytes() {
        assert_eq!(filled(&[0xb4, 1, 0, 0, 8, 0, 0x77, 0x5e]), [0xb4, 1, 0, 0, 7, 0, 0, 0]);
        let long = [0x18, 2, 0, 0, 4, 0, 0x77, 0x5e, 0, 0, 0, 0, 0, 0, 0, 0];
        let value = [0x18, 2, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 7, 0, 0, 0];
        assert_eq!(filled(&long), value);
    }

    #[test]
    fn what_is_computed_with_and_compared_to() {
        // `w1 &=`, `if r1 >=`, `if r1 <`.
        for operation in [0x54, 0x35, 0xa5] {
            assert_eq!(
                filled(&[operation, 1, 3, 0, 8, 0, 0x77, 0x5e]),
                [operation, 1, 3, 0, 7, 0, 0, 0]
            );
        }
    }

    #[test]
    fn a_jump_that_is_always_or_never_taken() {
        assert_eq!(filled(&[0x15, 1, 3, 0, 8, 0, 0x79, 0x5e]), [0x15, 1, 3, 0, 0, 0, 0, 0]);
        let mut code = [0x15, 1, 3, 0, 8, 0, 0x79, 0x5e];
        fill_code(&mut code, &UNSET);
        assert_eq!(code, [0x55, 1, 3, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_map_s_memory_by_its_descriptor_or_nothing() {
        let of = |place: u8| filled(&[0x18, 2, 0, 0, place, 0, 0x78, 0x5e, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(of(8), [0x18, 0x22, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut code = [0x18, 2, 0, 0, 8, 0, 0x78, 0x5e, 0, 0, 0, 0, 0, 0, 0, 0];
        fill_code(&mut code, &UNSET);
        assert_eq!(code, [0x18, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_load_has_its_offset_and_one_of_an_absent_field_is_zero() {
        assert_eq!(
            filled(&[0x79, 0x31, 0, 0x7a, 0, 0, 0, 0]),
            [0x79, 0x31, 0x10, 0x32, 0, 0, 0, 0]
        );
        assert_eq!(filled(&[0x61, 0x31, 1, 0x7a, 0, 0, 0, 0]), [0xb7, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn all_else_stays() {
        // A store with that offset, an addition of that constant, and what only looks
        // like an instruction: the second half of a long one.
        for code in [
            &[0x7b, 0x31, 0, 0x7a, 0, 0, 0, 0][..],
            &[0x0f, 0x01, 0, 0, 0, 0, 0x77, 0x5e],
            &[0x18, 1, 0, 0, 1, 0, 0, 0, 0xb4, 1, 0, 0, 0, 0, 0x77, 0x5e],
            &[0xb4, 1, 0],
        ] {
            assert_eq!(filled(code), code);
        }
    }
}
