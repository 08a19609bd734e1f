//! What cgroups are called. The kernel side tells of a thread's cgroup by its id,
//! which is its directory's inode number: the directories are walked when an id
//! is met that has no name yet, and the name joins the stream as a record.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::iter;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use vmtrace_common::record::{GroupName, Header, PATH, hierarchy};

use crate::decode::{self, Rare, encode};

/// The directories are walked this often at most.
const EVERY: Duration = Duration::from_millis(250);
/// The id of the root in every hierarchy (`KERNFS_ROOT`'s first inode).
const ROOT: u64 = 1;
/// No deeper, and no more directories than this: a machine has thousands.
const DEEPEST: usize = 32;
const MOST: usize = 1 << 17;

/// Where the second version's hierarchy is mounted: alone, or beside the first's.
pub(super) fn mount() -> Option<PathBuf> {
    let places = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
    places.into_iter().find(|place| place.join("cgroup.procs").is_file())
}

/// Where the first version's hierarchy is mounted whose cgroups limit memory.
fn memory_mount() -> Option<PathBuf> {
    let place = PathBuf::from("/sys/fs/cgroup/memory");
    place.join("memory.limit_in_bytes").is_file().then_some(place)
}

/// Names for the ids that the stream holds.
#[derive(Debug)]
pub(super) struct Cgroups {
    /// Those of threads.
    unified: Names,
    /// Those whose limit the OOM killer kept, where they are others.
    memory: Option<Names>,
    walked: Option<Instant>,
}

impl Cgroups {
    pub(super) fn new() -> Self {
        let memory = memory_mount();
        let all = if memory.is_some() { hierarchy::UNIFIED } else { hierarchy::BOTH };
        let unified = Names::new(all, mount());
        let memory = memory.map(|mount| Names::new(hierarchy::MEMORY, Some(mount)));
        Self { unified, memory, walked: None }
    }

    /// A record is on its way: does it speak of a cgroup that has no name yet?
    pub(super) fn meet(&mut self, record: &[u8]) {
        match decode::rare(record) {
            Ok(Rare::Task(task)) => self.unified.want(task.cgroup),
            Ok(Rare::Cgroup(moved)) => self.unified.want(moved.cgroup),
            Ok(Rare::Oom(oom)) => {
                self.memory.as_mut().unwrap_or(&mut self.unified).want(oom.memcg);
                // It may not be there for long.
                self.walked = None;
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Hands on the names that are wanted, `now` or as soon as the directories may
    /// be walked again.
    pub(super) fn tell(&mut self, now: bool, mut take: impl FnMut(&[u8])) {
        let mut names = iter::once(&mut self.unified).chain(&mut self.memory);
        if names.all(|names| names.wanted.is_empty())
            || !now && self.walked.is_some_and(|walked| walked.elapsed() < EVERY)
        {
            return;
        }
        for names in iter::once(&mut self.unified).chain(&mut self.memory) {
            names.tell(&mut take);
        }
        self.walked = Some(Instant::now());
    }
}

/// Names for the ids of one hierarchy.
#[derive(Debug)]
struct Names {
    /// [`hierarchy`].
    hierarchy: u32,
    mount: Option<PathBuf>,
    wanted: BTreeSet<u64>,
    /// Those that were asked for once: a directory that is gone stays gone.
    asked: HashSet<u64>,
}

impl Names {
    fn new(hierarchy: u32, mount: Option<PathBuf>) -> Self {
        Self { hierarchy, mount, wanted: BTreeSet::new(), asked: HashSet::new() }
    }

    fn want(&mut self, id: u64) {
        if id != 0 && self.asked.insert(id) {
            self.wanted.insert(id);
        }
    }

    fn tell(&mut self, take: &mut impl FnMut(&[u8])) {
        if self.wanted.remove(&ROOT) {
            take(&self.named(ROOT, b"/"));
        }
        if let Some(mount) = self.mount.clone().filter(|_| !self.wanted.is_empty()) {
            let mut left = MOST;
            self.walk(&mount, &mount, DEEPEST, &mut left, take);
        }
        self.wanted.clear();
    }

    fn walk(
        &mut self,
        mount: &Path,
        directory: &Path,
        deep: usize,
        left: &mut usize,
        take: &mut impl FnMut(&[u8]),
    ) {
        let Ok(children) = fs::read_dir(directory) else { return };
        for child in children.flatten() {
            if self.wanted.is_empty() || *left == 0 {
                return;
            }
            if !child.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            *left -= 1;
            let path = child.path();
            if let Ok(metadata) = child.metadata()
                && self.wanted.remove(&metadata.ino())
            {
                let below = path.strip_prefix(mount).unwrap_or(&path).as_os_str().as_bytes();
                take(&self.named(metadata.ino(), &[b"/", below].concat()));
            }
            if deep > 0 {
                self.walk(mount, &path, deep - 1, left, take);
            }
        }
    }

    /// The record: of a path that is too long, its end.
    fn named(&self, cgroup: u64, path: &[u8]) -> Vec<u8> {
        let kept = &path[path.len().saturating_sub(PATH)..];
        let mut name = [0; PATH];
        name[..kept.len()].copy_from_slice(kept);
        let name_len = u32::try_from(kept.len()).unwrap_or(0);
        let (header, hierarchy) = (Header::default(), self.hierarchy);
        encode(&Rare::GroupName(Box::new(GroupName { header, cgroup, name_len, hierarchy, name })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;
    use vmtrace_common::record::Oom;

    #[test]
    fn ids_are_found_among_directories_and_asked_for_once() {
        let mount = std::env::temp_dir().join(format!("vmtrace-cgroups-{}", std::process::id()));
        let inside = mount.join("system.slice/redis.service");
        fs::create_dir_all(&inside).unwrap();
        let id = fs::metadata(&inside).unwrap().ino();
        let names = |hierarchy| Names::new(hierarchy, Some(mount.clone()));
        let (unified, memory) = (names(hierarchy::UNIFIED), names(hierarchy::MEMORY));
        let mut cgroups = Cgroups { unified, memory: Some(memory), walked: None };
        let mut told = Vec::new();
        for cgroup in [id, ROOT, u64::MAX, id] {
            let task = vmtrace_common::record::Task { cgroup, ..synthetic::task(1, 1, 1, "x") };
            cgroups.meet(&encode(&Rare::Task(task)));
        }
        cgroups.meet(&encode(&Rare::Oom(Oom { memcg: id, ..Oom::default() })));
        cgroups.tell(true, |record| {
            let Ok(Rare::GroupName(name)) = decode::rare(record) else { panic!("{record:?}") };
            let len = usize::try_from(name.name_len).unwrap();
            told.push((
                name.hierarchy,
                name.cgroup,
                String::from_utf8(name.name[..len].to_vec()).unwrap(),
            ));
        });
        fs::remove_dir_all(&mount).unwrap();
        let redis = "/system.slice/redis.service".to_owned();
        let expected = [(0, ROOT, "/".to_owned()), (0, id, redis.clone()), (1, id, redis)];
        assert_eq!(told, expected);
        cgroups.tell(true, |_| panic!("told twice"));
    }
}
