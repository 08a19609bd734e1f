//! The region a fault touched: its nature for the fault's evidence, and its
//! description for user space the first time it is met in this form.

use core::{arch::asm, hint::cold_path};

use vmtrace_common::{
    config::{ABSENT, KNOWN_REGIONS},
    evidence::nature,
    record::{PATH, Region, name, tag},
    thread::Thread,
};

use crate::{
    config::{at, config, place, read},
    emit,
    kernel::{Direct, Read, probe, text},
    maps::KNOWN,
    target::{Current, Ids},
};

/// `vm_flags`, stable over every kernel vmtrace runs on.
///
/// <https://elixir.bootlin.com/linux/v6.12/source/include/linux/mm.h>
mod vm {
    pub(super) const SHARED: u64 = 0x8;
    pub(super) const GROWSDOWN: u64 = 0x100;
    pub(super) const UFFD_MISSING: u64 = 0x200;
    pub(super) const PFNMAP: u64 = 0x400;
    pub(super) const UFFD_WP: u64 = 0x1000;
    pub(super) const LOCKED: u64 = 0x2000;
    pub(super) const IO: u64 = 0x4000;
    pub(super) const HUGETLB: u64 = 0x40_0000;
    pub(super) const MIXEDMAP: u64 = 0x1000_0000;
}

/// tmpfs and every other use of shmem.
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// How many directories a path is followed through. Twice as many take the
/// verifier of 5.10 minutes.
const LEVELS: usize = 12;
/// The longest file name, with its zero.
const NAME: u32 = 256;

/// What [`look_at`] finds.
struct Seen {
    start: u64,
    nature: u16,
    /// User space has its description.
    told: bool,
}

/// How often the current thread's address space was changed.
///
/// Every change of a region happens under the lock of its address space, and the
/// kernel counts how often that was taken to change something (6.4 and later, for
/// locks of single regions). No region changes between its look-up for a fault and
/// that fault's end, so an equal count means an equal region.
#[inline(always)]
fn change(task: Current) -> u32 {
    // A load from nowhere is 0: no address need be looked at first.
    read!(Direct: u32, Direct::u64::<{ place!(current_mm) }>(task), mm_change)
}

/// Notes the region that the thread's fault touched, which it is already if it is the
/// one that its last fault touched, in the same form. `own` says that it lies in the
/// thread's own address space, whose regions alone are remembered.
///
/// The caller holds the region's lock: before `handle_mm_fault`, or after it
/// where it returned neither RETRY nor COMPLETED. `now` tells a time no later than
/// the fault's end: a description comes before what it describes.
#[inline(always)]
pub(crate) fn touch<R: Read>(
    task: Current,
    thread: &mut Thread,
    now: impl FnOnce() -> u64,
    vma: u64,
    own: impl FnOnce(&Thread) -> bool,
) {
    if thread.last_vma != vma || thread.last_change != change(task) {
        cold_path();
        let seen = look_at::<R>(thread, now, vma);
        let remember = seen.told && is_remembered() && own(thread);
        thread.last_vma = if remember { vma } else { 0 };
        thread.region = seen.start;
        thread.nature = seen.nature;
        if remember {
            thread.last_change = change(task);
        }
    }
}

/// Whether regions are remembered from fault to fault.
#[inline(always)]
pub(crate) fn is_remembered() -> bool {
    config!(current_mm) != ABSENT
}

/// Whether a region is shared memory or a shared file.
#[inline(always)]
pub(crate) fn is_shared<R: Read>(vma: u64) -> bool {
    read!(R: u64, vma, vma_flags) & vm::SHARED != 0
}

