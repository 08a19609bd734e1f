//! Reading what test programs print. Pure: text in, counts out.

/// What came of one place where tests ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u32,
    /// Name and reason of each.
    pub(super) failed: Vec<String>,
    pub(super) skipped: Vec<String>,
    /// What the kernel was found to be, as `key: value`.
    pub(super) facts: Vec<String>,
}

impl Tally {
    /// A place where nothing ran, for a reason that is nobody's fault.
    pub(super) fn skipped(reason: String) -> Self {
        Self { skipped: vec![reason], ..Self::default() }
    }

    /// A place that failed as a whole.
    pub(super) fn failed(reason: String) -> Self {
        Self { failed: vec![reason], ..Self::default() }
    }
}

/// The lines of `vmtrace-tests`. A run that was cut short lacks its closing
/// line, and what it did not get to is not known: that is a failure.
pub(super) fn real_kernel(output: &str) -> Tally {
    let mut tally = Tally::default();
    let mut closed = false;
    for line in output.lines() {
        match line.split_once(' ') {
            Some(("PASS", _)) => tally.passed += 1,
            Some(("FAIL", what)) => tally.failed.push(what.to_owned()),
            Some(("SKIP", what)) => tally.skipped.push(what.to_owned()),
            Some(("FACT", what)) => tally.facts.push(what.to_owned()),
            _ => closed |= line.contains(" passed, ") && line.contains(" failed, "),
        }
    }
    if !closed {
        tally.failed.push("the tests did not come to their end".to_owned());
    }
    tally
}

/// The lines of `cargo test`: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
pub(super) fn unit(output: &str) -> Tally {
    let mut tally = Tally::default();
    for line in output.lines() {
        if let Some(result) = line.strip_prefix("test result: ") {
            let count = |what: &str| {
                let part = result.split([';', '.']).find_map(|part| part.trim().strip_suffix(what));
                part.and_then(|number| number.trim().parse::<u32>().ok()).unwrap_or(0)
            };
            tally.passed += count("passed");
            continue;
        }
        let Some((name, came)) = line.strip_prefix("test ").and_then(|l| l.split_once(" ... "))
        else {
            continue;
        };
        match came.split_once(", ") {
            _ if came == "FAILED" => tally.failed.push(name.to_owned()),
            Some(("ignored", why)) => tally.skipped.push(format!("{name}: {why}")),
            None if came == "ignored" => tally.skipped.push(format!("{name}: ignored")),
            _ => {}
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_lines_of_real_kernel_tests() {
        let output = "FACT kernel: 6.12\nPASS a (3 ms)\nsome noise\nFAIL b: 3 and not 4\n\
                      SKIP c: no root\n1 passed, 1 failed, 1 skipped\n";
        let tally = real_kernel(output);
        assert_eq!(tally.passed, 1);
        assert_eq!(tally.failed, ["b: 3 and not 4"]);
        assert_eq!(tally.skipped, ["c: no root"]);
        assert_eq!(tally.facts, ["kernel: 6.12"]);
    }

    #[test]
    fn a_run_cut_short_is_a_failure() {
        assert_eq!(real_kernel("PASS a (3 ms)\n").failed.len(), 1);
        assert_eq!(real_kernel("").failed.len(), 1);
    }

    #[test]
    fn reads_the_lines_of_unit_tests() {
        let output = "running 2 tests\ntest a ... ok\ntest b::c ... FAILED\n\
             test d ... ignored, too slow, by far\ntest e ... ignored\n\
             test result: FAILED. 1 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out\n\
             test result: ok. 41 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        let tally = unit(output);
        assert_eq!(tally.passed, 42);
        assert_eq!(tally.failed, ["b::c"]);
        assert_eq!(tally.skipped, ["d: too slow, by far", "e: ignored"]);
    }
}
