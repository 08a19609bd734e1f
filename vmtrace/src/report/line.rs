//! Putting a line together without formatting machinery: numbers, columns and
//! JSON strings appended to a buffer.

/// All numbers of two digits.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0_u8;
    while number < 100 {
        pairs[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    pairs
};

/// Writes a number to the end of `room`; answers where it begins.
fn digits(mut value: u64, room: &mut [u8; 20]) -> usize {
    let mut at = room.len();
    while value >= 10 {
        let pair = PAIRS[usize::try_from(value % 100).unwrap_or(0)];
        value /= 100;
        at -= 2;
        room[at..at + 2].copy_from_slice(&pair);
        if value == 0 {
            return at;
        }
    }
    at -= 1;
    room[at] = b'0' + u8::try_from(value).unwrap_or(0);
    at
}

pub(super) fn decimal(line: &mut Vec<u8>, value: u64) {
    let mut room = [b' '; 20];
    let at = digits(value, &mut room);
    line.extend_from_slice(&room[at..]);
}

pub(super) fn right(line: &mut Vec<u8>, value: u64, width: usize) {
    let mut room = [b' '; 20];
    let at = digits(value, &mut room).min(room.len() - width);
    line.extend_from_slice(&room[at..]);
}

pub(super) fn hex(line: &mut Vec<u8>, value: u64) {
    let mut room = *b"0x0000000000000000";
    let mut left = value;
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b"0123456789abcdef"[usize::try_from(left & 0xf).unwrap_or(0)];
        left >>= 4;
        if left == 0 {
            break;
        }
    }
    at -= 2;
    room[at..at + 2].copy_from_slice(b"0x");
    line.extend_from_slice(&room[at..]);
}

/// Seconds with nine places.
pub(super) fn seconds(line: &mut Vec<u8>, ns: u64) {
    right(line, ns / 1_000_000_000, 5);
    // A one in front keeps the zeros; the point takes its place.
    let mut room = [b' '; 20];
    let at = digits(ns % 1_000_000_000 + 1_000_000_000, &mut room);
    room[at] = b'.';
    line.extend_from_slice(&room[at..]);
}

pub(super) fn pad(line: &mut Vec<u8>, begun: usize, width: usize) {
    const SPACES: [u8; 32] = [b' '; 32];
    let missing = (begun + width).saturating_sub(line.len()).min(SPACES.len() - 1);
    line.extend_from_slice(&SPACES[..=missing]);
}

pub(super) fn column(line: &mut Vec<u8>, text: &str, width: usize) {
    let begun = line.len();
    line.extend_from_slice(text.as_bytes());
    pad(line, begun, width);
}

pub(super) fn number(line: &mut Vec<u8>, key: &[u8], value: u64) {
    line.extend_from_slice(key);
    decimal(line, value);
}

/// A string whose control characters were escaped when it was kept.
pub(super) fn string(line: &mut Vec<u8>, key: &[u8], text: &str) {
    line.extend_from_slice(key);
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte == b'"' || byte == b'\\') {
        line.extend_from_slice(&rest[..at]);
        line.extend_from_slice(&[b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    line.extend_from_slice(rest);
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_format_would() {
        for value in [0, 9, 10, 99, 100, 101, 999, 12_345, 1_000_000_000, u64::MAX] {
            let mut line = Vec::new();
            decimal(&mut line, value);
            line.push(b' ');
            hex(&mut line, value);
            assert_eq!(String::from_utf8(line).unwrap(), format!("{value} {value:#x}"));
        }
        let mut line = Vec::new();
        seconds(&mut line, 12_000_000_305);
        right(&mut line, 1_234_567, 5);
        assert_eq!(line, b"   12.0000003051234567");
    }
}
