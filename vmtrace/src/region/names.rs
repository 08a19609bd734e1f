//! Names of regions, the way people know them, and a store that keeps each only
//! once. What a traced process chose is hostile: names are escaped here, before
//! anything else sees them.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use vmtrace_common::evidence::nature;
use vmtrace_common::record::{PATH, Region, name};

use super::Spread;
use crate::term::escape;

/// A name in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameId(u32);

/// Each name once.
#[derive(Debug, Default)]
pub struct Names {
    texts: Vec<Box<str>>,
    /// By the text's hash, or the next free number after it.
    ids: HashMap<u64, NameId, Spread>,
    hasher: RandomState,
    /// What the texts take.
    bytes: usize,
}

/// What all names together may take; later ones share [`MORE`]. A recording that
/// was made to, or a process that maps files by the million, must not eat memory.
pub(super) const MOST_BYTES: usize = 96 << 20;
/// What a name takes beside its text.
const EACH: usize = 48;

impl Names {
    /// The id of a name that is safe to show.
    pub fn intern(&mut self, text: &str) -> NameId {
        let mut hash = self.hasher.hash_one(text);
        while let Some(&id) = self.ids.get(&hash) {
            if self.text(id) == text {
                return id;
            }
            hash = hash.wrapping_add(1);
        }
        let bytes = self.bytes + text.len() + EACH;
        if bytes > MOST_BYTES && text != MORE {
            return self.intern(MORE);
        }
        self.bytes = bytes;
        let id = NameId(u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        self.texts.push(text.into());
        self.ids.insert(hash, id);
        id
    }

    /// The name.
    pub fn text(&self, id: NameId) -> &str {
        self.texts.get(id.0 as usize).map_or("?", |text| text)
    }
}

/// Anonymous memory that nobody named.
pub const ANON: &str = "[anon]";
/// Shared anonymous memory.
pub const SHARED_ANON: &str = "[anon shared]";
/// Anonymous huge pages of hugetlbfs.
pub const ANON_HUGETLB: &str = "[anon hugetlb]";
/// A thread's stack.
pub const THREAD_STACK: &str = "[stack:thread]";
/// A region the kernel side saw and nobody described.
pub const UNKNOWN: &str = "[unknown]";
/// Regions beyond the most that are kept apart.
pub const MORE: &str = "[more regions]";
/// Processes beyond the most that are kept apart.
pub const MORE_PROCESSES: &str = "(more processes)";
/// No region at all.
pub const UNMAPPED: &str = "[unmapped]";

/// What part of an object file a region is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Not an object's.
    None,
    /// Code.
    Text,
    /// Constants.
    Rodata,
    /// Initialised variables.
    Data,
    /// Variables that begin as zero: anonymous memory after the data.
    Bss,
}

impl Part {
    /// Its name, empty for [`None`](Self::None).
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Text => "text",
            Self::Rodata => "rodata",
            Self::Data => "data",
            Self::Bss => "bss",
        }
    }
}

/// What a region is called, as far as it alone says; [`ANON`] where its
/// neighbours may know better.
pub fn of(region: &Region) -> String {
    match region.special & 0xff {
        name::HEAP => return "[heap]".to_owned(),
        name::STACK => return "[stack]".to_owned(),
        name::VDSO => return "[vdso]".to_owned(),
        _ => {}
    }
    let len = usize::try_from(region.name_len).map_or(PATH, |len| len.min(PATH));
    let raw = &region.name[..len];
    let given = match region.naming {
        name::WHOLE => escape::bytes(until_nul(raw)),
        name::COMPONENTS | name::TRUNCATED => joined(raw, region),
        name::ANONYMOUS => return format!("[anon:{}]", escape::bytes(until_nul(raw))),
        _ => String::new(),
    };
    if given.is_empty() { nameless(region.nature).to_owned() } else { familiar(given) }
}

const fn nameless(nature: u16) -> &'static str {
    /// What the only device memory without a file looks like: the kernel's clock.
    const VVAR: u16 = nature::DEVICE | nature::READ;
    if nature & nature::HUGETLB != 0 {
        ANON_HUGETLB
    } else if nature & nature::SHMEM != 0 {
        SHARED_ANON
    } else if nature & nature::GROWS_DOWN != 0 {
        "[stack]"
    } else if nature & (VVAR | nature::WRITE | nature::EXEC) == VVAR {
        "[vvar]"
    } else if nature & nature::DEVICE != 0 {
        "[device]"
    } else if nature & nature::FILE != 0 {
        "[file]"
    } else {
        ANON
    }
}

