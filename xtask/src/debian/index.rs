//! Reading a suite's `Packages` index.

/// One package as its suite's index describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The path below the archive's root.
    pub(crate) filename: String,
    pub(crate) sha256: String,
    pub(crate) size: u64,
    /// As it is written; nothing where it depends on nothing.
    pub(crate) depends: String,
}

/// The packages that `wanted` keeps by name. A stanza that lacks a field we
/// need is passed over: it could not be fetched and checked anyway.
pub(crate) fn parse(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<Package> {
    text.split("\n\n").filter_map(|stanza| package(stanza, &wanted)).collect()
}

fn package(stanza: &str, wanted: &impl Fn(&str) -> bool) -> Option<Package> {
    // Lines that begin with a space continue the field above; none of ours do.
    let field = |name: &str| {
        stanza
            .lines()
            .filter(|line| !line.starts_with(' '))
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .map(str::trim)
    };
    let name = field("Package").filter(|name| wanted(name))?;
    Some(Package {
        name: name.to_owned(),
        version: field("Version")?.to_owned(),
        filename: field("Filename")?.to_owned(),
        sha256: field("SHA256")?.to_owned(),
        size: field("Size")?.parse().ok()?,
        depends: field("Depends").unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "Package: rust-src\nVersion: 1.95.0+dfsg1-2\nDescription: Rust\n \
        Package: not-me\nFilename: pool/r.deb\nSize: 42\nSHA256: abc\n\n\
        Package: other\nVersion: 1\nFilename: pool/o.deb\nSize: 1\nSHA256: def\n\n\
        Package: broken\nVersion: 1\n\n";

    #[test]
    fn keeps_what_is_wanted_and_whole() {
        let all = parse(INDEX, |_| true);
        let names = all.iter().map(|package| package.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names, ["rust-src", "other"]);
        assert_eq!(all[0].version, "1.95.0+dfsg1-2");
        assert_eq!(all[0].size, 42);
        assert_eq!(parse(INDEX, |name| name == "other").len(), 1);
        assert!(parse("", |_| true).is_empty());
    }
}
