//! What has to be known of a session to read its records: printed at the head
//! of a report, stored at the head of a recording.

use serde::{Deserialize, Serialize};

/// The circumstances of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preface {
    /// `fentry`, `kprobe` or `tracepoint`.
    pub backend: String,
    /// What this backend could not do on this kernel, one sentence each.
    pub degradations: Vec<String>,
    /// `uname -r`.
    pub kernel: String,
    /// The host's name.
    pub host: String,
    /// What was asked for, as typed.
    pub command_line: Vec<String>,
    /// What was traced, in words: `pid 4242 (redis-server)`.
    pub target: String,
    /// The wall clock at the session's start, in nanoseconds since 1970.
    pub started_wall_ns: u64,
    /// `CLOCK_MONOTONIC` at the session's start: the records' clock.
    pub started_ns: u64,
    /// The NUMA node of each CPU, by CPU number.
    pub cpu_nodes: Vec<u32>,
    /// Where several recordings are looked at together: each one's host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}
