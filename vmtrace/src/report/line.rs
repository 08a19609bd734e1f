//! Putting a line together without formatting machinery: numbers and texts
//! written in place, a whole word or more at a time. What is written beyond a
//! text's end the next one covers, so that short texts need no loop and no call.

/// Lines, one after the other, in a buffer that is there already.
#[derive(Debug)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    end: usize,
}

/// One byte eight times.
const fn all(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// What eight decimal digits count.
const EIGHT: u64 = 100_000_000;

/// The last eight decimal digits of a number, the first in the lowest byte: each
/// step splits all groups of digits at once.
#[inline]
const fn digits(value: u64) -> u64 {
    let (high, low) = (value / 10_000 % 10_000, value % 10_000);
    let fours = high | low << 32;
    // Hundredths and tenths by multiplication: exact for numbers as small as these.
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let twos = hundreds | (fours - 100 * hundreds) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (twos - 10 * tens) << 8
}

/// All bytes as two hexadecimal digits.
const PAIRS: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0xf]];
        byte += 1;
    }
    pairs
};

impl Lines {
    /// With room for `bytes` to begin with.
    pub(super) fn new(bytes: usize) -> Self {
        Self { bytes: vec![0; bytes], end: 0 }
    }

    /// What was written.
    pub(super) fn written(&self) -> &[u8] {
        &self.bytes[..self.end]
    }

    pub(super) const fn len(&self) -> usize {
        self.end
    }

    pub(super) const fn clear(&mut self) {
        self.end = 0;
    }

    /// The first `len` bytes of `text`, of which all are copied.
    #[inline]
    pub(super) fn put<const N: usize>(&mut self, text: &[u8; N], len: usize) {
        let room = self.bytes.get_mut(self.end..).and_then(|room| room.first_chunk_mut());
        match room {
            Some(room) => *room = *text,
            None => self.grow()[..N].copy_from_slice(text),
        }
        self.end += len;
    }

    /// All of it, where its length is known beforehand.
    #[inline]
    pub(super) fn word<const N: usize>(&mut self, text: &[u8; N]) {
        self.put(text, N);
    }

    /// Any text.
    pub(super) fn text(&mut self, text: &[u8]) {
        for part in text.chunks(MORE) {
            match self.bytes.get_mut(self.end..self.end + part.len()) {
                Some(room) => room.copy_from_slice(part),
                None => self.grow()[..part.len()].copy_from_slice(part),
            }
            self.end += part.len();
        }
    }

    /// Room for more, behind what was written.
    #[cold]
    fn grow(&mut self) -> &mut [u8] {
        self.bytes.resize(self.end + 4 * MORE, 0);
        &mut self.bytes[self.end..]
    }

    #[inline]
    pub(super) fn decimal(&mut self, value: u64) {
        if value >= EIGHT {
            self.decimal(value / EIGHT);
            return self.eight(value % EIGHT);
        }
        let digits = digits(value);
        let zeros = (digits.trailing_zeros() / 8).min(7);
        let text = (digits | all(b'0')) >> (8 * zeros);
        self.put(&text.to_le_bytes(), 8 - zeros as usize);
    }

    /// A number below 100 000 000 with its leading zeros.
    #[inline]
    fn eight(&mut self, value: u64) {
        self.word(&(digits(value) | all(b'0')).to_le_bytes());
    }

    /// A number to the right of a column at least eight wide.
    #[inline]
    pub(super) fn right(&mut self, value: u64, width: usize) {
        if value >= EIGHT {
            let digits = value.ilog10() as usize + 1;
            self.spaces(width.saturating_sub(digits));
            return self.decimal(value);
        }
        self.put(&[b' '; 16], width - 8);
        let digits = digits(value);
        let zeros = (digits.trailing_zeros() / 8).min(7);
        // A digit with the bit that a space lacks.
        let shown = all(b'0' - b' ') << (8 * zeros);
        self.word(&(digits | all(b' ') | shown).to_le_bytes());
    }

    /// A number with as many digits as it needs; answers how many.
    #[inline]
    pub(super) fn hex(&mut self, value: u64) -> usize {
        let zeros = (value.leading_zeros() / 4).min(15);
        let value = value << (4 * zeros);
        let len = 16 - zeros as usize;
        self.word(b"0x");
        let mut text = [0; 16];
        for (digits, byte) in text.as_chunks_mut().0.iter_mut().zip(value.to_be_bytes()) {
            *digits = PAIRS[usize::from(byte)];
        }
        self.put(&text, len);
        len
    }

