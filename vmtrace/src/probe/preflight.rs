//! Can this machine and this user trace at all? Each way in which they cannot is
//! one sentence that says what was tried, what is missing and what to do.

use std::fmt;
use std::fs;
use std::path::Path;

use super::btf;

/// What stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Not x86-64.
    Machine(String),
    /// A kernel older than 5.8.
    Kernel(String),
    /// Not root and without the capabilities, which are named.
    Capabilities(Vec<&'static str>),
    /// The kernel shows no type information.
    NoBtf,
    /// The kernel is locked down against reading its memory.
    Lockdown,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(machine) => {
                write!(f, "this machine is {machine}: vmtrace reads the page faults of x86-64 only")
            }
            Self::Kernel(release) => write!(
                f,
                "this kernel is {release}: vmtrace needs 5.8 or later, which has BPF ring buffers"
            ),
            Self::Capabilities(missing) => write!(
                f,
                "not permitted to load BPF programs: {} missing; run it as root (sudo vmtrace …), \
                 or give it the capabilities: sudo setcap cap_bpf,cap_perfmon,cap_sys_resource,cap_dac_read_search,cap_sys_ptrace+ep $(which vmtrace)",
                missing.join(" and "),
            ),
            Self::NoBtf => write!(
                f,
                "the kernel shows no type information: {} is not there; \
                 a kernel built with CONFIG_DEBUG_INFO_BTF=y has it, as those of all large distributions do",
                btf::VMLINUX
            ),
            Self::Lockdown => f.write_str(
                "the kernel is locked down for confidentiality (/sys/kernel/security/lockdown), \
                 which forbids BPF programs to read kernel memory; boot with lockdown=integrity or none",
            ),
        }
    }
}

impl std::error::Error for Obstacle {}

/// What the checks look at.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// `uname -m`.
    pub machine: String,
    /// `uname -r`.
    pub release: String,
    /// The effective capabilities, as in `/proc/self/status`.
    pub capabilities: u64,
    /// Whether type information is there.
    pub btf: bool,
    /// `/sys/kernel/security/lockdown`, if it could be read.
    pub lockdown: String,
}

impl Circumstances {
    /// This machine's and this process's.
    pub fn here() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let capabilities = status
            .lines()
            .find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
        Self {
            machine: std::env::consts::ARCH.to_owned(),
            release: release(),
            capabilities: capabilities.unwrap_or(0),
            btf: Path::new(btf::VMLINUX).exists(),
            lockdown: fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default(),
        }
    }

    /// The first thing that stands in the way, if anything does.
    pub fn obstacle(&self) -> Option<Obstacle> {
        if self.machine != "x86_64" {
            return Some(Obstacle::Machine(self.machine.clone()));
        }
        if version(&self.release) < (5, 8) {
            return Some(Obstacle::Kernel(self.release.clone()));
        }
        let missing = self.missing_capabilities();
        if !missing.is_empty() {
            return Some(Obstacle::Capabilities(missing));
        }
        if !self.btf {
            return Some(Obstacle::NoBtf);
        }
        if self.lockdown.contains("[confidentiality]") {
            return Some(Obstacle::Lockdown);
        }
        None
    }

    /// `CAP_SYS_ADMIN` has always been enough; from 5.8 on `CAP_BPF` and
    /// `CAP_PERFMON` together are.
    fn missing_capabilities(&self) -> Vec<&'static str> {
        const SYS_ADMIN: u64 = 1 << 21;
        const PERFMON: u64 = 1 << 38;
        const BPF: u64 = 1 << 39;
        if self.capabilities & SYS_ADMIN != 0 {
            return Vec::new();
        }
        [(BPF, "CAP_BPF"), (PERFMON, "CAP_PERFMON")]
            .into_iter()
            .filter(|(bit, _)| self.capabilities & bit == 0)
            .map(|(_, name)| name)
            .collect()
    }
}

/// The running kernel's release.
pub fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// Major and minor number of a release; (0, 0) where there is none to read.
pub fn version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Circumstances {
        Circumstances {
            machine: "x86_64".to_owned(),
            release: "6.12.8-amd64".to_owned(),
            capabilities: u64::MAX,
            btf: true,
            lockdown: "[none] integrity confidentiality\n".to_owned(),
        }
    }

    #[test]
    fn nothing_stands_in_the_way_of_root() {
        assert_eq!(good().obstacle(), None);
        let only_two = Circumstances { capabilities: 3 << 38, ..good() };
        assert_eq!(only_two.obstacle(), None);
    }

    #[test]
    fn each_obstacle_is_named() {
        let cases = [
            (Circumstances { machine: "aarch64".to_owned(), ..good() }, "aarch64"),
            (Circumstances { release: "5.4.0".to_owned(), ..good() }, "5.8 or later"),
            (Circumstances { capabilities: 0, ..good() }, "CAP_BPF and CAP_PERFMON missing"),
            (Circumstances { capabilities: 1 << 39, ..good() }, "CAP_PERFMON missing"),
            (Circumstances { btf: false, ..good() }, "CONFIG_DEBUG_INFO_BTF"),
            (
                Circumstances { lockdown: "none integrity [confidentiality]".to_owned(), ..good() },
                "locked down",
            ),
        ];
        for (circumstances, expected) in cases {
            let text = circumstances.obstacle().map(|o| o.to_string()).unwrap_or_default();
            assert!(text.contains(expected), "{text:?} does not say {expected:?}");
        }
    }

    #[test]
    fn versions_are_read_as_numbers() {
        assert_eq!(version("6.12.8-amd64"), (6, 12));
        assert_eq!(version("7.3-rc7-cloud-amd64"), (7, 3));
        assert!(version("5.10.0") > version("5.8.18"));
        assert_eq!(version(""), (0, 0));
    }
}
