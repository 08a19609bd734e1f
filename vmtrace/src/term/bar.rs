//! Bars of eighths of a block.

const EIGHTHS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// A bar of `part` in `whole`, exactly `width` columns. Something that is not
/// nothing shows at least its thinnest line.
pub fn bar(part: u64, whole: u64, width: usize) -> String {
    let full = width as u64 * 8;
    let filled = if whole == 0 {
        0
    } else {
        let exact = u128::from(part.min(whole)) * u128::from(full) / u128::from(whole);
        u64::try_from(exact).unwrap_or(full).max(u64::from(part > 0)).min(full)
    };
    (0..width as u64)
        .map(|cell| {
            let eighths = filled.saturating_sub(cell * 8).min(8);
            EIGHTHS[usize::try_from(eighths).unwrap_or(8)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_exact_at_the_ends() {
        assert_eq!(bar(0, 10, 4), "    ");
        assert_eq!(bar(10, 10, 4), "████");
        assert_eq!(bar(11, 10, 4), "████");
        assert_eq!(bar(1, 1_000_000, 4), "▏   ");
        assert_eq!(bar(5, 8, 1), "▋");
        assert_eq!(bar(3, 0, 2), "  ");
        assert_eq!(bar(u64::MAX, u64::MAX, 3), "███");
    }
}
