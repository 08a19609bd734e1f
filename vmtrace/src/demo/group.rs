//! A memory cgroup for one scenario, in whichever of the two hierarchies the
//! machine keeps memory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// A memory cgroup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Group {
    path: PathBuf,
    root: PathBuf,
    unified: bool,
}

impl Group {
    /// Makes one, or says why there is none to be had.
    pub(super) fn create(name: &str) -> anyhow::Result<Self> {
        let (root, unified) = hierarchy()?;
        if unified {
            // Already there in most systems; where it cannot be, the limit below will tell.
            let _ = fs::write(root.join("cgroup.subtree_control"), "+memory");
        }
        let group = Self { path: root.join(name), root, unified };
        fs::create_dir(&group.path)
            .with_context(|| format!("create the memory cgroup {}", group.path.display()))?;
        if !group.file("memory.max", "memory.limit_in_bytes").exists() {
            group.remove()?;
            anyhow::bail!("the memory controller is not enabled in {}", group.root.display());
        }
        Ok(group)
    }

    /// Its path from the root of the hierarchy.
    pub(super) fn name(&self) -> String {
        let below = self.path.strip_prefix(&self.root).unwrap_or(&self.path);
        format!("/{}", below.display())
    }

    fn file(&self, unified: &str, legacy: &str) -> PathBuf {
        self.path.join(if self.unified { unified } else { legacy })
    }

    /// Moves the calling process in; pages are charged to it from now on.
    pub(super) fn enter(&self) -> io::Result<()> {
        fs::write(self.path.join("cgroup.procs"), "0")
    }

    /// Limits its memory, in bytes; `None` for no limit.
    pub(super) fn limit(&self, bytes: Option<usize>) -> io::Result<()> {
        let none = if self.unified { "max" } else { "-1" };
        let value = bytes.map_or(none.to_owned(), |bytes| bytes.to_string());
        fs::write(self.file("memory.max", "memory.limit_in_bytes"), value)
    }

    /// Keeps it from swapping.
    pub(super) fn forbid_swap(&self) -> io::Result<()> {
        let file = self.file("memory.swap.max", "memory.swappiness");
        if file.exists() { fs::write(file, "0") } else { Ok(()) }
    }

    /// Makes the calling process one that the OOM killer leaves alone here.
    pub(super) fn forbid_kill(&self) -> io::Result<()> {
        if self.unified {
            fs::write("/proc/self/oom_score_adj", "-1000")
        } else {
            fs::write(self.path.join("memory.oom_control"), "1")
        }
    }

    /// Has its pages reclaimed as far as they can be.
    pub(super) fn reclaim(&self) -> io::Result<()> {
        if !self.unified {
            return fs::write(self.path.join("memory.force_empty"), "0");
        }
        // A limit below what is used reclaims at once; what stays is not waited for.
        let high = self.path.join("memory.high");
        let low = fs::write(&high, "0");
        fs::write(&high, "max").and(low)
    }

    /// Removes it, waiting for the last of its processes to be gone.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            match fs::remove_dir(&self.path) {
                Err(error)
                    if error.kind() == io::ErrorKind::ResourceBusy
                        && start.elapsed() < Duration::from_secs(5) =>
                {
                    std::thread::sleep(Duration::from_millis(10));
                }
                done => {
                    return done.with_context(|| format!("remove {}", self.path.display()));
                }
            }
        }
    }
}

/// Where memory cgroups are made, and whether in the unified hierarchy.
fn hierarchy() -> anyhow::Result<(PathBuf, bool)> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
    let mut unified = None;
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(point), Some(kind), Some(options)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if kind == "cgroup" && options.split(',').any(|option| option == "memory") {
            return Ok((PathBuf::from(point), false));
        }
        let controllers = Path::new(point).join("cgroup.controllers");
        let with_memory = || fs::read_to_string(controllers).is_ok_and(|c| c.contains("memory"));
        if kind == "cgroup2" && with_memory() {
            unified = Some((PathBuf::from(point), true));
        }
    }
    unified.context("no cgroup hierarchy with the memory controller is mounted")
}
