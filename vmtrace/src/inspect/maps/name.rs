//! What a region is called. The kernel gives a path or a word in brackets;
//! people say `libc.so.6`, `[heap]`, `memfd:buffers`.

use super::region::{Part, Perm};

/// What a region's name is worked out from.
#[derive(Clone, Copy, Debug)]
pub struct Clues<'a> {
    /// Its path in `maps`.
    pub path: &'a str,
    /// What may be done there.
    pub perm: Perm,
    /// The program's path, where it is known.
    pub exe: Option<&'a str>,
    /// The part and name of the region that ends where this one starts.
    pub before: Option<(Part, &'a str)>,
    /// Whether that neighbour is the writable tail of a mapped file.
    pub after_data: bool,
}

/// The part a region plays and what it is called.
pub fn name(clues: Clues<'_>) -> (Part, String) {
    let path = clues.path;
    if path.is_empty() {
        return unnamed(clues);
    }
    if let Some(inner) = path.strip_prefix('[') {
        return (bracketed(inner.trim_end_matches(']'), clues.perm), path.to_owned());
    }
    if let Some(known) = shared(path) {
        return known;
    }
    let (file, deleted) = match path.strip_suffix(" (deleted)") {
        Some(file) => (file, " (deleted)"),
        None => (path, ""),
    };
    let base = file.rsplit('/').next().unwrap_or(file);
    if clues.exe.is_some_and(|exe| exe.strip_suffix(" (deleted)").unwrap_or(exe) == file) {
        let part = match (clues.perm.exec(), clues.perm.write()) {
            (true, _) => Part::Text,
            (false, true) => Part::Data,
            (false, false) => Part::Constants,
        };
        return (part, format!("{base}{deleted}"));
    }
    if is_library(base) {
        return (Part::Library, format!("{base}{deleted}"));
    }
    (Part::File, path.to_owned())
}

fn unnamed(clues: Clues<'_>) -> (Part, String) {
    if clues.perm.none() {
        return (Part::Reserved, "[reserved]".to_owned());
    }
    match clues.before {
        Some((part, before)) if clues.after_data && clues.perm.write() => {
            let object = before.strip_suffix(" bss").unwrap_or(before);
            let part = if part == Part::Library { Part::Library } else { Part::Bss };
            (part, format!("{object} bss"))
        }
        _ => (Part::Anonymous, "[anon]".to_owned()),
    }
}

fn bracketed(inner: &str, perm: Perm) -> Part {
    match inner {
        "heap" => Part::Heap,
        "stack" => Part::Stack,
        _ if inner.starts_with("stack:") => Part::ThreadStack,
        _ if inner.starts_with("anon_shmem:") => Part::Shared,
        _ if inner.starts_with("anon:") && perm.none() => Part::Reserved,
        _ if inner.starts_with("anon:") => Part::Anonymous,
        _ => Part::Kernel,
    }
}

/// Memory that is shared through a file which nobody can open by that name.
fn shared(path: &str) -> Option<(Part, String)> {
    let name = path.strip_suffix(" (deleted)").unwrap_or(path);
    if name == "/dev/zero" {
        return Some((Part::Shared, "[anon shared]".to_owned()));
    }
    if let Some(key) = name.strip_prefix("/SYSV") {
        return Some((Part::Shared, format!("[sysv:{key}]")));
    }
    if let Some(name) = name.strip_prefix("/memfd:") {
        return Some((Part::Shared, format!("memfd:{name}")));
    }
    if name == "/anon_hugepage" {
        return Some((Part::Anonymous, "[anon hugetlb]".to_owned()));
    }
    if name.starts_with("/dev/shm/") {
        return Some((Part::Shared, path.to_owned()));
    }
    None
}

/// `libc.so.6`, `ld-linux-x86-64.so.2`, `_ssl.cpython-313-x86_64-linux-gnu.so`.
fn is_library(base: &str) -> bool {
    base.split_once(".so").is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str, perm: &str) -> (Part, String) {
        let perm = Perm::parse(perm).unwrap();
        name(Clues { path, perm, exe: Some("/usr/bin/redis"), before: None, after_data: false })
    }

    #[test]
    fn names_as_people_know_them() {
        let cases = [
            ("/usr/bin/redis", "r-xp", Part::Text, "redis"),
            ("/usr/bin/redis", "r--p", Part::Constants, "redis"),
            ("/usr/bin/redis (deleted)", "rw-p", Part::Data, "redis (deleted)"),
            ("/usr/lib/libc.so.6", "r-xp", Part::Library, "libc.so.6"),
            ("/opt/_ssl.cpython-313.so", "r-xp", Part::Library, "_ssl.cpython-313.so"),
            ("/var/cache/x.source", "r--p", Part::File, "/var/cache/x.source"),
            ("[heap]", "rw-p", Part::Heap, "[heap]"),
            ("[anon:jemalloc]", "rw-p", Part::Anonymous, "[anon:jemalloc]"),
            ("[vdso]", "r-xp", Part::Kernel, "[vdso]"),
            ("", "rw-p", Part::Anonymous, "[anon]"),
            ("", "---p", Part::Reserved, "[reserved]"),
            ("/dev/zero (deleted)", "rw-s", Part::Shared, "[anon shared]"),
            ("/memfd:pulse (deleted)", "rw-s", Part::Shared, "memfd:pulse"),
            ("/SYSV0052e2c1 (deleted)", "rw-s", Part::Shared, "[sysv:0052e2c1]"),
            ("/anon_hugepage (deleted)", "rw-p", Part::Anonymous, "[anon hugetlb]"),
            ("/dev/shm/x", "rw-s", Part::Shared, "/dev/shm/x"),
        ];
        for (path, perm, part, shown) in cases {
            assert_eq!(named(path, perm), (part, shown.to_owned()), "{path}");
        }
    }

    #[test]
    fn anonymous_memory_behind_data_is_bss() {
        let perm = Perm::parse("rw-p").unwrap();
        let after = |part, before| {
            name(Clues {
                path: "",
                perm,
                exe: None,
                before: Some((part, before)),
                after_data: true,
            })
        };
        assert_eq!(after(Part::Data, "redis"), (Part::Bss, "redis bss".to_owned()));
        assert_eq!(after(Part::Library, "libc.so.6"), (Part::Library, "libc.so.6 bss".to_owned()));
    }
}
