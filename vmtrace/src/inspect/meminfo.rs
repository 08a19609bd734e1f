//! Files of names and numbers: `/proc/meminfo`, a node's `meminfo`, `/proc/vmstat`.

use std::collections::HashMap;

/// Names and numbers, amounts in bytes.
pub type Numbers = HashMap<String, u64>;

/// Reads `MemTotal:   8 kB`, and `Node 0 MemTotal:  8 kB`. What has no unit is a
/// plain number.
pub fn meminfo(text: &str) -> Numbers {
    let line = |line: &str| {
        let (key, value) = line.split_once(':')?;
        let key = key.rsplit(' ').next()?;
        let (digits, unit) = match value.trim().strip_suffix("kB") {
            Some(digits) => (digits, 1024),
            None => (value, 1),
        };
        Some((key.to_owned(), digits.trim().parse::<u64>().ok()?.saturating_mul(unit)))
    };
    text.lines().filter_map(line).collect()
}

/// Reads `pgfault 123`.
pub fn vmstat(text: &str) -> Numbers {
    let line = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_numbers() {
        let memory = meminfo("MemTotal:  8 kB\nHugePages_Total:  3\nNode 1 MemFree: 2 kB\nx\n");
        assert_eq!(
            (memory["MemTotal"], memory["HugePages_Total"], memory["MemFree"]),
            (8192, 3, 2048)
        );
        assert_eq!(vmstat("pgfault 12\nbad\nnr_free_pages x\n").len(), 1);
    }
}
