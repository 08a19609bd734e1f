//! Reading a guest's console: how its command ended, and whether the kernel
//! complained. Pure: text in, verdict out.

/// What a kernel prints when something is wrong with it. A traced program's
/// own crash is none of these.
const COMPLAINTS: [&str; 11] = [
    "Kernel panic",
    "BUG: ",
    "Oops: ",
    "Oops[",
    "WARNING: CPU:",
    "WARNING: possible ",
    "WARNING: at ",
    "general protection fault, ",
    "self-detected stall",
    "detected stalls on CPUs",
    "blocked for more than",
];

/// How the guest's command ended, where its init said so.
pub(crate) fn exit_status(console: &str) -> Option<i32> {
    let (_, after) = console.rsplit_once("init: exit ")?;
    after.split_whitespace().next()?.parse().ok()
}

/// The first line in which the kernel complains.
pub(crate) fn complaint(console: &str) -> Option<&str> {
    let complains = |line: &&str| COMPLAINTS.iter().any(|text| line.contains(text));
    // "WARNING: CPU: …" since 6.18 has no CPU in it, but always a place.
    let warns = |line: &&str| line.contains("WARNING: ") && line.contains(" at ");
    console.lines().find(|line| complains(line) || warns(line)).map(str::trim)
}

/// The console's end, without the control codes of the firmware.
pub(crate) fn tail(console: &str, lines: usize) -> String {
    let all = console.lines().map(|line| line.replace(|c: char| c.is_control(), ""));
    let all = all.filter(|line| !line.trim().is_empty()).collect::<Vec<_>>();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_exit_status() {
        assert_eq!(exit_status("boot\ninit: exit 0\n\ninit: success\n"), Some(0));
        assert_eq!(exit_status("init: ready\r\n\r\ninit: exit 12\r\n"), Some(12));
        assert_eq!(exit_status("init: ready\n"), None);
        assert_eq!(exit_status("init: exit \n"), None);
    }

    #[test]
    fn finds_complaints_and_only_those() {
        for line in [
            "[    1.0] Kernel panic - not syncing: Attempted to kill init!",
            "[    1.0] WARNING: CPU: 0 PID: 1 at kernel/bpf/core.c:12 f+0x1/0x2",
            "[    1.0] WARNING: kernel/bpf/core.c:12 at f+0x1/0x2, CPU#0: init/1",
            "[    1.0] BUG: kernel NULL pointer dereference, address: 0000000000000008",
            "[    1.0] Oops: general protection fault, probably for non-canonical address",
            "[    9.0] rcu: INFO: rcu_preempt self-detected stall on CPU",
            "[    9.0] INFO: task vmtrace:12 blocked for more than 120 seconds.",
        ] {
            let console = format!("[    0.5] fine\n{line}\n");
            assert_eq!(complaint(&console), Some(line));
        }
        for line in [
            "[    1.0] traps: crash[70] general protection fault ip:401000 sp:7ffd error:0",
            "[    1.0] crash[71]: segfault at 0 ip 0000000000401000 sp 00007ffd error 6",
            "[    1.0] Out of memory: Killed process 80 (hog) total-vm:1024kB",
            "[    0.1] Spectre V2 : WARNING: Unprivileged eBPF is enabled",
        ] {
            assert_eq!(complaint(line), None, "{line}");
        }
    }

    #[test]
    fn the_tail_is_the_end_without_noise() {
        assert_eq!(tail("a\r\n\n\u{1b}b\nc\n", 2), "b\nc");
        assert_eq!(tail("", 5), "");
    }
}
