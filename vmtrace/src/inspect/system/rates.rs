//! What happens per second: the differences of two looks at `/proc/vmstat`.

use std::time::Duration;

use serde::Serialize;

use crate::inspect::meminfo::Numbers;

/// Events per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Over how long, in seconds.
    pub seconds: f64,
    /// Page faults.
    pub faults: f64,
    /// Those that read from a disk.
    pub major: f64,
    /// Pages read from swap.
    pub swap_in: f64,
    /// Pages written to swap.
    pub swap_out: f64,
    /// Bytes read from disks into memory.
    pub read: f64,
    /// Bytes written from memory to disks.
    pub written: f64,
    /// Pages that reclaim looked at.
    pub scanned: f64,
    /// Pages that reclaim freed.
    pub reclaimed: f64,
    /// Pages that tasks looked at themselves because they could not wait for kswapd.
    pub direct: f64,
    /// How often a task had to reclaim itself.
    pub stalls: f64,
    /// Pages that came back after they had been thrown out: anonymous.
    pub refault_anon: f64,
    /// The same of files.
    pub refault_file: f64,
    /// Huge pages at a fault.
    pub thp: f64,
    /// Faults that found no huge page.
    pub thp_fallback: f64,
    /// How often a task had to compact memory itself.
    pub compact_stalls: f64,
    /// Pages that moved between nodes.
    pub migrated: f64,
    /// Kills.
    pub kills: f64,
}

impl Rates {
    /// From two looks this far apart.
    pub fn between(before: &Numbers, now: &Numbers, apart: Duration) -> Self {
        let seconds = apart.as_secs_f64().max(1e-3);
        let sum = |keys: &[&str]| -> f64 {
            let of = |numbers: &Numbers, key: &str| numbers.get(key).copied().unwrap_or(0);
            let differences = keys.iter().map(|key| of(now, key).saturating_sub(of(before, key)));
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let sum = differences.sum::<u64>() as f64;
            sum / seconds
        };
        // Before 5.9 refaults were not told apart.
        let old = !now.contains_key("workingset_refault_file");
        let file = if old { "workingset_refault" } else { "workingset_refault_file" };
        let stalls: Vec<&str> =
            now.keys().map(String::as_str).filter(|key| key.starts_with("allocstall")).collect();
        Self {
            seconds,
            faults: sum(&["pgfault"]),
            major: sum(&["pgmajfault"]),
            swap_in: sum(&["pswpin"]),
            swap_out: sum(&["pswpout"]),
            read: sum(&["pgpgin"]) * 1024.0,
            written: sum(&["pgpgout"]) * 1024.0,
            scanned: sum(&["pgscan_kswapd", "pgscan_direct", "pgscan_khugepaged"]),
            reclaimed: sum(&["pgsteal_kswapd", "pgsteal_direct", "pgsteal_khugepaged"]),
            direct: sum(&["pgscan_direct"]),
            stalls: sum(&stalls),
            refault_anon: sum(&["workingset_refault_anon"]),
            refault_file: sum(&[file]),
            thp: sum(&["thp_fault_alloc"]),
            thp_fallback: sum(&["thp_fault_fallback"]),
            compact_stalls: sum(&["compact_stall"]),
            migrated: sum(&["numa_pages_migrated"]),
            kills: sum(&["oom_kill"]),
        }
    }

    /// Pages per second that came back after they had been thrown out.
    pub const fn refaults(&self) -> f64 {
        self.refault_anon + self.refault_file
    }
}

/// A line of a pressure file: the shares of time, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Stalled {
    /// Over the last 10 seconds.
    pub avg10: f64,
    /// Over the last minute.
    pub avg60: f64,
    /// Over the last 5 minutes.
    pub avg300: f64,
    /// In all, in microseconds.
    pub total_us: u64,
}

/// Pressure on one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// At least one task waited.
    pub some: Stalled,
    /// Every task waited.
    pub full: Option<Stalled>,
}

/// Reads a file of `/proc/pressure`.
pub fn pressure(text: &str) -> Option<Pressure> {
    let line = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let value = |key: &str| {
            line.split_ascii_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
        };
        let share = |key: &str| value(key).and_then(|text| text.parse().ok());
        Some(Stalled {
            avg10: share("avg10")?,
            avg60: share("avg60")?,
            avg300: share("avg300")?,
            total_us: value("total")?.parse().ok()?,
        })
    };
    Some(Pressure { some: line("some ")?, full: line("full ") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::meminfo::vmstat;

    fn same(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn differences_per_second() {
        let before = vmstat(
            "pgfault 100\npgpgin 8\nallocstall_normal 1\nworkingset_refault_anon 5\nworkingset_refault_file 5\n",
        );
        let now = vmstat(
            "pgfault 300\npgpgin 12\nallocstall_normal 3\nworkingset_refault_anon 25\nworkingset_refault_file 9\n",
        );
        let rates = Rates::between(&before, &now, Duration::from_secs(2));
        assert!(same(rates.faults, 100.0));
        assert!(same(rates.read, 2048.0));
        assert!(same(rates.stalls, 1.0));
        assert!(same(rates.refaults(), 12.0));
        let back = Rates::between(&now, &before, Duration::ZERO);
        assert!(same(back.faults, 0.0), "a counter that went back is no rate");
    }

    #[test]
    fn pressure_with_and_without_full() {
        let text = "some avg10=1.50 avg60=0.20 avg300=0.00 total=77\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=7\n";
        let memory = pressure(text).unwrap();
        assert!(same(memory.some.avg10, 1.5));
        assert_eq!(memory.some.total_us, 77);
        assert!(same(memory.full.unwrap().avg10, 0.5));
        assert!(
            pressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n").unwrap().full.is_none()
        );
        assert_eq!(pressure(""), None);
    }
}
