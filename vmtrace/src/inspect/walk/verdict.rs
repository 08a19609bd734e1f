//! Would touching an address fault now, and as which kind? A pure answer from
//! what is known of the region and the page; where that does not decide, the
//! kinds it may be are all named.

use serde::Serialize;

use super::absent::{Absent, Special};
use super::page::{Mapped, Page};
use crate::inspect::maps::region::{Part, Region};

/// What touches the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
}

/// What would happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The access that was asked about.
    pub access: Access,
    /// It faults; `None` where that cannot be told from here.
    pub faults: Option<bool>,
    /// As which kind; several where the page does not decide it.
    pub kinds: Vec<&'static str>,
    /// Why.
    pub why: &'static str,
}

impl Verdict {
    fn fault(access: Access, kinds: &[&'static str], why: &'static str) -> Self {
        Self { access, faults: Some(true), kinds: kinds.to_vec(), why }
    }

    const fn free(access: Access, why: &'static str) -> Self {
        Self { access, faults: Some(false), kinds: Vec::new(), why }
    }

    fn maybe(access: Access, kinds: &[&'static str], why: &'static str) -> Self {
        Self { access, faults: None, kinds: kinds.to_vec(), why }
    }
}

/// What memory a region is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backing {
    Anon,
    File,
    Shmem,
    Hugetlb,
    Kernel,
}

fn backing(region: &Region) -> Backing {
    if region.flags.has("ht") || region.page_size > 4096 {
        Backing::Hugetlb
    } else if region.part == Part::Kernel || region.flags.has("pf") || region.flags.has("io") {
        Backing::Kernel
    } else if region.part == Part::Shared || region.perm.shared() && region.inode == 0 {
        Backing::Shmem
    } else if region.inode == 0 {
        Backing::Anon
    } else {
        Backing::File
    }
}

/// Where an address is, as far as it matters to a fault there.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// In a region.
    Region(&'a Region),
    /// In none; whether a stack above would grow to it.
    Nowhere {
        /// The address.
        address: u64,
        /// The stack above may grow down to it.
        stack_grows: bool,
        /// It is within the guard below a stack.
        stack_guard: bool,
    },
    /// In the kernel's half.
    Kernel,
    /// In neither half.
    NonCanonical,
}

/// How huge pages stand at an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Huge {
    /// The setting and the region allow one, and the 2 MiB around lie in the region
    /// with nothing in them yet.
    pub anon: bool,
}

/// Judges an access.
pub fn judge(access: Access, place: Place<'_>, page: &Page, huge: Huge) -> Verdict {
    let region = match place {
        Place::NonCanonical => {
            let why =
                "no address the processor takes: a general protection fault, not a page fault";
            return Verdict::fault(access, &["non-canonical"], why);
        }
        Place::Kernel => {
            return Verdict::fault(
                access,
                &["unmapped"],
                "the kernel's half is closed to processes",
            );
        }
        Place::Nowhere { address, stack_grows, stack_guard } => {
            return nowhere(access, address, stack_grows, stack_guard);
        }
        Place::Region(region) => region,
    };
    let allowed = match access {
        Access::Read => region.perm.read() || region.perm.write() || region.perm.exec(),
        Access::Write => region.perm.write(),
    };
    if !allowed {
        return Verdict::fault(access, &["protection"], "the region's permissions forbid it");
    }
    match page {
        Page::Absent(absent) => not_there(access, region, *absent, huge),
        Page::Mapped(mapped) => there(access, region, mapped),
        Page::Unknown => Verdict::maybe(access, &[], "nothing is known of the page"),
    }
}

fn nowhere(access: Access, address: u64, grows: bool, guard: bool) -> Verdict {
    if address < 64 << 10 {
        Verdict::fault(access, &["null"], "nothing is mapped below 64 KiB")
    } else if grows {
        let kind = if access == Access::Write { "anon-zero" } else { "anon-read" };
        Verdict::fault(access, &[kind], "the stack above would grow down to it")
    } else if guard {
        Verdict::fault(access, &["stack-overflow"], "the stack above may not grow this far")
    } else {
        Verdict::fault(access, &["unmapped"], "no region holds it")
    }
}

fn not_there(access: Access, region: &Region, absent: Absent, huge: Huge) -> Verdict {
    match absent {
        Absent::Swap { .. } if backing(region) == Backing::Shmem && region.perm.shared() => {
            Verdict::fault(
                access,
                &["shmem-swap-in", "shmem"],
                "swapped out; shmem if still in memory",
            )
        }
        Absent::Swap { .. } => Verdict::fault(
            access,
            &["swap-in", "swap-cache"],
            "swapped out; swap-cache if a copy is still in memory",
        ),
        Absent::Special { special, .. } => {
            let (kind, why) = match special {
                Special::Hwpoison => ("hwpoison", "the memory behind it is broken"),
                Special::SwapinError | Special::Marker => {
                    ("hwpoison", "it could not be read back from swap")
                }
                Special::MigrationRead
                | Special::MigrationReadExclusive
                | Special::MigrationWrite => {
                    ("migration", "the page is being moved: it would wait")
                }
                Special::Device => ("device", "the page lives in a device's memory"),
                Special::DeviceExclusive => ("device", "a device holds the page for itself"),
            };
            Verdict::fault(access, &[kind], why)
        }
        Absent::Marker { guard: true, .. } => {
            Verdict::fault(access, &["unmapped"], "a guard page: touching it is SIGSEGV")
        }
        Absent::Marker { poisoned: true, .. } => {
            Verdict::fault(access, &["hwpoison"], "marked as broken memory")
        }
        Absent::Marker { .. } if access == Access::Write => {
            Verdict::fault(access, &["userfault"], "a userfaultfd waits for writes")
        }
        Absent::Empty | Absent::Marker { .. } => untouched(access, region, huge),
        Absent::Unknown { .. } => Verdict::fault(
            access,
            &["migration", "device", "hwpoison"],
            "a special entry, and this kernel does not say which",
        ),
    }
}

