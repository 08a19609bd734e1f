//! The virtual machine: its shape, and the QEMU command that makes it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// What a guest is made of.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Machine {
    /// A clock that counts the guest's instructions, those of all CPUs together:
    /// times are repeatable whatever else the host does.
    #[arg(long)]
    pub(crate) icount: bool,
    /// How many CPUs: 2, or 1 with --icount, unless said otherwise.
    #[arg(long, value_name = "N")]
    pub(crate) smp: Option<u32>,
    /// Two NUMA nodes with half of the CPUs and of the memory each.
    #[arg(long)]
    pub(crate) numa: bool,
    /// Swap, 1 GiB of it.
    #[arg(long)]
    pub(crate) swap: bool,
    /// Memory in MiB.
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    pub(crate) memory: u32,
    /// More words for the kernel's command line.
    #[arg(long, value_name = "WORDS")]
    pub(crate) append: Option<String>,
    /// Seconds after which the guest counts as hung.
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub(crate) timeout: u64,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            icount: false,
            smp: None,
            numa: false,
            swap: false,
            memory: 2048,
            append: None,
            timeout: 600,
        }
    }
}

/// The files that a running machine reads and writes.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) image: PathBuf,
    pub(super) disk: PathBuf,
    pub(super) console: PathBuf,
    pub(super) stdout: PathBuf,
    pub(super) stderr: PathBuf,
}

impl Machine {
    fn cpus(&self) -> u32 {
        self.smp.unwrap_or(if self.icount { 1 } else { 2 })
    }

    /// The command that boots it. With `interactive`, the console is the
    /// terminal that we were started from.
    pub(super) fn command(&self, files: &Files, interactive: bool) -> Result<Command> {
        let Some(program) = process::find("qemu-system-x86_64") else {
            bail!("qemu-system-x86_64 is missing (apt-get install qemu-system-x86)");
        };
        let mut qemu = guarded(&program);
        qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        // A node is a socket: the kernel warns of one whose CPUs share a cache
        // with the other's.
        let sockets = if self.numa { ",sockets=2" } else { "" };
        qemu.args(["-cpu", "max", "-smp", &format!("{}{sockets}", self.cpus())]);
        qemu.args(["-m", &self.memory.to_string()]);
        // One host thread for all CPUs: with one each, a CPU may run a breakpoint
        // that another has replaced already, when the kernel patches its code to
        // switch a tracepoint on. No real processor does that.
        qemu.args(["-accel", "tcg,thread=single"]);
        if self.icount {
            qemu.args(["-icount", "shift=0"]);
        }
        if self.numa {
            qemu.args(self.nodes()?);
        }
        qemu.arg("-kernel").arg(&files.image).args(["-append", &self.words()]);
        // cache=unsafe: nobody reads this disk after a crash of the host.
        let disk = joined("if=none,id=disk,format=raw,cache=unsafe,file=", &files.disk);
        qemu.arg("-drive").arg(disk).args(["-device", "nvme,serial=vmtrace,drive=disk"]);
        if interactive {
            qemu.args(["-serial", "mon:stdio"]);
        } else {
            for file in [&files.console, &files.stdout, &files.stderr] {
                qemu.arg("-serial").arg(joined("file:", file));
            }
        }
        Ok(qemu)
    }

    fn nodes(&self) -> Result<Vec<String>> {
        if !self.cpus().is_multiple_of(2) {
            bail!("two NUMA nodes need an even number of CPUs (and no --icount)");
        }
        let (half, last) = (self.cpus() / 2, self.cpus() - 1);
        let size = self.memory / 2;
        let mut words = Vec::new();
        for (node, cpus) in [(0, format!("0-{}", half - 1)), (1, format!("{half}-{last}"))] {
            words.push("-object".to_owned());
            words.push(format!("memory-backend-ram,id=ram{node},size={size}M"));
            words.push("-numa".to_owned());
            words.push(format!("node,nodeid={node},cpus={cpus},memdev=ram{node}"));
        }
        Ok(words)
    }

    /// The kernel's command line. A panic ends the machine at once; an
    /// emulated CPU that the host starves is not a stall; probes that come and go
    /// do not wait for one that idles.
    fn words(&self) -> String {
        let words = "console=ttyS0 loglevel=5 root=/dev/nvme0n1p1 rootfstype=ext4 rootwait rw \
                     init=/init panic=-1 random.trust_cpu=on watchdog_thresh=60 \
                     rcupdate.rcu_cpu_stall_timeout=200 rcupdate.rcu_expedited=1";
        match &self.append {
            Some(more) => format!("{words} {more}"),
            None => words.to_owned(),
        }
    }
}

/// QEMU that ends when we do, however we end.
fn guarded(program: &Path) -> Command {
    match process::find("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// A comma in a path would end QEMU's option: it wants two.
fn joined(before: &str, path: &Path) -> OsString {
    let mut word = OsString::from(before);
    let path = path.to_string_lossy();
    word.push(if before.ends_with('=') { path.replace(',', ",,") } else { path.into_owned() });
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_cpus_and_memory_between_the_nodes() {
        let machine = Machine { numa: true, smp: Some(4), ..Machine::default() };
        let words = machine.nodes().expect("nodes").join(" ");
        assert!(words.contains("nodeid=0,cpus=0-1,"), "{words}");
        assert!(words.contains("nodeid=1,cpus=2-3,"), "{words}");
        assert!(Machine { smp: Some(1), ..Machine::default() }.nodes().is_err());
    }
}
