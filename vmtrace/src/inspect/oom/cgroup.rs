//! Memory cgroups: where they are mounted, what they may take, what is left.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Which of the two kinds of cgroups account for memory here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Version 1 or 2.
    pub version: u8,
    /// Where.
    pub path: PathBuf,
}

/// Finds where memory is accounted for, from `/proc/self/mountinfo`.
pub fn mount(mountinfo: &str) -> Option<Mount> {
    let mut second = None;
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let Some(point) = left.split(' ').nth(4) else { continue };
        let mut words = right.split(' ');
        let (kind, options) = (words.next(), words.nth(1).unwrap_or_default());
        if kind == Some("cgroup") && options.split(',').any(|option| option == "memory") {
            return Some(Mount { version: 1, path: PathBuf::from(point) });
        }
        if kind == Some("cgroup2") {
            second = Some(Mount { version: 2, path: PathBuf::from(point) });
        }
    }
    second
}

/// A process's memory cgroup, from `/proc/PID/cgroup`.
pub fn of_process(text: &str, version: u8) -> Option<&str> {
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let mine = match version {
            1 => controllers.split(',').any(|controller| controller == "memory"),
            _ => controllers.is_empty(),
        };
        mine.then_some(path)
    })
}

/// What a cgroup may take and takes, in bytes. No limit is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its path below the mount. Hostile.
    pub path: String,
    /// How much memory it may take.
    pub limit: Option<u64>,
    /// How much it takes.
    pub usage: Option<u64>,
    /// How much of that is page cache, which goes before anyone is killed.
    pub cache: Option<u64>,
    /// How much swap it may take beyond its memory.
    pub swap_limit: Option<u64>,
    /// Whether it swaps at all.
    pub swaps: bool,
    /// All of its processes are killed together.
    pub kills_all: bool,
    /// Nobody is killed: they wait.
    pub disabled: bool,
    /// How many were killed in it.
    pub kills: Option<u64>,
}

impl Group {
    /// How many pages are at stake: the kernel's `mem_cgroup_get_max`.
    pub fn total_pages(&self, swap_total: u64) -> Option<u64> {
        let limit = self.limit?;
        let swap =
            if self.swaps { self.swap_limit.unwrap_or(swap_total).min(swap_total) } else { 0 };
        Some((limit / 4096 + swap / 4096).max(1))
    }

    /// How far it is from its limit.
    pub fn distance(&self) -> Option<u64> {
        Some(self.limit?.saturating_sub(self.usage?))
    }

    /// Whether a path is this cgroup or below it.
    pub fn holds(&self, path: &str) -> bool {
        let own = self.path.trim_end_matches('/');
        path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Looks at one cgroup.
pub fn look(mount: &Mount, path: &str) -> Group {
    let directory = mount.path.join(path.trim_start_matches('/'));
    let group = if mount.version == 1 { first(&directory) } else { second(&directory) };
    Group { path: path.to_owned(), ..group }
}

/// Every cgroup with a limit at or above these.
pub fn limited<'a>(mount: &Mount, paths: impl Iterator<Item = &'a str>) -> Vec<Group> {
    let mut above: Vec<String> = Vec::new();
    for path in paths {
        let mut path = path;
        while !path.is_empty() && !above.iter().any(|known| known == path) {
            above.push(path.to_owned());
            path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
    }
    above.sort();
    above.iter().map(|path| look(mount, path)).filter(|group| group.limit.is_some()).collect()
}

fn text(directory: &Path, name: &str) -> Option<String> {
    fs::read_to_string(directory.join(name)).ok()
}

/// A number; `max`, or what version 1 shows in its place, is none.
fn number(directory: &Path, name: &str) -> Option<u64> {
    let value: u64 = text(directory, name)?.trim().parse().ok()?;
    (value < 1 << 62).then_some(value)
}

fn keyed(text: Option<String>, key: &str) -> Option<u64> {
    let text = text?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

fn first(directory: &Path) -> Group {
    let limit = number(directory, "memory.limit_in_bytes");
    let both = number(directory, "memory.memsw.limit_in_bytes");
    let control = || text(directory, "memory.oom_control");
    Group {
        path: String::new(),
        limit,
        usage: number(directory, "memory.usage_in_bytes"),
        cache: keyed(text(directory, "memory.stat"), "total_cache"),
        swap_limit: both.zip(limit).map(|(both, limit)| both.saturating_sub(limit)),
        swaps: number(directory, "memory.swappiness").is_none_or(|value| value > 0),
        kills_all: false,
        disabled: keyed(control(), "oom_kill_disable") == Some(1),
        kills: keyed(control(), "oom_kill"),
    }
}

fn second(directory: &Path) -> Group {
    Group {
        path: String::new(),
        limit: number(directory, "memory.max"),
        usage: number(directory, "memory.current"),
        cache: keyed(text(directory, "memory.stat"), "file"),
        swap_limit: number(directory, "memory.swap.max"),
        swaps: fs::read_to_string("/proc/sys/vm/swappiness")
            .map_or(true, |text| text.trim() != "0"),
        kills_all: number(directory, "memory.oom.group") == Some(1),
        disabled: false,
        kills: keyed(text(directory, "memory.events"), "oom_kill"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_one_wins_where_it_has_the_memory() {
        let hybrid = "30 20 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                      31 20 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(mount(hybrid).unwrap().version, 1);
        let pure = "31 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let expected = Mount { version: 2, path: PathBuf::from("/sys/fs/cgroup") };
        assert_eq!(mount(pure), Some(expected));
        assert_eq!(mount("1 2 3:4 / / rw - ext4 /dev/x rw\n"), None);
    }

    #[test]
    fn a_process_knows_its_cgroup() {
        let text = "9:memory:/user/1\n1:name=systemd:/x\n0::/unified\n";
        assert_eq!(of_process(text, 1), Some("/user/1"));
        assert_eq!(of_process(text, 2), Some("/unified"));
    }

    #[test]
    fn what_is_at_stake_counts_swap_only_where_it_may_be_used() {
        let group =
            Group { limit: Some(8192), swaps: true, swap_limit: Some(4096), ..Group::default() };
        assert_eq!(group.total_pages(1 << 30), Some(3));
        assert_eq!(group.total_pages(0), Some(2));
        assert_eq!(Group { swaps: false, ..group }.total_pages(1 << 30), Some(2));
        assert_eq!(Group::default().total_pages(9), None);
    }

    #[test]
    fn below_means_below() {
        let group = Group { path: "/a/b".to_owned(), ..Group::default() };
        assert!(group.holds("/a/b") && group.holds("/a/b/c"));
        assert!(!group.holds("/a/bc") && !group.holds("/a"));
        assert!(Group { path: "/".to_owned(), ..Group::default() }.holds("/x"));
    }
}
