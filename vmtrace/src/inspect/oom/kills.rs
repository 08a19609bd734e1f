//! Past kills, read back from the kernel's log.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;

use serde::Serialize;

/// One kill. Amounts are bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kill {
    /// When, in microseconds since boot.
    pub at_us: u64,
    /// Who was killed.
    pub pid: i32,
    /// Its name. Hostile.
    pub comm: String,
    /// Whose it was.
    pub uid: Option<u32>,
    /// Its anonymous, file and shared resident memory.
    pub anon: u64,
    /// See `anon`.
    pub file: u64,
    /// See `anon`.
    pub shmem: u64,
    /// Its page tables.
    pub tables: u64,
    /// Its `oom_score_adj`.
    pub adj: Option<i64>,
    /// What ran out: `none` is the whole machine, `memcg` a cgroup.
    pub constraint: Option<String>,
    /// The cgroup whose limit was met. Hostile.
    pub cgroup: Option<String>,
    /// Who asked for the memory. Hostile.
    pub trigger: Option<String>,
}

/// Reads kills out of records of `/dev/kmsg`: `6,339,5140900,-;text`.
pub fn parse<'a>(records: impl Iterator<Item = &'a str>) -> Vec<Kill> {
    let mut kills = Vec::new();
    let (mut trigger, mut constraint, mut cgroup) = (None, None, None);
    for record in records {
        let Some((prefix, text)) = record.split_once(';') else { continue };
        let at_us = prefix.split(',').nth(2).and_then(|text| text.parse().ok()).unwrap_or(0);
        // What follows a newline are the record's properties.
        let text = text.lines().next().unwrap_or_default();
        if let Some((who, _)) = text.split_once(" invoked oom-killer:") {
            trigger = Some(who.to_owned());
        } else if let Some(fields) = text.strip_prefix("oom-kill:") {
            constraint = value(fields, "constraint=")
                .map(|word| word.trim_start_matches("CONSTRAINT_").to_ascii_lowercase());
            cgroup = value(fields, "oom_memcg=");
        } else if let Some((_, rest)) = text.split_once("Killed process ")
            && let Some(kill) = killed(rest)
        {
            let (trigger, constraint) = (trigger.take(), constraint.take());
            kills.push(Kill { at_us, trigger, constraint, cgroup: cgroup.take(), ..kill });
        }
    }
    kills
}

/// `123 (name) total-vm:9kB, anon-rss:8kB, …, UID:0 pgtables:40kB oom_score_adj:0`.
fn killed(text: &str) -> Option<Kill> {
    let (pid, rest) = text.split_once(" (")?;
    // A name may hold parentheses itself.
    let (comm, rest) = rest.rsplit_once(") total-vm:").or_else(|| rest.rsplit_once("), UID"))?;
    let kib = |key: &str| {
        let digits = rest.split(key).nth(1)?.split("kB").next()?;
        Some(digits.parse::<u64>().ok()? * 1024)
    };
    let plain = |key: &str| {
        let text = rest.split(key).nth(1)?;
        text.split([' ', ',']).next().map(str::to_owned)
    };
    Some(Kill {
        pid: pid.parse().ok()?,
        comm: comm.to_owned(),
        uid: plain("UID:").and_then(|text| text.parse().ok()),
        anon: kib("anon-rss:").unwrap_or(0),
        file: kib("file-rss:").unwrap_or(0),
        shmem: kib("shmem-rss:").unwrap_or(0),
        tables: kib("pgtables:").unwrap_or(0),
        adj: plain("oom_score_adj:").and_then(|text| text.parse().ok()),
        ..Kill::default()
    })
}

fn value(fields: &str, key: &str) -> Option<String> {
    fields.split(',').find_map(|field| field.strip_prefix(key)).map(str::to_owned)
}

/// Reads the kernel's log as far as it goes back.
pub fn read() -> io::Result<Vec<Kill>> {
    let mut log = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg")?;
    let mut records = Vec::new();
    let mut record = vec![0; 8192];
    loop {
        match log.read(&mut record) {
            Ok(0) => break,
            Ok(size) => {
                let text = String::from_utf8_lossy(&record[..size]).into_owned();
                if text.contains("oom-kill") || text.contains("Killed process") {
                    records.push(text);
                }
            }
            // The record was overwritten while it was being read: go on with the next.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(parse(records.iter().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_in_a_cgroup() {
        let log = [
            "4,340,5140900,-;python3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n SUBSYSTEM=x\n",
            "6,341,5140910,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/t,task_memcg=/t/a,task=eve(il),pid=77,uid=1000\n",
            "3,342,5140920,-;Memory cgroup out of memory: Killed process 77 (eve(il)) total-vm:90000kB, anon-rss:8000kB, file-rss:16kB, shmem-rss:4kB, UID:1000 pgtables:200kB oom_score_adj:-7\n",
        ];
        let kills = parse(log.into_iter());
        assert_eq!(kills.len(), 1);
        let kill = &kills[0];
        assert_eq!(
            (kill.pid, kill.comm.as_str(), kill.uid, kill.adj),
            (77, "eve(il)", Some(1000), Some(-7))
        );
        assert_eq!(
            (kill.anon, kill.file, kill.shmem, kill.tables),
            (8_192_000, 16_384, 4096, 204_800)
        );
        assert_eq!(kill.constraint.as_deref(), Some("memcg"));
        assert_eq!(kill.cgroup.as_deref(), Some("/t"));
        assert_eq!(kill.trigger.as_deref(), Some("python3"));
        assert_eq!(kill.at_us, 5_140_920);
    }

    #[test]
    fn a_kill_of_the_machine_and_noise() {
        let log = [
            "6,1,10,-;systemd[1]: started",
            "no record at all",
            "3,2,20,-;Out of memory: Killed process 9 (x) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:0",
            "3,3,30,-;Killed process nonsense",
        ];
        let kills = parse(log.into_iter());
        assert_eq!(kills.len(), 1);
        assert_eq!((kills[0].pid, &kills[0].constraint), (9, &None));
    }
}
