//! How to protect a process, as commands to copy.

use super::badness::Candidate;

/// The systemd unit that a cgroup belongs to.
pub fn unit(cgroup: &str) -> Option<&str> {
    cgroup
        .rsplit('/')
        .find(|part| matches!(part.rsplit_once('.'), Some((_, "service" | "scope"))))
        // What a shell would take apart is not offered for copying.
        .filter(|unit| {
            unit.chars().all(|sign| sign.is_ascii_alphanumeric() || "@._:-".contains(sign))
        })
}

/// Commands that protect a process, each with what it does.
pub fn protect(candidate: &Candidate) -> Vec<(String, &'static str)> {
    let pid = candidate.pid;
    let mut commands = vec![
        (
            format!("echo -500 | sudo tee /proc/{pid}/oom_score_adj"),
            "half of all memory is taken off its points, until it ends",
        ),
        (
            format!("echo -1000 | sudo tee /proc/{pid}/oom_score_adj"),
            "it is never killed; someone else is, or the machine stalls",
        ),
    ];
    if let Some(unit) = unit(&candidate.cgroup).filter(|unit| unit.ends_with(".service")) {
        commands.push((
            format!("sudo systemctl set-property --runtime {unit} MemoryLow=1G"),
            "its memory is reclaimed last",
        ));
        commands.push((
            format!(
                "sudo systemctl edit {unit}   # [Service] OOMScoreAdjust=-500, OOMPolicy=continue"
            ),
            "the same for good, and the rest of it goes on if one process is killed",
        ));
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_only_plain_ones() {
        assert_eq!(unit("/system.slice/redis.service"), Some("redis.service"));
        assert_eq!(unit("/system.slice/pg@13.service/x"), Some("pg@13.service"));
        assert_eq!(unit("/a/$(reboot).service"), None);
        assert_eq!(unit("/docker/abc"), None);
        let one =
            Candidate { pid: 7, cgroup: "/s/redis.service".to_owned(), ..Candidate::default() };
        assert!(
            protect(&one)
                .iter()
                .any(|(command, _)| command.contains("systemctl edit redis.service"))
        );
    }
}
