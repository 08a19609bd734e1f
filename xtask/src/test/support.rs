//! `docs/kernel-support.md`: what each backend attaches on each kernel, made
//! from the facts that the tests found there. Pure: facts in, page out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A kernel's name and the facts found on it, as `key: value`.
pub(super) type Kernel<'a> = (&'a str, &'a [String]);

const HEAD: &str = "# What works on which kernel\n\n\
    Written by `cargo xtask test --write-support` from what the tests found in the virtual\n\
    machines (and natively); not by hand. `vmtrace doctor` says the same of the machine it runs on.\n";

/// The page, or nothing where no kernel told of its probes.
pub(super) fn page(kernels: &[Kernel<'_>]) -> Option<String> {
    let found = kernels.iter().map(|(name, facts)| (*name, read(facts))).collect::<Vec<_>>();
    let backends = unique(&found, |key| key.strip_prefix("backend "));
    if backends.is_empty() {
        return None;
    }
    let mut page = HEAD.to_owned();
    section(&mut page, "Backends", &found, &backends, |backend| format!("backend {backend}"));
    for backend in &backends {
        let prefix = format!("probe {backend} ");
        let probes = unique(&found, |key| key.strip_prefix(&prefix));
        if !probes.is_empty() {
            let title = format!("`{backend}`: its probes");
            section(&mut page, &title, &found, &probes, |probe| format!("{prefix}{probe}"));
        }
    }
    Some(page)
}

type Facts<'a> = BTreeMap<&'a str, &'a str>;

fn read(facts: &[String]) -> Facts<'_> {
    facts.iter().filter_map(|fact| fact.split_once(": ")).collect()
}

fn unique<'a>(
    kernels: &[(&str, Facts<'a>)],
    name: impl Fn(&'a str) -> Option<&'a str>,
) -> BTreeSet<&'a str> {
    kernels.iter().flat_map(|(_, facts)| facts.keys()).filter_map(|key| name(key)).collect()
}

/// A table: names down, kernels across.
fn section(
    page: &mut String,
    title: &str,
    kernels: &[(&str, Facts<'_>)],
    names: &BTreeSet<&str>,
    key: impl Fn(&str) -> String,
) {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut table = String::new();
    let head = kernels.iter().map(|(name, _)| (*name).to_owned());
    table += &line(std::iter::once(String::new()).chain(head).collect());
    table += &line(vec!["---".to_owned(); kernels.len() + 1]);
    for name in names {
        let states = kernels.iter().map(|(_, facts)| {
            // A bar would end the cell.
            facts.get(key(name).as_str()).unwrap_or(&"").replace('|', "\\|")
        });
        table += &line(std::iter::once(format!("`{name}`")).chain(states).collect());
    }
    // Writing to a string cannot fail.
    let _ = write!(page, "\n## {title}\n\n{table}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lays_out_backends_and_probes() {
        let old = [
            "kernel: 5.10".to_owned(),
            "backend fentry: usable".to_owned(),
            "probe fentry do_wp_page: attached".to_owned(),
        ];
        let new = [
            "backend fentry: usable".to_owned(),
            "probe fentry do_wp_page: degraded no | such symbol".to_owned(),
        ];
        let page = page(&[("5.10", &old), ("7.2", &new)]).expect("a page");
        assert!(page.contains("|  | 5.10 | 7.2 |\n| --- | --- | --- |\n"), "{page}");
        assert!(page.contains("| `fentry` | usable | usable |\n"), "{page}");
        assert!(
            page.contains("| `do_wp_page` | attached | degraded no \\| such symbol |\n"),
            "{page}"
        );
    }

    #[test]
    fn nothing_known_is_no_page() {
        assert_eq!(page(&[("5.10", &[])]), None);
    }
}
