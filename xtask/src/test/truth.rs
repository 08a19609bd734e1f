//! `docs/truth.md`: what each backend reported of what the scenarios declared,
//! on each kernel, made from the facts that the tests found there. Pure: facts
//! in, page out.

use std::collections::{BTreeMap, BTreeSet};

use super::support::Kernel;

/// What the page says before its tables; the rest of it is written by hand.
const HEAD: &str = include_str!("truth.md");

/// The page, or nothing where no kernel told of it.
pub(super) fn page(kernels: &[Kernel<'_>]) -> Option<String> {
    let found: Vec<_> = kernels.iter().map(|(name, facts)| (*name, read(facts))).collect();
    let backends = under(&found, "truth-played ");
    let told = found.into_iter().filter(|(_, facts)| facts.keys().any(|key| is_truth(key)));
    let told: Vec<_> = told.collect();
    if backends.is_empty() {
        return None;
    }
    let mut page = HEAD.to_owned();
    page += "\n## Scenarios played\n\n";
    page += &table("backend", &told, &backends, "truth-played ", |name| format!("`{name}`"));
    let skipped = under(&told, "truth-skipped ");
    if !skipped.is_empty() {
        page += "\n## Not played, and why\n\n";
        page += &table("backend, scenario", &told, &skipped, "truth-skipped ", |name| {
            format!("`{}`", name.replacen(' ', "`, `", 1))
        });
    }
    for backend in &backends {
        let prefix = format!("truth {backend} ");
        let cells = under(&told, &prefix);
        page += &["\n## `", backend, "`\n\n"].concat();
        page += &table("declared → reported", &told, &cells, &prefix, cell);
    }
    Some(page)
}

type Facts<'a> = BTreeMap<&'a str, &'a str>;

fn is_truth(key: &str) -> bool {
    key.starts_with("truth")
}

fn read(facts: &[String]) -> Facts<'_> {
    facts.iter().filter_map(|fact| fact.split_once(": ")).collect()
}

/// What follows a prefix on any kernel.
fn under<'a>(kernels: &[(&str, Facts<'a>)], prefix: &str) -> BTreeSet<&'a str> {
    let keys = kernels.iter().flat_map(|(_, facts)| facts.keys());
    keys.filter_map(|key| key.strip_prefix(prefix)).collect()
}

/// One cell's name: off the diagonal it stands out.
fn cell(name: &str) -> String {
    match name.split_once(' ') {
        Some((declared, reported)) if declared == reported => format!("`{declared}`"),
        Some((declared, reported)) => format!("**`{declared}` → `{reported}`**"),
        None => name.to_owned(),
    }
}

/// Names down, kernels across.
fn table(
    what: &str,
    kernels: &[(&str, Facts<'_>)],
    names: &BTreeSet<&str>,
    prefix: &str,
    told: impl Fn(&str) -> String,
) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let head = kernels.iter().map(|(name, _)| (*name).to_owned());
    let mut table = line(std::iter::once(what.to_owned()).chain(head).collect());
    table += &line(vec!["---".to_owned(); kernels.len() + 1]);
    for name in names {
        let key = format!("{prefix}{name}");
        let values = kernels.iter().map(|(_, facts)| {
            // A bar would end the cell.
            facts.get(key.as_str()).unwrap_or(&"").replace('|', "\\|")
        });
        table += &line(std::iter::once(told(name)).chain(values).collect());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lays_out_the_matrix() {
        let old = ["truth-played fentry: 50 scenarios", "truth fentry thp thp: 4"];
        let new = [
            "truth-played fentry: 51 scenarios",
            "truth-skipped fentry numa-hint: no NUMA",
            "truth fentry thp anon-zero: 4",
        ];
        let facts = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
        let (old, new) = (facts(&old), facts(&new));
        let page = page(&[("5.10", &old), ("7.2", &new), ("none", &[])]).expect("a page");
        for line in [
            "| backend | 5.10 | 7.2 |\n",
            "| `fentry` | 50 scenarios | 51 scenarios |\n",
            "| `fentry`, `numa-hint` |  | no NUMA |\n",
            "| `thp` | 4 |  |\n",
            "| **`thp` → `anon-zero`** |  | 4 |\n",
        ] {
            assert!(page.contains(line), "{line} in {page}");
        }
    }

    #[test]
    fn nothing_known_is_no_page() {
        assert_eq!(page(&[("5.10", &["kernel: 5.10".to_owned()])]), None);
    }
}
