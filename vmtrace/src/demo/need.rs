//! What a scenario needs: looked for, and where root may do so without harm,
//! provided by the parent and put back when the scenario has ended, however it
//! ended.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context as _, bail, ensure};

use super::group::Group;
use super::stage::Given;
use super::sys::memory::Key;
use super::sys::userfault::Pager;
use super::sys::{PAGE, process as proc, swap};

/// Something that not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// To be root.
    Root,
    /// To have been asked for by name: it leaves something behind.
    Asked,
    /// So many CPUs.
    Cpus(usize),
    /// Two NUMA nodes.
    Nodes,
    /// NUMA balancing, which is turned on meanwhile.
    Balancing,
    /// A directory on a disk.
    Scratch,
    /// Overcommitted memory.
    Overcommit,
    /// Transparent huge pages on request.
    HugePages,
    /// So many more huge pages of 2 MiB in the hugetlb pool.
    Hugetlb(usize),
    /// A swap file on a disk, without zswap.
    SwapFile,
    /// A swap file behind zswap.
    Zswap,
    /// A compressed swap device in memory.
    Zram,
    /// A memory cgroup.
    Group,
    /// Protection keys.
    Keys,
    /// `userfaultfd`.
    Userfaultfd,
    /// `CONFIG_MEMORY_FAILURE`.
    Poison,
}

/// What puts everything back, the last thing first.
#[derive(Default)]
pub(super) struct Undo(Vec<Box<dyn FnOnce() -> anyhow::Result<()>>>);

impl Undo {
    fn push(&mut self, step: impl FnOnce() -> anyhow::Result<()> + 'static) {
        self.0.push(Box::new(step));
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        while let Some(step) = self.0.pop() {
            if let Err(error) = step() {
                // Nothing else can be done about it, and there may be nobody to read it.
                let _ = writeln!(std::io::stderr(), "vmtrace: cannot put back: {error:#}");
            }
        }
    }
}

impl Need {
    /// Provides it, or says why it is not to be had.
    pub(super) fn provide(
        self,
        asked: bool,
        given: &mut Given,
        undo: &mut Undo,
    ) -> anyhow::Result<()> {
        match self {
            Self::Root => ensure!(proc::is_root(), "needs root"),
            Self::Asked => ensure!(asked, "leaves something behind: name it to run it"),
            Self::Cpus(count) => {
                let found = proc::cpus()?.len();
                ensure!(found >= count, "needs {count} CPUs, may use {found}");
            }
            Self::Nodes => nodes()?,
            Self::Balancing => set("/proc/sys/kernel/numa_balancing", "1", undo)?,
            Self::Scratch => scratch(given, undo)?,
            Self::Overcommit => {
                let mode = read("/proc/sys/vm/overcommit_memory")?;
                ensure!(mode != "2", "vm.overcommit_memory is 2: memory is not overcommitted");
            }
            Self::HugePages => {
                let file = "/sys/kernel/mm/transparent_hugepage/enabled";
                if read(file).context("no transparent huge pages")?.contains("[never]") {
                    set_to(file, "never", "madvise", undo)?;
                }
            }
            Self::Hugetlb(pages) => hugetlb(pages, undo)?,
            Self::SwapFile => swap_file("N", given, undo)?,
            Self::Zswap => swap_file("Y", given, undo)?,
            Self::Zram => zram(undo)?,
            Self::Group => {
                ensure!(proc::is_root(), "a memory cgroup needs root");
                let group = Group::create(&format!("vmtrace-demo-{}", process::id()))?;
                given.group = Some(group.clone());
                undo.push(move || group.remove());
            }
            Self::Keys => Key::allocate().context("no protection keys")?.free()?,
            Self::Userfaultfd => drop(Pager::open().context("userfaultfd is not to be had")?),
            Self::Poison => swap::poison_supported()
                .context("cannot poison memory (CONFIG_MEMORY_FAILURE, CAP_SYS_ADMIN)")?,
        }
        Ok(())
    }
}

fn read(path: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    Ok(text.trim().to_owned())
}

/// Sets a kernel setting and remembers to put the old value back.
fn set(path: &'static str, value: &str, undo: &mut Undo) -> anyhow::Result<()> {
    let old = read(path)?;
    if old != value {
        set_to(path, &old, value, undo)?;
    }
    Ok(())
}

fn set_to(path: &'static str, old: &str, value: &str, undo: &mut Undo) -> anyhow::Result<()> {
    fs::write(path, value).with_context(|| format!("set {path} to {value} (needs root)"))?;
    let old = old.to_owned();
    undo.push(move || fs::write(path, &old).with_context(|| format!("set {path} to {old}")));
    Ok(())
}

fn nodes() -> anyhow::Result<()> {
    let memory = read("/sys/devices/system/node/has_memory").context("the kernel has no NUMA")?;
    ensure!(
        memory.contains([',', '-']),
        "needs two NUMA nodes with memory, there is only {memory}"
    );
    Ok(())
}

