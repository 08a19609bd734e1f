//! The process that is ranked first is the one that dies, twenty times out of
//! twenty.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use vmtrace::inspect::oom::cgroup::{Mount, mount};
use vmtrace::inspect::oom::kills;
use vmtrace::inspect::oom::look::look;

use crate::children::{Kept, holder, ready};
use crate::memory::is_root;

/// How much is left to the one that asks for more.
const LEFT: u64 = 24 << 20;
const ROUNDS: u64 = 20;

/// A memory cgroup that goes with its owner.
struct Group {
    path: PathBuf,
    below: String,
    limit: PathBuf,
    usage: PathBuf,
}

impl Group {
    fn new(mount: &Mount) -> Option<Self> {
        let below = format!("/vmtrace-inspect-{}", std::process::id());
        let path = mount.path.join(&below[1..]);
        if mount.version == 2 {
            let _ = fs::write(mount.path.join("cgroup.subtree_control"), "+memory");
        }
        fs::create_dir(&path).ok()?;
        // What can be swapped out kills nobody.
        let swap = if mount.version == 2 { "memory.swap.max" } else { "memory.swappiness" };
        let _ = fs::write(path.join(swap), "0");
        let limit = if mount.version == 2 { "memory.max" } else { "memory.limit_in_bytes" };
        let usage = if mount.version == 2 { "memory.current" } else { "memory.usage_in_bytes" };
        Some(Self { limit: path.join(limit), usage: path.join(usage), path, below })
    }

    /// Leaves so much beyond what is taken.
    fn leave(&self, left: u64) {
        let used: u64 = fs::read_to_string(&self.usage).unwrap().trim().parse().unwrap();
        fs::write(&self.limit, (used + left).to_string()).unwrap();
    }

    fn take(&self, child: &Kept, adj: i64) {
        fs::write(self.path.join("cgroup.procs"), child.pid().to_string()).unwrap();
        fs::write(format!("/proc/{}/oom_score_adj", child.pid()), adj.to_string()).unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _try in 0..50 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// One round: five that hold, one that asks for more; answers who was ranked
/// first and who died.
fn round(group: &Group, seed: u64) -> (i32, i32) {
    // Ids come again, and the log keeps the kills of long ago.
    let before = kills::read().unwrap().iter().map(|kill| kill.at_us).max();
    group.leave(1 << 30);
    let mut held: Vec<Kept> = (0..5u64)
        .map(|index| {
            let dice = seed
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(11 * u32::try_from(index).unwrap() + 7);
            let mut child = holder(usize::try_from(8 + dice % 32).unwrap());
            group
                .take(&child, [200, 240, 160, 280, 0][usize::try_from(dice >> 8).unwrap_or(0) % 5]);
            child.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
            assert!(ready(&mut child));
            child
        })
        .collect();
    let mut asking = holder(1);
    // Going below what it was born with needs a right that even root may lack.
    group.take(&asking, 0);
    group.leave(LEFT);
    let first = {
        let standing = look().unwrap();
        let arena = standing
            .arenas
            .iter()
            .find(|arena| arena.group.as_ref().is_some_and(|one| one.path == group.below));
        let arena = arena.expect("the cgroup has a limit and is listed");
        arena.ranked[0].candidate.pid
    };
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < end, "nobody died");
        let asked = asking.0.stdin.as_mut().unwrap().write_all(b"\n").is_ok() && ready(&mut asking);
        let dead = held.iter_mut().find_map(|child| child.0.try_wait().unwrap());
        if dead.is_some() || !asked {
            assert!(dead.is_none_or(|status| status.signal() == Some(9)));
            let all: Vec<i32> = held.iter().chain([&asking]).map(Kept::pid).collect();
            return (first, first_killed(&all, before));
        }
    }
}

/// Who was killed first. The kernel may kill again a millisecond later, before the
/// first one's memory is back, so that asking who is dead is not enough.
fn first_killed(of: &[i32], before: Option<u64>) -> i32 {
    let kills = kills::read().unwrap();
    let mut since = kills.iter().filter(|kill| Some(kill.at_us) > before);
    since.find(|kill| of.contains(&kill.pid)).expect("it is in the kernel's log").pid
}

#[test]
fn the_first_in_rank_is_the_one_that_dies() {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let group = mount(&mountinfo).filter(|_| is_root()).and_then(|mount| Group::new(&mount));
    let Some(group) = group else {
        println!("skipped: needs root and memory cgroups");
        return;
    };
    for seed in 1..=ROUNDS {
        let (first, died) = round(&group, seed);
        assert_eq!(first, died, "round {seed}");
    }
    println!("{ROUNDS} of {ROUNDS}");
}

#[test]
fn the_kernels_own_scores_agree() {
    let standing = look().unwrap();
    let (yes, no) = standing.agreed;
    println!("{yes} agree, {no} differ");
    // Those that differ grew or ended between two reads.
    assert!(yes > 0 && no * 10 <= yes, "{yes} {no}");
}
