//! The process that is ranked first is the one that dies, in a cgroup and of the
//! whole machine.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use vmtrace::inspect::oom::cgroup::{Mount, mount};
use vmtrace::inspect::oom::kills;
use vmtrace::inspect::oom::look::look;

use super::reserve::Reserve;
use crate::child::Kept;
use crate::harness::{Verdict, fact};
use crate::{sys, tool};

/// How much is left to the one that asks for more.
const LEFT: u64 = 8 << 20;
/// What is left of the machine: room for the children at their largest, for the
/// one that asks, and for the command.
const MACHINE: u64 = 176 << 20;
/// Rounds at full length.
const ROUNDS: u64 = 20;
/// Adjustments that weigh as much as the amounts do: a thousandth of a cgroup of
/// some 64 MiB, and of a guest of 2 GiB.
const IN_GROUP: [i64; 5] = [100, 140, 60, 180, 0];
const OF_MACHINE: [i64; 5] = [3, 5, 2, 7, 0];
/// How long a round may take.
const PATIENCE: Duration = Duration::from_mins(3);

/// A memory cgroup that goes with its owner.
struct Group {
    path: PathBuf,
    below: String,
    limit: PathBuf,
    usage: PathBuf,
}

impl Group {
    fn new(mount: &Mount) -> Option<Self> {
        let below = format!("/vmtrace-look-{}", std::process::id());
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
    fn leave(&self, left: u64) -> Result<()> {
        let used: u64 = fs::read_to_string(&self.usage)?.trim().parse()?;
        Ok(fs::write(&self.limit, (used + left).to_string())?)
    }

    fn take(&self, child: &Kept) -> Result<()> {
        Ok(fs::write(self.path.join("cgroup.procs"), child.pid().to_string())?)
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

/// All rounds, or so few where time is short.
fn rounds(few: u64) -> u64 {
    if crate::is_long() { ROUNDS } else { few }
}

/// Amounts in MiB and adjustments for five children, by lot; drawn again where two
/// of them would weigh about the same. An adjustment of one weighs `each` KiB.
fn draw(seed: u64, adjustments: [i64; 5], each: i64) -> [(i64, i64); 5] {
    const APART: i64 = 3 << 10;
    let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    loop {
        let drawn = [0; 5].map(|_| {
            dice = dice.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let lot = usize::try_from(dice >> 40).unwrap_or(0);
            (4 + (dice >> 58).cast_signed() % 20, adjustments[lot % 5])
        });
        let mut points = drawn.map(|(mib, adj)| (mib << 10) + adj * each);
        points.sort_unstable();
        if points.windows(2).all(|two| two[1] - two[0] >= APART) {
            return drawn;
        }
    }
}

/// Starts children that hold such amounts.
fn hoard(drawn: [(i64, i64); 5], place: impl Fn(&Kept) -> Result<()>) -> Result<Vec<Kept>> {
    let mut held = Vec::new();
    for (mib, adj) in drawn {
        let mut child = Kept::workload(&["hold", &mib.to_string()])?;
        place(&child)?;
        adjust(&child, adj)?;
        ensure!(child.step(), "a child that was to hold {mib} MiB is gone");
        held.push(child);
    }
    Ok(held)
}

fn adjust(child: &Kept, adj: i64) -> Result<()> {
    let path = format!("/proc/{}/oom_score_adj", child.pid());
    fs::write(path, adj.to_string()).context("setting oom_score_adj")
}

/// Who is first in a ranking, as the command prints it: of a cgroup, or of the machine.
fn first(group: Option<&str>) -> Result<i32> {
    let output = tool::output(&mut tool::vmtrace(&["oom", "--format", "json"])?)?;
    let json: Value = serde_json::from_slice(&output.stdout).context("oom printed no JSON")?;
    let arenas = json["arenas"].as_array().context("no arenas")?;
    let arena = arenas.iter().find(|arena| arena["cgroup"]["path"].as_str() == group);
    let first = &arena.context("its arena is not listed")?["ranked"][0]["process"];
    i32::try_from(first["pid"].as_i64().context("nobody is ranked")?).context("no process's number")
}

/// Has `asking` take more until one of them is dead; answers who was killed first.
/// The kernel may kill again a millisecond later, before the first one's memory is
/// back, so that asking who is dead is not enough.
fn run_out(held: &[Kept], asking: &mut Kept) -> Result<i32> {
    let (began, already) = (Instant::now(), killed()?);
    // Ids come again, and the log keeps the kills of long ago.
    let before = kills::read()?.iter().map(|kill| kill.at_us).max();
    loop {
        ensure!(began.elapsed() < PATIENCE, "nobody died");
        // Whoever is killed takes time to die: asking on would kill the next.
        let asked = asking.step();
        if killed()? > already || !asked {
            let all: Vec<i32> = held.iter().chain([&*asking]).map(Kept::pid).collect();
            let kills = kills::read()?;
            let mut since = kills.iter().filter(|kill| Some(kill.at_us) > before);
            let first = since.find(|kill| all.contains(&kill.pid));
            return Ok(first.context("a child is dead and the log names none")?.pid);
        }
    }
}

/// How often the killer has killed.
fn killed() -> Result<u64> {
    let text = fs::read_to_string("/proc/vmstat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.context("no oom_kill in /proc/vmstat")?.trim().parse().context("no number of kills")
}

fn tell(what: &str, seed: u64, foreseen: i32, died: i32, held: &[Kept]) -> Result<()> {
    if foreseen == died {
        return Ok(());
    }
    let all: Vec<_> = held.iter().map(Kept::pid).collect();
    bail!("{what}, round {seed}: {foreseen} was foreseen and {died} died, of {all:?}")
}

pub(super) fn in_a_group() -> Result<Verdict> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
    let group = mount(&mountinfo).filter(|_| sys::is_root()).and_then(|mount| Group::new(&mount));
    let Some(group) = group else {
        return Ok(Verdict::Skipped("needs root and memory cgroups".into()));
    };
    let rounds = rounds(3);
    for seed in 1..=rounds {
        group.leave(1 << 30)?;
        let held = hoard(draw(seed, IN_GROUP, 70), |child| group.take(child))?;
        let mut asking = Kept::workload(&["hold", "1"])?;
        group.take(&asking)?;
        group.leave(LEFT)?;
        let foreseen = first(Some(&group.below))?;
        let died = run_out(&held, &mut asking)?;
        tell("in a cgroup", seed, foreseen, died, &held)?;
    }
    fact("oom in a cgroup", &format!("{rounds} of {rounds} foreseen"));
    Ok(Verdict::Passed)
}

/// Only a machine of our own may run out of memory.
pub(super) fn of_the_machine() -> Result<Verdict> {
    if !sys::is_guest() {
        return Ok(Verdict::Skipped("only in a guest may the machine run out of memory".into()));
    }
    if !crate::is_long() {
        return Ok(Verdict::Skipped("takes most of a minute a round: only with --long".into()));
    }
    let _reserve = Reserve::leaving(MACHINE)?;
    // The test outlives every round, and its children until they say otherwise.
    fs::write("/proc/self/oom_score_adj", "-1000")?;
    let rounds = ROUNDS;
    let played = (1..=rounds).try_for_each(machine_round);
    fs::write("/proc/self/oom_score_adj", "0")?;
    played?;
    fact("oom of the machine", &format!("{rounds} of {rounds} foreseen"));
    Ok(Verdict::Passed)
}

fn machine_round(seed: u64) -> Result<()> {
    let held = hoard(draw(seed, OF_MACHINE, 2 << 10), |_| Ok(()))?;
    // It only makes the others' memory short. Were it out of reach, as we are, a
    // machine where nobody else is left would panic.
    let mut asking = Kept::workload(&["hold", "2"])?;
    adjust(&asking, -999)?;
    let foreseen = first(None)?;
    let died = run_out(&held, &mut asking)?;
    tell("of the machine", seed, foreseen, died, &held)
}

/// The points are the kernel's own.
pub(super) fn scores() -> Result<Verdict> {
    let (yes, no) = look()?.agreed;
    fact("oom scores", &format!("{yes} agree, {no} differ"));
    // Those that differ grew or ended between two reads.
    ensure!(yes > 0 && no * 10 <= yes, "{yes} agree and {no} differ");
    Ok(Verdict::Passed)
}