/// A directory of its own where files come from a disk.
///
/// `VMTRACE_DEMO_DIR` names a place to prefer.
fn scratch(given: &mut Given, undo: &mut Undo) -> anyhow::Result<()> {
    if given.scratch.is_some() {
        return Ok(());
    }
    let named = std::env::var_os("VMTRACE_DEMO_DIR").map(PathBuf::from);
    let places = ["/var/tmp", "/tmp", "/root", "/mnt", "."].map(PathBuf::from);
    for place in named.into_iter().chain(places) {
        if !swap::file_system(&place).is_ok_and(on_disk) {
            continue;
        }
        let directory = place.join(format!("vmtrace-demo-{}", process::id()));
        if fs::create_dir(&directory).is_err() {
            continue;
        }
        let gone = directory.clone();
        undo.push(move || {
            fs::remove_dir_all(&gone).with_context(|| format!("remove {}", gone.display()))
        });
        given.scratch = Some(directory.canonicalize()?);
        return Ok(());
    }
    bail!("needs a directory on a disk: name one in VMTRACE_DEMO_DIR")
}

/// Whether a file system keeps its files on a disk and its pages in the page cache.
fn on_disk(magic: i64) -> bool {
    const EXT: i64 = 0xef53;
    const XFS: i64 = 0x5846_5342;
    const BTRFS: i64 = 0x9123_683e;
    const F2FS: i64 = 0xf2f5_2010;
    [EXT, XFS, BTRFS, F2FS].contains(&magic)
}

/// Raises the number of huge pages in the pool.
fn hugetlb(pages: usize, undo: &mut Undo) -> anyhow::Result<()> {
    const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
    const FREE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
    let number = |path| -> anyhow::Result<usize> { Ok(read(path)?.parse()?) };
    let old = number(POOL).context("no hugetlb pages of 2 MiB")?;
    set_to(POOL, &old.to_string(), &(old + pages).to_string(), undo)?;
    let free = number(FREE)?;
    ensure!(free >= pages, "needs {pages} free huge pages, the kernel found {free}");
    Ok(())
}

/// Makes swap-in read one page at a time, or a count would depend on the order
/// of the slots.
///
/// <https://elixir.bootlin.com/linux/v6.12/source/mm/swap_state.c> (`swapin_nr_pages`)
fn one_at_a_time(undo: &mut Undo) -> anyhow::Result<()> {
    set("/proc/sys/vm/page-cluster", "0", undo)
}

const SWAP_PAGES: usize = 8192;

fn swap_file(zswap: &str, given: &mut Given, undo: &mut Undo) -> anyhow::Result<()> {
    const ZSWAP: &str = "/sys/module/zswap/parameters/enabled";
    ensure!(proc::is_root(), "a swap file needs root");
    scratch(given, undo)?;
    one_at_a_time(undo)?;
    if zswap == "Y" || Path::new(ZSWAP).exists() {
        set(ZSWAP, zswap, undo).context("no zswap")?;
        ensure!(read(ZSWAP)? == zswap, "zswap cannot be switched to {zswap}");
    }
    let path = given.scratch.as_ref().context("no scratch directory")?.join("swap");
    let file = File::create_new(&path).with_context(|| format!("create {}", path.display()))?;
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    // Written out in full: a swap file may have no holes.
    let zeroes = vec![0u8; 256 * PAGE];
    for _ in 0..SWAP_PAGES / 256 {
        (&file).write_all(&zeroes).with_context(|| format!("write {}", path.display()))?;
    }
    format_swap(&file, SWAP_PAGES)?;
    file.sync_all()?;
    swap::on(&path).with_context(|| format!("turn on the swap file {}", path.display()))?;
    undo.push(move || swap::off(&path).with_context(|| format!("swapoff {}", path.display())));
    Ok(())
}

/// Writes the header of a swap area.
///
/// <https://elixir.bootlin.com/linux/v6.12/source/include/linux/swap.h> (`union swap_header`)
fn format_swap(file: &File, pages: usize) -> anyhow::Result<()> {
    let last = u32::try_from(pages - 1)?;
    let mut header = vec![0u8; PAGE];
    header[1024..1028].copy_from_slice(&1u32.to_ne_bytes());
    header[1028..1032].copy_from_slice(&last.to_ne_bytes());
    header[PAGE - 10..].copy_from_slice(b"SWAPSPACE2");
    file.write_all_at(&header, 0).context("write a swap header")
}

fn zram(undo: &mut Undo) -> anyhow::Result<()> {
    const CONTROL: &str = "/sys/class/zram-control";
    ensure!(proc::is_root(), "a zram device needs root");
    one_at_a_time(undo)?;
    let id = read(&format!("{CONTROL}/hot_add")).context("no zram: is its module loaded?")?;
    let remove = id.clone();
    undo.push(move || {
        fs::write(format!("{CONTROL}/hot_remove"), &remove)
            .with_context(|| format!("remove zram{remove}"))
    });
    let size = SWAP_PAGES * PAGE;
    fs::write(format!("/sys/block/zram{id}/disksize"), size.to_string())
        .with_context(|| format!("set the size of zram{id}"))?;
    let reset = format!("/sys/block/zram{id}/reset");
    undo.push(move || fs::write(&reset, "1").with_context(|| format!("write {reset}")));
    let device = PathBuf::from(format!("/dev/zram{id}"));
    let file = File::options()
        .write(true)
        .open(&device)
        .with_context(|| format!("open {}", device.display()))?;
    format_swap(&file, SWAP_PAGES)?;
    file.sync_all()?;
    drop(file);
    swap::on(&device).with_context(|| format!("turn on swap on {}", device.display()))?;
    undo.push(move || swap::off(&device).with_context(|| format!("swapoff {}", device.display())));
    Ok(())
}
