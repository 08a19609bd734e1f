//! What is traced: from what the user asked for to the programs' thread table.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use aya::Ebpf;
use aya::maps::{HashMap, MapData, MapError};
use procfs::process::{Process, all_processes};
use vmtrace_common::config::{CROWD_PROBES, crowd_slot};
use vmtrace_common::record::{COMM, Header, Task, tag};
use vmtrace_common::thread::Thread;

use super::cgroups;
use super::namespace::Namespace;
use crate::decode::{Rare, encode};
use crate::sys::shared::Threads;

/// Whom to trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// These processes, by the ids this shell sees.
    Pids(Vec<u32>),
    /// Every process but vmtrace itself.
    All,
    /// Everything in a cgroup and below it.
    Cgroup(PathBuf),
}

impl Target {
    /// Checks that it is there, before anything is loaded.
    pub fn check(&self) -> anyhow::Result<()> {
        match self {
            Self::All => Ok(()),
            Self::Pids(pids) => pids.iter().try_for_each(|&pid| check_pid(pid)),
            Self::Cgroup(path) => {
                if !path.join("cgroup.procs").is_file() {
                    bail!(
                        "{} is not a cgroup: it has no cgroup.procs (cgroups lie below /sys/fs/cgroup)",
                        path.display()
                    );
                }
                Ok(())
            }
        }
    }

    /// In words, for the head of a report.
    pub fn describe(&self) -> String {
        match self {
            Self::All => "every process".to_owned(),
            Self::Cgroup(path) => format!("cgroup {}", path.display()),
            Self::Pids(pids) => pids
                .iter()
                .map(|pid| format!("pid {pid} ({})", comm(*pid)))
                .collect::<Vec<_>>()
                .join(", "),
        }
    }
}

fn comm(pid: u32) -> String {
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(name.trim_ascii_end()).into_owned()
}

fn check_pid(pid: u32) -> anyhow::Result<()> {
    let process = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok());
    let Some(status) = process.and_then(|process| process.status().ok()) else {
        bail!("there is no process {pid}: `ps -e` lists those there are");
    };
    let leader = status.tgid.cast_unsigned();
    if leader != pid {
        bail!("{pid} is a thread of process {leader}: trace that one with -p {leader}");
    }
    if status.vmrss.is_none() && status.vmsize.is_none() {
        bail!(
            "process {pid} ({}) has no address space: it is a kernel thread or a zombie",
            status.name
        );
    }
    Ok(())
}

/// Keeps an entry that is there already: that thread was born under the
/// programs' eyes.
const BPF_NOEXIST: u64 = 1;

/// How many threads can be traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Slots that are indexed by a thread's id, a power of two.
    pub own: u32,
    /// Slots for those whose own is taken, a power of two.
    pub crowd: u32,
    /// Bytes for rare records not yet read.
    pub rare: u32,
}

impl Room {
    /// For a large machine, or a few processes.
    pub fn of(target: &Target) -> Self {
        match target {
            Target::Pids(_) => Self { own: 1 << 14, crowd: 1 << 12, rare: 2 << 20 },
            Target::All | Target::Cgroup(_) => Self { own: 1 << 16, crowd: 1 << 14, rare: 8 << 20 },
        }
    }

    /// All of them.
    pub fn slots(self) -> u32 {
        self.own + self.crowd
    }
}

/// The maps that say who is traced.
pub struct Table {
    room: Room,
    threads: Threads,
    claims: HashMap<MapData, u32, u32>,
    crowd: HashMap<MapData, u32, u32>,
    targets: HashMap<MapData, u32, u32>,
    cgroups: HashMap<MapData, u64, u32>,
    namespace: Arc<Namespace>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").finish_non_exhaustive()
    }
}

impl Table {
    /// Takes the maps out of the object.
    pub fn take(
        ebpf: &mut Ebpf,
        threads: BorrowedFd<'_>,
        room: Room,
        namespace: Arc<Namespace>,
    ) -> anyhow::Result<Self> {
        let mut map = |name: &str| ebpf.take_map(name).with_context(|| format!("map {name}"));
        Ok(Self {
            room,
            threads: Threads::map(threads, room.slots() as usize)
                .context("mapping the thread table")?,
            claims: map("CLAIMS")?.try_into()?,
            crowd: map("CROWD")?.try_into()?,
            targets: map("TARGETS")?.try_into()?,
            cgroups: map("CGROUPS")?.try_into()?,
            namespace,
        })
    }

    /// Enters everything `target` means now; what is born later enters itself.
    /// Answers a record for each thread.
    pub fn adopt(&mut self, target: &Target) -> anyhow::Result<Vec<Task>> {
        let mut tasks = Vec::new();
        match target {
            Target::Pids(pids) => {
                for pid in pids.iter().filter_map(|&pid| self.namespace.outside(pid)) {
                    self.targets.insert(pid, 1, 0).context("entering a process")?;
                }
                for &pid in pids {
                    self.adopt_process(pid, &mut tasks)?;
                }
                if tasks.is_empty() {
                    bail!("the process ended before it could be traced");
                }
            }
            Target::All => {
                let own = std::process::id();
                for process in all_processes().context("listing /proc")?.flatten() {
                    let pid = process.pid.cast_unsigned();
                    if pid != own {
                        self.adopt_process(pid, &mut tasks)?;
                    }
                }
            }
            Target::Cgroup(path) => self.adopt_cgroup(path, &mut tasks, 0)?,
        }
        Ok(tasks)
    }

