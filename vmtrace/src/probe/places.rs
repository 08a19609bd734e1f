//! What `/proc` says of places: where mounts are, which devices are shared
//! memory, and what a process has mapped.

use std::collections::{HashMap, HashSet};
use std::fs;

use procfs::process::{MMPermissions, MMapPath, Process};
use vmtrace_common::evidence::nature;
use vmtrace_common::record::{Header, Region, name, tag};

use super::mapping::{Place, record, set_name};

/// A mount, as `/proc/self/mountinfo` numbers it.
#[derive(Clone, Debug)]
struct Mount {
    point: Vec<u8>,
}

/// The mounts, read when the session begins and again when a new one turns up.
#[derive(Debug, Default)]
pub struct Places {
    mounts: HashMap<u32, Mount>,
    shmem: HashSet<u32>,
    hugetlb: HashSet<u32>,
}

impl Places {
    /// This mount namespace's.
    pub fn read() -> Self {
        let mut places = Self::default();
        places.learn("self");
        places
    }

    /// Adds a process's mounts to those that are known.
    fn learn(&mut self, process: &str) {
        let table = fs::read(format!("/proc/{process}/mountinfo")).unwrap_or_default();
        for line in table.split(|&byte| byte == b'\n') {
            let Some((id, device, point, kind)) = parse_mount(line) else { continue };
            self.mounts.entry(id).or_insert(Mount { point });
            match kind.as_slice() {
                b"tmpfs" | b"devtmpfs" => drop(self.shmem.insert(device)),
                b"hugetlbfs" => drop(self.hugetlb.insert(device)),
                _ => {}
            }
        }
    }

    /// Turns components relative to a mount into a whole path.
    pub fn complete(&mut self, region: &mut Region) {
        if region.naming != name::COMPONENTS && region.naming != name::TRUNCATED {
            return;
        }
        if !self.mounts.contains_key(&region.mount) {
            // Another namespace's, or newer than the session.
            self.learn("self");
            self.learn(&region.header.pid.to_string());
        }
        let len = (region.name_len as usize).min(region.name.len());
        let mut path = match self.mounts.get(&region.mount) {
            Some(mount) if mount.point != b"/" => mount.point.clone(),
            _ => Vec::new(),
        };
        if region.naming == name::TRUNCATED {
            path.extend(b"/...");
        }
        let components = region.name[..len].strip_suffix(b"\0").unwrap_or(&region.name[..len]);
        for component in components.split(|&byte| byte == 0).rev() {
            path.push(b'/');
            path.extend(component);
        }
        region.components = 0;
        region.naming = name::NONE;
        let special = region.special;
        set_name(region, &path);
        region.special = special;
    }

    /// A region's record, its nature completed from its name and device.
    pub fn region(&self, mut place: Place, header: Header, text: &[u8]) -> Region {
        let tmp = [&b"/memfd:"[..], b"/SYSV", b"/dev/zero (deleted)", b"/dev/shm/"];
        if place.nature & nature::HUGETLB != 0
            || self.hugetlb.contains(&place.device)
            || text.starts_with(b"/anon_hugepage")
        {
            place.nature |= nature::HUGETLB;
        } else if tmp.iter().any(|prefix| text.starts_with(prefix))
            || place.inode != 0 && self.shmem.contains(&place.device) && !is_device(text)
        {
            // `/dev/zero` mapped privately is anonymous; its name has no "(deleted)".
            place.nature |= nature::SHMEM;
        } else if text == b"[vvar]"
            || text == b"[vvar_vclock]"
            || is_device(text) && text != b"/dev/zero"
        {
            place.nature |= nature::DEVICE;
        } else if text == b"[vdso]" || place.inode != 0 && text != b"/dev/zero" {
            place.nature |= nature::FILE;
        }
        if text == b"[stack]" {
            place.nature |= nature::GROWS_DOWN;
        }
        record(place, header, text)
    }

