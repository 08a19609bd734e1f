//! Choosing a kernel among a suite's packages. Pure: packages in, choice out.

use super::Pick;
use crate::debian::index::Package;
use crate::debian::version;

/// The flavour whose drivers a virtual machine needs, and few others.
const FLAVOUR: &str = "-cloud-amd64";

/// Packages that only pull others in are a few kilobytes.
const SMALLEST_IMAGE: u64 = 4 << 20;

/// Whether a package may have to do with a kernel of ours.
pub(super) fn concerns(name: &str) -> bool {
    name.starts_with("linux-") && name.ends_with(FLAVOUR)
}

/// The release (`uname -r`) of the kernel image that a package holds. Up to
/// 6.18 it is `linux-image-…`, after that `linux-binary-…`.
pub(super) fn release(package: &Package) -> Option<&str> {
    let name = package.name.as_str();
    let release = name.strip_prefix("linux-image-").or(name.strip_prefix("linux-binary-"))?;
    let is_image = release.ends_with(FLAVOUR)
        && release.starts_with(|c: char| c.is_ascii_digit())
        && package.size >= SMALLEST_IMAGE;
    is_image.then_some(release)
}

/// `6.12` for `6.12.117-1`, `7.3-rc7` for `7.3~rc7-1~exp1`.
pub(crate) fn series(version: &str) -> String {
    let upstream = version.rsplit_once('-').map_or(version, |(upstream, _)| upstream);
    let (numbers, candidate) = match upstream.split_once("~rc") {
        Some((numbers, candidate)) => (numbers, Some(candidate)),
        None => (upstream, None),
    };
    let (major, minor) = major_minor(numbers);
    match candidate {
        Some(candidate) => format!("{major}.{minor}-rc{candidate}"),
        None => format!("{major}.{minor}"),
    }
}

fn major_minor(version: &str) -> (u32, u32) {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (next(), next())
}

/// The image that fills a place, out of all its suites' packages.
pub(super) fn choose<'a>(
    pick: Pick,
    packages: impl IntoIterator<Item = &'a Package>,
) -> Option<&'a Package> {
    let images = packages.into_iter().filter(|package| release(package).is_some());
    let by_version = |a: &&Package, b: &&Package| version::compare(&a.version, &b.version);
    match pick {
        Pick::Newest => images.max_by(by_version),
        Pick::Series(major, minor) => {
            let newer = images.filter(|image| major_minor(&image.version) >= (major, minor));
            let newer = newer.collect::<Vec<_>>();
            let nearest = newer.iter().map(|image| major_minor(&image.version)).min()?;
            newer
                .into_iter()
                .filter(|image| major_minor(&image.version) == nearest)
                .max_by(by_version)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, size: u64) -> Package {
        Package {
            name: name.into(),
            version: version.into(),
            filename: String::new(),
            sha256: String::new(),
            size,
            depends: String::new(),
        }
    }

    fn suite() -> Vec<Package> {
        vec![
            package("linux-image-cloud-amd64", "6.12.117-1", 1 << 10),
            package("linux-image-6.12-cloud-amd64", "6.12.117-1", 1 << 10),
            package("linux-image-6.12.94+deb13-cloud-amd64", "6.12.94-1", 40 << 20),
            package("linux-image-6.12.107+deb13-cloud-amd64", "6.12.107-1", 40 << 20),
            package("linux-image-6.12.107+deb13-cloud-amd64-dbg", "6.12.107-1", 900 << 20),
            package("linux-image-6.12.107+deb13-cloud-amd64-unsigned", "6.12.107-1", 40 << 20),
            package("linux-image-7.2.12+deb14-cloud-amd64", "7.2.12-1", 1 << 10),
            package("linux-binary-7.2.12+deb14-cloud-amd64", "7.2.12-1", 13 << 20),
            package("linux-binary-unsigned-7.2.12+deb14-cloud-amd64", "7.2.12-1", 13 << 20),
        ]
    }

    #[test]
    fn takes_the_newest_of_the_series() {
        let suite = suite();
        let found = choose(Pick::Series(6, 12), &suite).expect("a kernel");
        assert_eq!(release(found), Some("6.12.107+deb13-cloud-amd64"));
    }

    #[test]
    fn a_dropped_series_gives_way_to_the_nearest_newer() {
        let suite = suite();
        let found = choose(Pick::Series(6, 10), &suite).expect("a kernel");
        assert_eq!(series(&found.version), "6.12");
        let found = choose(Pick::Series(6, 18), &suite).expect("a kernel");
        assert_eq!(found.name, "linux-binary-7.2.12+deb14-cloud-amd64");
        assert_eq!(choose(Pick::Series(8, 0), &suite), None);
    }

    #[test]
    fn takes_the_newest_of_all() {
        let suite = suite();
        let found = choose(Pick::Newest, &suite).expect("a kernel");
        assert_eq!(found.name, "linux-binary-7.2.12+deb14-cloud-amd64");
        assert_eq!(choose(Pick::Newest, &[]), None);
    }

    #[test]
    fn names_the_series() {
        assert_eq!(series("5.10.262-1"), "5.10");
        assert_eq!(series("6.18.15-1~bpo13+1"), "6.18");
        assert_eq!(series("7.3~rc7-1~exp1"), "7.3-rc7");
        assert_eq!(series("7.3-1"), "7.3");
    }
}