/// Nothing was ever there, or it was dropped.
fn untouched(access: Access, region: &Region, huge: Huge) -> Verdict {
    if region.flags.has("um") {
        return Verdict::fault(access, &["userfault"], "a userfaultfd waits for missing pages");
    }
    let write = access == Access::Write;
    let private = !region.perm.shared();
    let fault = |kinds: &[&'static str], why| Verdict::fault(access, kinds, why);
    match backing(region) {
        Backing::Anon if huge.anon && write => {
            fault(&["thp"], "never touched; a huge page if one is free")
        }
        Backing::Anon if huge.anon => fault(&["thp-zero"], "never touched: the huge zero page"),
        Backing::Anon if write => fault(&["anon-zero"], "never touched: a fresh zeroed page"),
        Backing::Anon => fault(&["anon-read"], "never touched: the shared zero page"),
        Backing::Hugetlb => fault(&["hugetlb", "hugetlb-major"], "from the pool of huge pages"),
        Backing::Shmem if write && private => {
            fault(&["cow-file"], "a private copy is made at once")
        }
        Backing::Shmem => {
            fault(&["shmem", "shmem-swap-in"], "from shared memory; swap-in if it was swapped")
        }
        Backing::File if write && private => {
            fault(&["cow-file", "file-read"], "a private copy at once; file-read if not cached")
        }
        Backing::File if write => {
            fault(&["file-mkwrite", "file-read"], "the file's page; file-read if not cached")
        }
        Backing::File => {
            fault(&["file-map", "file-read"], "the file's page; file-read if not cached")
        }
        Backing::Kernel => {
            Verdict::maybe(access, &["device"], "what the kernel or a driver put there")
        }
    }
}

fn there(access: Access, region: &Region, page: &Mapped) -> Verdict {
    if page.accessible == Some(false) {
        return Verdict::fault(access, &["numa-hint"], "locked away to see which node uses it");
    }
    if access == Access::Read {
        return Verdict::free(access, "it is there");
    }
    if page.uffd_wp == Some(true) {
        return Verdict::fault(access, &["userfault"], "a userfaultfd waits for writes");
    }
    match page.writable {
        Some(true) => Verdict::free(access, "it is there and writable"),
        Some(false) => Verdict { faults: Some(true), ..write_protected(access, region, page) },
        None if page.zero == Some(true) => write_protected(access, region, page),
        None => match backing(region) {
            // Without the entry, a private page of someone else's is the one sure case.
            Backing::Anon | Backing::File | Backing::Shmem
                if !region.perm.shared()
                    && (page.file == Some(true) || page.exclusive == Some(false)) =>
            {
                write_protected(access, region, page)
            }
            Backing::Anon | Backing::File | Backing::Shmem | Backing::Hugetlb | Backing::Kernel => {
                let if_so = write_protected(access, region, page);
                let why = "there; it faults only if its entry is write-protected, which the page map hides";
                Verdict { faults: None, why, ..if_so }
            }
        },
    }
}

/// The page is there, and the region may be written, but the entry may not.
fn write_protected(access: Access, region: &Region, page: &Mapped) -> Verdict {
    let fault = |kinds: &[&'static str], why| Verdict::fault(access, kinds, why);
    let huge = page.size.is_some_and(|size| size > 4096);
    if region.perm.shared() {
        return match backing(region) {
            Backing::Hugetlb => fault(&["hugetlb"], "a shared huge page, first write"),
            Backing::Anon | Backing::File | Backing::Shmem | Backing::Kernel => fault(
                &["file-mkwrite"],
                "a clean shared page: its file is told before the first write",
            ),
        };
    }
    if page.zero == Some(true) {
        let kind = if huge { "cow-thp" } else { "cow-zero" };
        return fault(&[kind], "it is the zero page: a fresh page takes its place");
    }
    match (backing(region), page.exclusive) {
        (Backing::Hugetlb, _) => fault(&["cow-hugetlb"], "a shared huge page is copied"),
        _ if huge => fault(&["cow-thp"], "a shared huge page is copied or split"),
        _ if page.file == Some(true) => fault(&["cow-copy"], "the file's page is copied"),
        (_, Some(true)) => fault(&["cow-reuse"], "the last owner gets its write permission back"),
        (_, Some(false)) => fault(&["cow-copy"], "shared with another process: it is copied"),
        (_, None) => fault(&["cow-copy", "cow-reuse"], "copied if shared, else reused"),
    }
}

#[cfg(test)]
#[path = "verdict/tests.rs"]
mod tests;
