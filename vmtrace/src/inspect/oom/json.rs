//! Who would be killed, as JSON, schema `vmtrace.oom/1`. Points and a process's
//! amounts are pages of 4 KiB, as the kernel counts them; the rest is bytes.

use std::io::{self, Write};

use serde_json::json;

use super::look::{Arena, Standing};

/// The name of the schema.
pub const SCHEMA: &str = "vmtrace.oom/1";

/// Writes who would be killed, on one line; with `pid`, only that process.
pub fn write(out: &mut dyn Write, standing: &Standing, pid: Option<i32>) -> io::Result<()> {
    let arena = |arena: &Arena| {
        let ranked = arena.ranked.iter().enumerate();
        let ranked = ranked.filter(|(_, one)| pid.is_none_or(|pid| one.candidate.pid == pid));
        let ranked: Vec<_> =
            ranked.map(|(at, one)| json!({ "rank": at + 1, "process": one })).collect();
        json!({ "cgroup": arena.group, "total_pages": arena.total, "ranked": ranked })
    };
    let document = json!({
        "schema": SCHEMA,
        "ram": standing.ram,
        "swap": standing.swap,
        "available": standing.available,
        "swap_free": standing.swap_free,
        "kill_allocating_task": standing.settings.kill_allocating,
        "panic_on_oom": standing.settings.panic,
        "arenas": standing.arenas.iter().map(arena).collect::<Vec<_>>(),
        "never": standing.all.iter().filter(|one| one.immune.is_some()).collect::<Vec<_>>(),
        "score_agrees": standing.agreed.0,
        "score_differs": standing.agreed.1,
        "kills": standing.kills,
        "unseen": standing.unseen,
    });
    writeln!(out, "{document}")
}