    /// Everything a process has mapped, as it is now; nothing if it is gone.
    pub fn regions_of(&self, pid: u32) -> Vec<Region> {
        let process = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok());
        let Some(maps) = process.and_then(|process| process.maps().ok()) else {
            return Vec::new();
        };
        maps.into_iter()
            .map(|map| {
                let place = Place {
                    start: map.address.0,
                    end: map.address.1,
                    offset: map.offset,
                    inode: map.inode,
                    device: map.dev.0.cast_unsigned() << 20 | map.dev.1.cast_unsigned(),
                    nature: permissions(map.perms),
                };
                let header = Header { tag: tag::REGION, pid, tid: pid, ..Header::default() };
                self.region(place, header, &path_text(&map.pathname))
            })
            .collect()
    }
}

fn is_device(text: &[u8]) -> bool {
    text.starts_with(b"/dev/") && !text.starts_with(b"/dev/shm/")
        || text.starts_with(b"anon_inode:")
        || text.starts_with(b"/anon_inode:")
}

fn permissions(perms: MMPermissions) -> u16 {
    [
        (MMPermissions::READ, nature::READ),
        (MMPermissions::WRITE, nature::WRITE),
        (MMPermissions::EXECUTE, nature::EXEC),
        (MMPermissions::SHARED, nature::SHARED),
    ]
    .into_iter()
    .filter(|(bit, _)| perms.contains(*bit))
    .fold(nature::KNOWN, |bits, (_, bit)| bits | bit)
}

fn path_text(path: &MMapPath) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt as _;
    match path {
        MMapPath::Path(path) => path.as_os_str().as_bytes().to_vec(),
        MMapPath::Heap => b"[heap]".to_vec(),
        MMapPath::Stack => b"[stack]".to_vec(),
        MMapPath::TStack(_) | MMapPath::Anonymous => Vec::new(),
        MMapPath::Vdso => b"[vdso]".to_vec(),
        MMapPath::Vvar => b"[vvar]".to_vec(),
        MMapPath::Vsyscall => b"[vsyscall]".to_vec(),
        MMapPath::Rollup => b"[rollup]".to_vec(),
        MMapPath::Vsys(key) => format!("/SYSV{key:08x}").into_bytes(),
        MMapPath::Other(other) => format!("[{other}]").into_bytes(),
    }
}

/// `36 35 98:0 /root /point options … - type source options`
fn parse_mount(line: &[u8]) -> Option<(u32, u32, Vec<u8>, Vec<u8>)> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = std::str::from_utf8(fields.nth(1)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let device = major.parse::<u32>().ok()? << 20 | minor.parse::<u32>().ok()?;
    let point = unescape(fields.nth(1)?);
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some((id, device, point, kind.to_vec()))
}

/// `\040` is a space: mountinfo's octal.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = (byte == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        if let Some(octal) = octal {
            plain.push(octal);
            rest = &tail[3..];
        } else {
            plain.push(byte);
            rest = tail;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_mount() {
        let line = b"36 35 98:3 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw";
        let expected = (36, 98 << 20 | 3, b"/mnt 2".to_vec(), b"ext3".to_vec());
        assert_eq!(parse_mount(line), Some(expected));
        assert_eq!(parse_mount(b""), None);
        assert_eq!(parse_mount(b"36 35 98:3 /mnt1"), None);
    }

    #[test]
    fn puts_a_path_together() {
        let mut places = Places::default();
        places.mounts.insert(7, Mount { point: b"/data".to_vec() });
        let place = Place { start: 0, end: 4096, offset: 0, inode: 1, device: 0, nature: 0 };
        let mut region = record(place, Header::default(), b"");
        let text = b"file\0dir\0";
        region.name[..text.len()].copy_from_slice(text);
        region.name_len = u32::try_from(text.len()).unwrap();
        region.naming = name::COMPONENTS;
        region.mount = 7;
        places.complete(&mut region);
        assert_eq!(&region.name[..region.name_len as usize], b"/data/dir/file");
        assert_eq!(region.naming, name::WHOLE);
    }
}
