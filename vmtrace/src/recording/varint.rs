//! Integers of one to ten bytes, seven bits to a byte, the low ones first.

/// Appends one.
#[inline]
pub(super) fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

/// A difference, small in either direction, as a small number.
#[inline]
pub(super) const fn fold(difference: u64) -> u64 {
    (difference << 1) ^ (0_u64.wrapping_sub(difference >> 63))
}

/// The difference again.
#[inline]
pub(super) const fn unfold(folded: u64) -> u64 {
    (folded >> 1) ^ (0_u64.wrapping_sub(folded & 1))
}

/// What is left to read; `None` where it ends too early or no integer is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn take(&mut self) -> Option<u64> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        if first < 0x80 {
            return Some(u64::from(first));
        }
        self.more(u64::from(first & 0x7f))
    }

    #[inline]
    fn more(&mut self, mut value: u64) -> Option<u64> {
        let mut shift = 7;
        loop {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
            shift += 7;
            if shift > 63 {
                return None;
            }
        }
    }

    /// An integer that counts something of which there are at most `most`.
    pub(super) fn count(&mut self, most: usize) -> Option<usize> {
        let value = usize::try_from(self.take()?).ok()?;
        (value <= most).then_some(value)
    }

    /// So many bytes.
    pub(super) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_come_back() {
        let mut bytes = Vec::new();
        let values: Vec<u64> = (0..64)
            .flat_map(|bit| [1_u64 << bit, (1 << bit) - 1, u64::MAX << bit])
            .chain([u64::MAX])
            .collect();
        for &value in &values {
            put(&mut bytes, value);
        }
        let mut reader = Reader(&bytes);
        for value in values {
            assert_eq!(reader.take(), Some(value));
            assert_eq!(unfold(fold(value)), value);
        }
        assert_eq!(reader.take(), None);
        assert_eq!((fold(0), fold(1), fold(u64::MAX)), (0, 2, 1));
    }

    #[test]
    fn what_is_no_integer_is_refused() {
        assert_eq!(Reader(&[0x80]).take(), None);
        assert_eq!(Reader(&[0xff; 11]).take(), None);
        let mut large = [0xff; 10];
        large[9] = 2;
        assert_eq!(Reader(&large).take(), None);
        assert_eq!(Reader(&[9]).count(8), None);
        assert_eq!(Reader(&[9]).bytes(2), None);
    }
}
