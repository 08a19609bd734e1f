//! Gathers every process as the kernel would weigh it.

use std::fs;
use std::io;

use super::badness::{Candidate, Immune, Ranked, rank};
use super::cgroup::{self, Group};
use super::kills::{self, Kill};
use crate::inspect::meminfo::meminfo;
use crate::inspect::unseen::Unseen;

/// A place where memory may run out, and who would go.
#[derive(Clone, Debug)]
pub struct Arena {
    /// The cgroup; `None` is the whole machine.
    pub group: Option<Group>,
    /// How many pages are at stake.
    pub total: u64,
    /// Who would go, the first first.
    pub ranked: Vec<Ranked>,
}

/// Settings that change who is killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whoever asks for memory is killed, not the worst.
    pub kill_allocating: bool,
    /// The machine panics instead.
    pub panic: bool,
}

/// Everything about who would be killed.
#[derive(Clone, Debug)]
pub struct Standing {
    /// RAM and swap in bytes.
    pub ram: u64,
    /// See `ram`.
    pub swap: u64,
    /// What is left before the machine runs out: memory, and free swap.
    pub available: u64,
    /// See `available`.
    pub swap_free: u64,
    /// The machine first, then every cgroup with a limit.
    pub arenas: Vec<Arena>,
    /// Everyone, also those who are never killed.
    pub all: Vec<Candidate>,
    /// For how many the kernel's own `oom_score` says the same, and for how many not.
    pub agreed: (usize, usize),
    /// Past kills.
    pub kills: Vec<Kill>,
    /// Settings.
    pub settings: Settings,
    /// What could not be seen.
    pub unseen: Unseen,
}

/// Looks at everyone.
pub fn look() -> anyhow::Result<Standing> {
    let mut unseen = Unseen::default();
    let memory = meminfo(&fs::read_to_string("/proc/meminfo")?);
    let of = |key: &str| memory.get(key).copied().unwrap_or(0);
    let (ram, swap) = (of("MemTotal"), of("SwapTotal"));
    let mount =
        fs::read_to_string("/proc/self/mountinfo").ok().and_then(|text| cgroup::mount(&text));
    if mount.is_none() {
        unseen.note("memory cgroups", "none are mounted");
    }
    let version = mount.as_ref().map_or(2, |mount| mount.version);
    let all = everyone(version)?;
    let total = (ram + swap) / 4096;
    let mut arenas = vec![Arena { group: None, total, ranked: rank(all.iter(), total) }];
    if let Some(mount) = &mount {
        let paths = all.iter().map(|candidate| candidate.cgroup.as_str());
        for group in cgroup::limited(mount, paths) {
            let Some(total) = group.total_pages(swap) else { continue };
            let inside = all.iter().filter(|candidate| group.holds(&candidate.cgroup));
            let ranked = rank(inside, total);
            arenas.push(Arena { group: Some(group), total, ranked });
        }
    }
    let agreed = agreement(&all, total);
    let kills = match kills::read() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            unseen.note(
                "past kills",
                "the kernel's log may be read only by root (kernel.dmesg_restrict)",
            );
            Vec::new()
        }
        other => unseen.keep("past kills", other).unwrap_or_default(),
    };
    let set = |name: &str| {
        fs::read_to_string(format!("/proc/sys/vm/{name}")).is_ok_and(|text| text.trim() != "0")
    };
    let settings =
        Settings { kill_allocating: set("oom_kill_allocating_task"), panic: set("panic_on_oom") };
    let (available, swap_free) = (of("MemAvailable"), of("SwapFree"));
    Ok(Standing { ram, swap, available, swap_free, arenas, all, agreed, kills, settings, unseen })
}

/// A score moves in steps of 1.5 thousandths of everything, and a process does
/// not hold still between two reads: one step apart is agreement.
fn agreement(all: &[Candidate], total: u64) -> (usize, usize) {
    let scored = all.iter().filter_map(|one| Some((one, one.score?)));
    let close = scored.map(|(one, score)| (one.expected_score(total) - score).abs() <= 1);
    close.fold((0, 0), |(yes, no), close| if close { (yes + 1, no) } else { (yes, no + 1) })
}

fn everyone(version: u8) -> io::Result<Vec<Candidate>> {
    let pids = fs::read_dir("/proc")?
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // Who goes while being looked at is left out.
    Ok(pids.filter_map(|pid| candidate(pid, version)).collect())
}

fn candidate(pid: i32, version: u8) -> Option<Candidate> {
    let read = |name: &str| {
        fs::read(format!("/proc/{pid}/{name}"))
            .map(|raw| String::from_utf8_lossy(&raw).into_owned())
    };
    let status = read("status").ok()?;
    let number = |name: &str| read(name).ok().and_then(|text| text.trim().parse::<i64>().ok());
    let groups = read("cgroup").unwrap_or_default();
    let stat = read("stat").unwrap_or_default();
    let weighed = of_status(pid, &status);
    let adj = number("oom_score_adj").unwrap_or(0);
    let immune = weighed.immune.or((adj == -1000).then_some(Immune::Adjusted));
    Some(Candidate {
        adj,
        score: number("oom_score"),
        started: started(&stat).unwrap_or(0),
        cgroup: cgroup::of_process(&groups, version).unwrap_or("/").to_owned(),
        immune,
        ..weighed
    })
}

/// The twenty-second field of `stat`; the name before it may hold anything.
fn started(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// What `status` says of a process's weight.
pub fn of_status(pid: i32, status: &str) -> Candidate {
    let line =
        |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let pages = |key: &str| {
        let kib = line(key)?.trim().strip_suffix(" kB")?;
        kib.trim().parse::<u64>().ok().map(|kib| kib / 4)
    };
    let immune = if pid == 1 {
        Some(Immune::Init)
    } else if line("VmSize").is_some() {
        None
    } else if line("State").is_some_and(|state| state.trim_start().starts_with(['Z', 'X'])) {
        Some(Immune::NoMemory)
    } else {
        Some(Immune::KernelThread)
    };
    Candidate {
        pid,
        // `status` escapes the name's newlines and backslashes itself.
        comm: line("Name").unwrap_or_default().trim().to_owned(),
        uid: line("Uid")
            .and_then(|ids| ids.split_ascii_whitespace().next()?.parse().ok())
            .unwrap_or(0),
        rss: pages("VmRSS").unwrap_or(0),
        swap: pages("VmSwap").unwrap_or(0),
        tables: pages("VmPTE").unwrap_or(0),
        immune,
        ..Candidate::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_weighed() {
        let status = "Name:\tredis\nState:\tS (sleeping)\nUid:\t999\t999\t999\t999\nVmSize:\t900 kB\n\
                      VmRSS:\t     400 kB\nVmPTE:\t      40 kB\nVmSwap:\t       8 kB\n";
        let one = of_status(7, status);
        assert_eq!((one.rss, one.swap, one.tables, one.uid), (100, 2, 10, 999));
        assert_eq!(one.held(), 112);
        assert_eq!(one.immune, None);
        assert_eq!(of_status(1, status).immune, Some(Immune::Init));
        assert_eq!(of_status(2, "State:\tZ (zombie)\n").immune, Some(Immune::NoMemory));
        assert_eq!(of_status(2, "State:\tI (idle)\n").immune, Some(Immune::KernelThread));
    }

    #[test]
    fn a_start_time_behind_a_hostile_name() {
        let fields: Vec<String> = (3..=25).map(|field| field.to_string()).collect();
        assert_eq!(started(&format!("7 (a ) b) {}", fields.join(" "))), Some(22));
    }
}