/// A path from its components, leaf first.
fn joined(raw: &[u8], region: &Region) -> String {
    let raw = raw.strip_suffix(b"\0").unwrap_or(raw);
    if raw.is_empty() {
        return String::new();
    }
    let mut path = String::with_capacity(raw.len() + 2);
    if region.naming == name::TRUNCATED {
        path.push('…');
    }
    for component in raw.split(|&byte| byte == 0).rev().filter(|part| !part.is_empty()) {
        if component != b"/" {
            path.push('/');
            path.push_str(&escape::bytes(component));
        }
    }
    path
}

/// The kernel's names for files that are none, as people write them.
pub fn familiar(path: String) -> String {
    let path = path.strip_suffix(" (deleted)").map(str::to_owned).unwrap_or(path);
    if let Some(memfd) = path.strip_prefix("/memfd:") {
        return format!("memfd:{memfd}");
    }
    match path.as_str() {
        "/dev/zero" => SHARED_ANON.to_owned(),
        "/anon_hugepage" => ANON_HUGETLB.to_owned(),
        _ => path,
    }
}

fn until_nul(raw: &[u8]) -> &[u8] {
    raw.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Permissions as `/proc/PID/maps` writes them.
pub const fn permissions(nature: u16) -> [u8; 4] {
    const fn letter(set: bool, letter: u8) -> u8 {
        if set { letter } else { b'-' }
    }
    [
        letter(nature & nature::READ != 0, b'r'),
        letter(nature & nature::WRITE != 0, b'w'),
        letter(nature & nature::EXEC != 0, b'x'),
        if nature & nature::SHARED != 0 { b's' } else { b'p' },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;

    const FILE: u16 = synthetic::TEXT;
    const SHMEM: u16 = synthetic::ANON | nature::SHMEM | nature::SHARED;

    fn named(naming: u8, bytes: &[u8], nature: u16) -> String {
        let mut region = synthetic::region(1, 0, 1, nature, "");
        region.naming = naming;
        region.name[..bytes.len()].copy_from_slice(bytes);
        region.name_len = u32::try_from(bytes.len()).unwrap();
        of(&region)
    }

    #[test]
    fn paths_are_joined_from_leaf_to_root() {
        let libc = b"libc.so.6\0lib\0usr\0";
        assert_eq!(named(name::COMPONENTS, libc, FILE), "/usr/lib/libc.so.6");
        assert_eq!(named(name::COMPONENTS, b"libc.so.6\0usr\0/\0", FILE), "/usr/libc.so.6");
        assert_eq!(named(name::TRUNCATED, b"leaf\0dir\0", FILE), "…/dir/leaf");
        assert_eq!(named(name::COMPONENTS, b"x\0shm\0dev\0", SHMEM), "/dev/shm/x");
    }

    #[test]
    fn what_is_no_file_is_called_what_it_is() {
        assert_eq!(named(name::NONE, b"", synthetic::ANON), "[anon]");
        assert_eq!(named(name::NONE, b"", SHMEM), "[anon shared]");
        assert_eq!(named(name::COMPONENTS, b"zero\0dev\0", SHMEM), "[anon shared]");
        assert_eq!(named(name::WHOLE, b"/dev/zero (deleted)", SHMEM), "[anon shared]");
        assert_eq!(named(name::COMPONENTS, b"memfd:buffer\0", SHMEM), "memfd:buffer");
        assert_eq!(named(name::WHOLE, b"/memfd:buffer (deleted)", SHMEM), "memfd:buffer");
        assert_eq!(named(name::COMPONENTS, b"SYSV00000000\0", SHMEM), "/SYSV00000000");
        assert_eq!(named(name::ANONYMOUS, b"jemalloc\0", synthetic::ANON), "[anon:jemalloc]");
        let huge = synthetic::ANON | nature::HUGETLB;
        assert_eq!(named(name::COMPONENTS, b"anon_hugepage\0", huge), "[anon hugetlb]");
        let mut region = synthetic::region(1, 0, 1, synthetic::ANON, "");
        region.special = name::HEAP;
        assert_eq!(of(&region), "[heap]");
        region.special = name::VDSO;
        assert_eq!(of(&region), "[vdso]");
    }

    #[test]
    fn hostile_names_are_escaped() {
        assert_eq!(named(name::WHOLE, b"/tmp/\x1b[2J", FILE), "/tmp/\\x1b[2J");
        assert_eq!(named(name::ANONYMOUS, b"a\nb", synthetic::ANON), "[anon:a\\nb]");
        assert_eq!(named(name::COMPONENTS, b"\xff\0", FILE), "/\\xff");
    }

    #[test]
    fn a_length_that_lies_is_no_harm() {
        let mut region = synthetic::region(1, 0, 1, FILE, "/x");
        region.name_len = u32::MAX;
        assert_eq!(of(&region), "/x");
        region.naming = 200;
        assert_eq!(of(&region), "[file]");
    }

    #[test]
    fn permissions_read_like_maps() {
        assert_eq!(&permissions(FILE), b"r-xp");
        assert_eq!(&permissions(SHMEM), b"rw-s");
    }
}