/// Reads the region at `vma`, and describes it if it is new in this form.
#[inline(always)]
fn look_at<R: Read>(thread: &Thread, now: impl FnOnce() -> u64, vma: u64) -> Seen {
    let start = read!(R: u64, vma, vma_start);
    let end = read!(R: u64, vma, vma_end);
    let flags = read!(R: u64, vma, vma_flags);
    let file = read!(R: u64, vma, vma_file);
    let mut nature = permissions(flags);
    let mut identity = 0;
    if flags & vm::HUGETLB != 0 {
        nature |= nature::HUGETLB;
    } else if flags & (vm::PFNMAP | vm::MIXEDMAP | vm::IO) != 0 {
        nature |= nature::DEVICE;
    } else if read!(R: u64, vma, vma_ops) == 0 {
        // Anonymous, /dev/zero mapped privately included. A name given with
        // prctl makes it another region.
        // (The verifier lets no pointer into arithmetic: the helper's is a number.)
        if file == 0 && read!(R: u64, vma, vma_anon_name) != 0 {
            identity = probe(vma, at!(vma_anon_name));
        }
    } else if file == 0 {
        nature |= nature::FILE;
    } else {
        let inode = read!(R: u64, file, file_inode);
        let superblock = read!(R: u64, inode, inode_super);
        let shmem = read!(R: u64, superblock, super_magic) == TMPFS_MAGIC;
        nature |= if shmem { nature::SHMEM } else { nature::FILE };
        // A file's number comes again when files are made and removed in a row;
        // its generation does not.
        identity = read!(R: u64, inode, inode_number) << 20
            ^ u64::from(read!(R: u32, inode, inode_generation))
            ^ u64::from(read!(R: u32, superblock, super_device)) << 40;
    }
    let signature =
        mix(start ^ end.rotate_left(20), u64::from(thread.pid) << 32 | u64::from(thread.space))
            ^ mix(identity, u64::from(nature));
    let mut told = false;
    if let Some(known) = KNOWN.get_ptr_mut((signature >> 40) as u32 & (KNOWN_REGIONS - 1)) {
        // SAFETY: whole-word accesses; a race costs a second description.
        unsafe {
            let [first, second] = *known;
            told = first == signature || second == signature;
            if !told && describe(Ids::of(thread), now(), vma, nature) {
                *known = [signature, first];
            }
        }
    }
    Seen { start, nature, told }
}

#[inline(always)]
fn permissions(flags: u64) -> u16 {
    let bits = (flags & 0x7) << 5
        | (flags & vm::SHARED) << 1
        | (flags & vm::GROWSDOWN)
        | (flags & vm::LOCKED) >> 4;
    let mut nature = nature::KNOWN | bits as u16;
    if flags & (vm::UFFD_MISSING | vm::UFFD_WP) != 0 {
        nature |= nature::USERFAULTFD;
    }
    nature
}

