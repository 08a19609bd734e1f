//! A tree of packages: programs and the libraries that they depend on, unpacked
//! side by side in the project's cache and never installed.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::index::Package;
use super::{archive, deb, version};
use crate::place;

/// Where the loader and the libraries are looked for, and where they lie.
const LINKS: [(&str, &str); 3] = [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")];
/// What the tree holds, by package and version.
const ABOUT: &str = "about";

/// The tree of these packages' programs, fetched unless the cache has just that.
pub(crate) fn obtain(suite: &str, packages: &[&str]) -> Result<PathBuf> {
    let newest = newest(archive::packages(suite, |_| true)?);
    let needed = closure(&newest, packages)
        .with_context(|| format!("{suite} cannot give {}", packages.join(", ")))?;
    let about = needed.iter().map(|package| format!("{} {}\n", package.name, package.version));
    let about = about.collect::<String>();
    let tree = place::cache("trees")?.join(packages.join("+"));
    if std::fs::read_to_string(tree.join(ABOUT)).is_ok_and(|text| text == about) {
        return Ok(tree);
    }
    let part = tree.with_added_extension("part");
    std::fs::remove_dir_all(&part).ok();
    for (name, target) in LINKS {
        place::make_dir(&part.join(target))?;
        symlink(target, part.join(name)).with_context(|| format!("cannot link {name}"))?;
    }
    for package in needed {
        let file = archive::fetch(suite, package)?;
        let with_programs = packages.contains(&package.name.as_str());
        unpack(&file, &part, with_programs)?;
        std::fs::remove_file(&file).ok();
    }
    std::fs::write(part.join(ABOUT), about).context("cannot write what the tree holds")?;
    std::fs::remove_dir_all(&tree).ok();
    std::fs::rename(&part, &tree).context("cannot put the tree into the cache")?;
    Ok(tree)
}

fn unpack(file: &Path, tree: &Path, with_programs: bool) -> Result<()> {
    let members = deb::list(file)?.into_iter();
    let members = members.filter(|name| is_wanted(name, with_programs)).collect::<Vec<_>>();
    if members.is_empty() { Ok(()) } else { deb::unpack(file, tree, &members) }
}

/// Shared objects of every package, programs only of those that were named.
fn is_wanted(member: &str, with_programs: bool) -> bool {
    let file = member.rsplit('/').next().unwrap_or_default();
    let is_library = file.split('.').skip(1).any(|part| part == "so");
    !file.is_empty() && (is_library || with_programs && member.starts_with("./usr/bin/"))
}

/// Each package at its newest.
fn newest(all: Vec<Package>) -> BTreeMap<String, Package> {
    let mut newest = BTreeMap::<String, Package>::new();
    for package in all {
        let old = newest.get(&package.name);
        if old.is_none_or(|old| version::compare(&old.version, &package.version).is_lt()) {
            newest.insert(package.name.clone(), package);
        }
    }
    newest
}

/// The named packages and all libraries below them. What else they depend on,
/// interpreters of scripts, is not run.
fn closure<'a>(all: &'a BTreeMap<String, Package>, names: &[&'a str]) -> Result<Vec<&'a Package>> {
    let mut found = BTreeMap::new();
    let mut wanted = names.to_vec();
    while let Some(name) = wanted.pop() {
        if found.contains_key(name) {
            continue;
        }
        let package = all.get(name).with_context(|| format!("there is no {name}"))?;
        found.insert(name, package);
        wanted.extend(libraries(package, all));
    }
    Ok(found.into_values().collect())
}

/// The libraries that a package names, of alternatives the first that there is.
fn libraries<'a>(
    package: &'a Package,
    all: &BTreeMap<String, Package>,
) -> impl Iterator<Item = &'a str> {
    let groups = package.depends.split(',').filter_map(|group| {
        let mut names = group.split('|').map(bare);
        let first = names.clone().next()?;
        names.find(|name| all.contains_key(*name)).or(Some(first))
    });
    groups.filter(|name| name.starts_with("lib") || name.starts_with("zlib"))
}

/// A name without its version and architecture: `libc6:any (>= 2.38)`.
fn bare(word: &str) -> &str {
    let word = word.trim();
    word.split([' ', ':', '(']).next().unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::super::index;
    use super::*;

    const INDEX: &str = "Package: tool\nVersion: 1\nFilename: t.deb\nSize: 1\nSHA256: a\n\
        Depends: libgone | liba:any (>= 2), perl:any\n\n\
        Package: liba\nVersion: 1\nFilename: a1.deb\nSize: 1\nSHA256: b\n\n\
        Package: liba\nVersion: 2\nFilename: a2.deb\nSize: 1\nSHA256: b\nDepends: libb\n\n\
        Package: libb\nVersion: 1\nFilename: b.deb\nSize: 1\nSHA256: c\nDepends: liba, zlib1g\n\n\
        Package: zlib1g\nVersion: 1\nFilename: z.deb\nSize: 1\nSHA256: e\n\n\
        Package: broken\nVersion: 1\nFilename: x.deb\nSize: 1\nSHA256: d\nDepends: libgone\n";

    #[test]
    fn follows_libraries_and_nothing_else() {
        let all = newest(index::parse(INDEX, |_| true));
        let found = closure(&all, &["tool"]).expect("all are there");
        let files = found.iter().map(|package| package.filename.as_str()).collect::<Vec<_>>();
        assert_eq!(files, ["a2.deb", "b.deb", "t.deb", "z.deb"]);
        assert!(closure(&all, &["broken"]).is_err());
    }

    #[test]
    fn keeps_shared_objects_and_the_programs_asked_for() {
        for member in ["./usr/lib64/ld-linux-x86-64.so.2", "./usr/lib/llvm-19/lib/libLLVM.so.19.1"]
        {
            assert!(is_wanted(member, false), "{member}");
        }
        assert!(is_wanted("./usr/bin/perf", true));
        for member in ["./usr/bin/perf", "./usr/bin/", "./usr/share/doc/libc6/copyright"] {
            assert!(!is_wanted(member, false), "{member}");
        }
    }
}