    /// Enters a process's threads, by their ids here, looking again until no new one
    /// turns up: one that is not entered yet may have made another meanwhile.
    fn adopt_process(&mut self, pid: u32, tasks: &mut Vec<Task>) -> anyhow::Result<()> {
        let mut seen = HashSet::new();
        loop {
            let before = seen.len();
            let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Ok(()) };
            for tid in entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()) {
                if seen.insert(tid) {
                    self.adopt_thread(pid, tid, tasks)?;
                }
            }
            if seen.len() == before {
                return Ok(());
            }
        }
    }

    fn adopt_thread(&mut self, pid: u32, tid: u32, tasks: &mut Vec<Task>) -> anyhow::Result<()> {
        let mut task = task(pid, tid);
        let namespace = &self.namespace;
        let (Some(pid), Some(tid)) = (namespace.outside(pid), namespace.outside(tid)) else {
            return Ok(());
        };
        task.parent = namespace.outside(task.parent).unwrap_or_default();
        (task.header.pid, task.header.tid) = (pid, tid);
        let thread = Thread { pid, ..Thread::default() };
        let own = tid & (self.room.own - 1);
        match self.claim(own, tid)? {
            Claim::Made => self.threads.enter(own as usize, tid, &thread),
            Claim::There => return Ok(()),
            Claim::Taken => {
                let Some(slot) = self.crowd_in(tid)? else { return Ok(()) };
                self.threads.crowd(own as usize);
                self.crowd.insert(tid, slot, 0).context("no room in the thread table")?;
                self.threads.enter(slot as usize, tid, &thread);
            }
        }
        tasks.push(task);
        Ok(())
    }

    /// A slot for a thread whose own is another's; none where it has one.
    fn crowd_in(&mut self, tid: u32) -> anyhow::Result<Option<u32>> {
        for probe in 0..CROWD_PROBES {
            let slot = crowd_slot(tid, probe, self.room.own - 1, self.room.crowd - 1);
            match self.claim(slot, tid)? {
                Claim::Made => return Ok(Some(slot)),
                Claim::There => return Ok(None),
                Claim::Taken => {}
            }
        }
        bail!("no room in the thread table")
    }

    fn claim(&mut self, slot: u32, tid: u32) -> anyhow::Result<Claim> {
        match self.claims.insert(slot, tid, BPF_NOEXIST) {
            Ok(()) => Ok(Claim::Made),
            Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::EEXIST) => {
                let owner = self.claims.get(&slot, 0).unwrap_or(0);
                Ok(if owner == tid { Claim::There } else { Claim::Taken })
            }
            Err(error) => Err(error).context("no room in the thread table"),
        }
    }

    /// A cgroup and those below it, v1 or v2.
    fn adopt_cgroup(
        &mut self,
        path: &Path,
        tasks: &mut Vec<Task>,
        depth: u32,
    ) -> anyhow::Result<()> {
        // The directory's inode number is the cgroup's id.
        let id = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?.ino();
        self.cgroups.insert(id, 1, 0).context("entering a cgroup")?;
        // `cgroup.threads` in v2's threaded mode and `tasks` in v1 hold threads.
        let lists = ["cgroup.procs", "cgroup.threads", "tasks"];
        for list in lists {
            let Ok(ids) = fs::read_to_string(path.join(list)) else { continue };
            for id in ids.lines().filter_map(|line| line.trim().parse::<u32>().ok()) {
                if id == std::process::id() {
                    continue;
                }
                if list == "cgroup.procs" {
                    self.adopt_process(id, tasks)?;
                } else if let Some(pid) = process_of(id) {
                    self.adopt_thread(pid, id, tasks)?;
                }
            }
        }
        if depth < 64
            && let Ok(entries) = fs::read_dir(path)
        {
            for below in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
                self.adopt_cgroup(&below.path(), tasks, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Every entry, after the programs are gone.
    pub fn threads(&self) -> Vec<(u32, Thread)> {
        let slots = self.claims.iter().flatten();
        slots.map(|(slot, tid)| (tid, self.threads.copy(slot as usize))).collect()
    }
}

/// What became of a slot that was asked for.
enum Claim {
    /// It is the thread's own now.
    Made,
    /// It was the thread's own before.
    There,
    /// It is another's.
    Taken,
}

fn process_of(tid: u32) -> Option<u32> {
    let process = Process::new(i32::try_from(tid).ok()?).ok()?;
    Some(process.status().ok()?.tgid.cast_unsigned())
}

fn task(pid: u32, tid: u32) -> Task {
    let mut name = [0; COMM];
    let text = fs::read(format!("/proc/{pid}/task/{tid}/comm")).unwrap_or_default();
    for (to, from) in name.iter_mut().zip(text.trim_ascii_end().iter().take(COMM - 1)) {
        *to = *from;
    }
    let parent = i32::try_from(pid)
        .ok()
        .and_then(|pid| Process::new(pid).ok()?.stat().ok())
        .map_or(0, |stat| stat.ppid.cast_unsigned());
    let len = u32::try_from(size_of::<Task>()).unwrap_or(0);
    Task {
        header: Header { tag: tag::TASK, cpu: 0, len, time: 0, pid, tid },
        parent,
        creator: 0,
        cgroup: cgroup_of(pid),
        comm: name,
    }
}

/// The id of the process's cgroup in the v2 hierarchy.
fn cgroup_of(pid: u32) -> u64 {
    let Ok(lines) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else { return 0 };
    let Some(path) = lines.lines().find_map(|line| line.strip_prefix("0::")) else { return 0 };
    let Some(mount) = cgroups::mount() else { return 0 };
    fs::metadata(mount.join(path.trim_start_matches('/'))).map_or(0, |directory| directory.ino())
}

/// A task's record as bytes.
pub fn encoded(task: Task) -> Vec<u8> {
    encode(&Rare::Task(task))
}