#[inline(always)]
fn mix(a: u64, b: u64) -> u64 {
    (a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// Sends a region's description. False where its ring had no room.
///
/// Inlined, as is everything else: in a program that calls functions, the
/// verifier of 5.10 takes every number for one that matters, and a loop like
/// [`describe_path`]'s for one without end.
#[inline(always)]
fn describe(ids: Ids, now: u64, vma: u64, nature: u16) -> bool {
    let start: u64 = probe(vma, at!(vma_start));
    let end: u64 = probe(vma, at!(vma_end));
    let file: u64 = probe(vma, at!(vma_file));
    let Some(mut entry) = emit::reserve::<Region>() else {
        return false;
    };
    let region = entry.as_mut_ptr();
    // SAFETY: the ring lent us room for one Region.
    unsafe {
        (*region).header = emit::header::<Region>(tag::REGION, ids, now);
        (*region).start = start;
        (*region).end = end;
        (*region).offset = probe::<u64>(vma, at!(vma_offset)) << 12;
        (*region).inode = 0;
        (*region).device = 0;
        (*region).nature = nature;
        (*region).naming = name::NONE;
        (*region).components = 0;
        (*region).mount = 0;
        (*region).reserved = 0;
        (*region).special = special(vma, start, end);
        (*region).name_len = 0;
        if file != 0 {
            describe_file(region, file);
        } else if nature & (nature::FILE | nature::DEVICE) == 0 {
            describe_anonymous(region, vma);
        }
    }
    emit::submit(entry);
    true
}

/// `[heap]`, `[stack]` and `[vdso]`, as `/proc/PID/maps` tells them.
///
/// <https://elixir.bootlin.com/linux/v6.12/source/fs/proc/task_mmu.c#L180>
#[inline(always)]
fn special(vma: u64, start: u64, end: u64) -> u32 {
    let mm: u64 = probe(vma, at!(vma_mm));
    let heap: u64 = probe(mm, at!(mm_start_brk));
    let brk: u64 = probe(mm, at!(mm_brk));
    let stack: u64 = probe(mm, at!(mm_start_stack));
    let vdso: u64 = probe(mm, at!(mm_vdso));
    if vdso != 0 && start == vdso {
        name::VDSO
    } else if start < brk && end > heap {
        name::HEAP
    } else if start <= stack && end >= stack {
        name::STACK
    } else {
        name::PLAIN
    }
}

/// # Safety
///
/// `region` must be a whole record of the ring's.
#[inline(always)]
unsafe fn describe_anonymous(region: *mut Region, vma: u64) {
    let given: u64 = probe(vma, at!(vma_anon_name));
    if given == 0 || at!(anon_name_text) == ABSENT {
        return;
    }
    // SAFETY: NAME bytes fit in PATH.
    unsafe {
        let len =
            text((&raw mut (*region).name).cast(), NAME, given + u64::from(at!(anon_name_text)));
        if len > 1 {
            (*region).naming = name::ANONYMOUS;
            (*region).name_len = len - 1;
        }
    }
}

/// # Safety
///
/// `region` must be a whole record of the ring's.
#[inline(always)]
unsafe fn describe_file(region: *mut Region, file: u64) {
    let inode: u64 = probe(file, at!(file_inode));
    let superblock: u64 = probe(inode, at!(inode_super));
    // SAFETY: the caller vouches for `region`.
    unsafe {
        (*region).inode = probe(inode, at!(inode_number));
        (*region).device = probe(superblock, at!(super_device));
        if probe::<u32>(inode, at!(inode_links)) == 0 {
            (*region).special |= name::DELETED;
        }
        describe_path(region, file);
    }
}

/// `value & (NAME - 1)`, which changes nothing, in a way that the compiler cannot
/// drop and that the verifier of any kernel takes for a bound.
#[inline(always)]
fn masked(value: u32) -> usize {
    let mut value = value as usize;
    // SAFETY: arithmetic on a register.
    unsafe { asm!("{0} &= 0xff", inout(reg) value) };
    value
}

const _: () = assert!(NAME == 0x100 && PATH as u32 >= 2 * NAME);

/// Writes the path's components from the leaf up to the mount's root, and the
/// mount's id, by which user space finds where it is mounted.
///
/// # Safety
///
/// `region` must be a whole record of the ring's.
#[inline(always)]
unsafe fn describe_path(region: *mut Region, file: u64) {
    if at!(file_path) == ABSENT || at!(mount_vfs) == ABSENT {
        return;
    }
    let path = file + u64::from(at!(file_path));
    let mount: u64 = probe(path, at!(path_mnt));
    let root: u64 = probe(mount, at!(vfsmount_root));
    let mut dentry: u64 = probe(path, at!(path_dentry));
    let mut used: u32 = 0;
    let mut components: u8 = 0;
    let mut naming = name::TRUNCATED;
    for _ in 0..LEVELS {
        let parent: u64 = probe(dentry, at!(dentry_parent));
        // A memfd, a System V segment: files without a directory. Theirs is a
        // root that is not the mount's, and has the name.
        let alone = parent == dentry && components == 0;
        if dentry == root || (parent == dentry && !alone) || parent == 0 {
            naming = name::COMPONENTS;
            break;
        }
        if used >= NAME {
            break;
        }
        // SAFETY: `used + NAME` is less than PATH.
        let len = unsafe {
            text(
                (&raw mut (*region).name).cast::<u8>().add(masked(used)),
                NAME,
                probe(dentry, at!(dentry_name)),
            )
        };
        if len > NAME {
            break;
        }
        used += len;
        components += 1;
        if alone {
            naming = name::COMPONENTS;
            break;
        }
        dentry = parent;
    }
    // SAFETY: the caller vouches for `region`.
    unsafe {
        (*region).naming = naming;
        (*region).mount = probe(mount - u64::from(at!(mount_vfs)), at!(mount_id));
        (*region).components = components;
        (*region).name_len = used;
    }
}