    /// The same in a column that the longest fits, and a space.
    #[inline]
    pub(super) fn address(&mut self, value: u64) {
        let len = self.hex(value);
        self.put(&[b' '; 16], 17 - len);
    }

    pub(super) fn spaces(&mut self, count: usize) {
        for _ in 0..count {
            self.word(b" ");
        }
    }

    /// Fills what was written from `begun` on up to `width`, and a space.
    pub(super) fn pad(&mut self, begun: usize, width: usize) {
        self.spaces((begun + width).saturating_sub(self.end) + 1);
    }

    pub(super) fn column(&mut self, text: &str, width: usize) {
        let begun = self.end;
        self.text(text.as_bytes());
        self.pad(begun, width);
    }

    pub(super) fn number(&mut self, key: &[u8], value: u64) {
        self.text(key);
        self.decimal(value);
    }

    /// A string whose control characters were escaped when it was kept.
    pub(super) fn string(&mut self, key: &[u8], text: &str) {
        self.text(key);
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|&byte| byte == b'"' || byte == b'\\') {
            self.text(&rest[..at]);
            self.word(&[b'\\', rest[at]]);
            rest = &rest[at + 1..];
        }
        self.text(rest);
        self.word(b"\"");
    }
}

/// What a buffer that is full grows by, and the most that is copied at once.
const MORE: usize = 1 << 10;

/// Seconds with nine places, of which the whole ones are seldom others than
/// those before.
#[derive(Debug)]
pub(super) struct Clock {
    /// The nanosecond that the whole seconds begin with.
    second: u64,
    text: [u8; 16],
    len: usize,
}

const SECOND: u64 = 1_000_000_000;

impl Clock {
    pub(super) fn new() -> Self {
        let mut clock = Self { second: 0, text: [0; 16], len: 0 };
        clock.set(0);
        clock
    }

    #[cold]
    fn set(&mut self, ns: u64) {
        let mut whole = Lines::new(32);
        let seconds = ns / SECOND;
        whole.spaces(4_usize.saturating_sub(seconds.checked_ilog10().unwrap_or(0) as usize));
        whole.decimal(seconds);
        whole.word(b".");
        self.second = seconds * SECOND;
        self.len = whole.len();
        self.text[..self.len].copy_from_slice(whole.written());
    }

    #[inline]
    pub(super) fn write(&mut self, line: &mut Lines, ns: u64) {
        if ns < self.second || ns - self.second >= SECOND {
            self.set(ns);
        }
        let rest = ns - self.second;
        line.put(&self.text, self.len);
        let first = u8::try_from(rest / EIGHT).unwrap_or(0);
        line.word(&[b'0' + first]);
        line.eight(rest % EIGHT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> impl Iterator<Item = u64> {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        let decimal = powers.flat_map(|power| [power - 1, power, power + 1, power / 2 * 3]);
        let binary =
            (0..64).flat_map(|bit| [1 << bit, (1 << bit) - 1, 0xabcd_ef98_7654_3210 >> bit]);
        decimal.chain(binary).chain([u64::MAX])
    }

    #[test]
    fn numbers_are_written_as_format_would() {
        for value in values() {
            let mut line = Lines::new(4);
            line.decimal(value);
            line.word(b" ");
            line.hex(value);
            line.word(b" ");
            line.right(value, 11);
            line.word(b" ");
            line.address(value);
            let text = std::str::from_utf8(line.written()).unwrap();
            let address = format!("{value:#x}");
            assert_eq!(text, format!("{value} {value:#x} {value:>11} {address:<18} "));
        }
    }

    #[test]
    fn times_are_written_as_format_would() {
        let mut clock = Clock::new();
        for value in values() {
            let mut line = Lines::new(4);
            clock.write(&mut line, value);
            let (whole, rest) = (value / SECOND, value % SECOND);
            assert_eq!(line.written(), format!("{whole:>5}.{rest:09}").as_bytes());
        }
    }

    #[test]
    fn texts_of_any_length_have_room() {
        let mut line = Lines::new(0);
        let long = "x".repeat(10_000);
        line.column(&long, 5);
        line.string(b"k\"", "a\"b\\");
        assert_eq!(line.written(), format!("{long} k\"a\\\"b\\\\\"").as_bytes());
        line.clear();
        assert_eq!((line.len(), line.written()), (0, &b""[..]));
    }
}
