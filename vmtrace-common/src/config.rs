//! What user space tells the programs before they are loaded. The loader writes
//! it into their instructions: the verifier sees constants and drops the branches
//! not taken, and reading a setting costs a fault nothing.

use core::mem::size_of;

/// Not resolved: what needs this field is left out.
pub const ABSENT: u32 = u32::MAX;

/// What stands in the instructions where the loader is to write a setting.
pub mod blank {
    /// An immediate operand: this, and the setting's offset in [`Config`](super::Config).
    pub const IMMEDIATE: u32 = 0x5e77_0000;
    /// A jump of which the verifier knows where it goes: this, and the offset of a setting
    /// which, if it is not 0, is not taken.
    pub const JUMP: u32 = 0x5e79_0000;
    /// A load's offset: this, and a quarter of that. No struct of ours is so large.
    pub const LOAD: u16 = 0x7a00;
    /// The address of a map's memory: this, and where its descriptor is.
    pub const MEMORY: u32 = 0x5e78_0000;
}

/// Rings to a CPU. A program that writes faults has one of its own, so that the
/// kernel's rule that a program never runs twice at once on a CPU makes each
/// ring single-producer, and no lock or atomic instruction is needed.
pub mod lane {
    /// The end of a fault: `handle_mm_fault`'s return, or the MIN event.
    pub const END: u32 = 0;
    /// `signal:signal_generate`.
    pub const SIGNAL: u32 = 1;
    /// The exception-table fix-up.
    pub const FIXUP: u32 = 2;
    /// The MAJ event.
    pub const MAJOR: u32 = 3;
    /// A user-mode fault's start that finds the one before unfinished.
    pub const START_USER: u32 = 4;
    /// The same in kernel mode.
    pub const START_KERNEL: u32 = 5;
    /// The same for `get_user_pages`.
    pub const START_GUP: u32 = 6;
    /// A thread's exit that finds its last fault unfinished.
    pub const EXIT: u32 = 7;
    /// As [`START_GUP`], where `get_user_pages` finds a page table missing.
    pub const START_GUP_TABLE: u32 = 8;
    /// How many there are.
    pub const COUNT: u32 = 9;
}

/// How many slots the lanes but [`lane::END`] have together, for each slot of
/// that one: a ring of `n` slots comes with eight of `n / 16`.
pub const SIDE_SHIFT: u32 = 4;

/// Slots in the table of regions that were described already, of two regions each:
/// 4 MiB, so that a hundred thousand are not described again and again.
pub const KNOWN_REGIONS: u32 = 1 << 18;

/// How many slots are tried for a thread whose own is another's.
pub const CROWD_PROBES: u32 = 8;

/// The slot to try for a thread whose own, `tid & mask`, is another's: one of
/// those behind the `mask + 1` that are indexed.
#[inline(always)]
pub const fn crowd_slot(tid: u32, probe: u32, mask: u32, crowd_mask: u32) -> u32 {
    // All bits count: those that share an index differ in the upper ones only.
    let spread = tid.wrapping_mul(0x9e37_79b1) >> 13;
    mask.wrapping_add(1).wrapping_add(spread.wrapping_add(probe) & crowd_mask)
}

/// How many slots of a spill table a fault tries.
pub const SPILL_PROBES: u32 = 8;

/// Spilled faults whose region is not known fold together by this much address
/// space.
pub const SPILL_WINDOW: u64 = 2 << 20;

/// The address of spilled faults that may lie anywhere above the first 64 KiB,
/// where null pointers point.
pub const SPILL_ANYWHERE: u64 = 64 << 10;
/// The process of spilled faults of which not even that is kept apart: nobody's
/// id.
pub const SPILL_ANYBODY: u32 = 0;

/// The session's settings and the running kernel's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Config {
    /// Every thread is traced.
    pub everything: u32,
    /// Children of traced processes are traced.
    pub follow: u32,
    /// vmtrace's own process, which is never traced.
    pub own: u32,
    /// Threads that are indexed by their id, less one; a power of two less one.
    pub thread_mask: u32,
    /// Slots behind those, for threads whose own is taken, less one.
    pub crowd_mask: u32,
    /// Slots in the main ring of a CPU, less one; a power of two less one.
    pub ring_mask: u32,
    /// How many of them are used: all, or none where faults are only counted.
    pub ring_room: u32,
    /// How many are full when the reader is woken.
    pub ring_bell: u32,
    /// Slots in each side ring, less one.
    pub side_mask: u32,
    /// How many of them are used.
    pub side_room: u32,
    /// How many are full when the reader is woken.
    pub side_bell: u32,
    /// CPUs with rings: a lane's cursors lie side by side, one for each.
    pub cpus: u32,
    /// Slots in the main lane's spill table, less one.
    pub spill_mask: u32,
    /// Slots in each side lane's spill table, less one.
    pub spill_side_mask: u32,
    /// Slots of all of a CPU's spill tables.
    pub spill_stride: u32,
    /// Each TLB flush is sent, not only counted.
    pub tlb_events: u32,
    /// The current task is typed (5.11 and later).
    pub task_btf: u32,
    /// Faults are counted in the kernel and not sent.
    pub tally: u32,
    /// Faults shorter than this many nanoseconds are left out.
    pub min_latency: u64,
    /// Only faults that the kernel counts as major are sent.
    pub only_major: u32,
    /// Either of the two leaves faults out.
    pub filtered: u32,
    /// Not every fault is sent: `filtered` or `tally`.
    pub selective: u32,
    /// `bpf_task_pt_regs` is there (5.15 and later).
    pub user_regs: u32,
    /// `task_struct.mm`, where how often that was changed can be read from the current
    /// task; else [`ABSENT`].
    pub current_mm: u32,
    /// The arrays that user space maps too.
    pub threads: Shared,
    /// As `threads`.
    pub rings: Shared,
    /// As `threads`.
    pub cursors: Shared,
    /// As `threads`.
    pub spills: Shared,
    /// Where `oom:mark_victim` keeps its fields.
    pub victim: VictimFields,
    /// Where the kernel keeps things.
    pub at: Offsets,
}

const _: () = assert!(size_of::<Config>() <= 512, "what a blank can say");

/// An array in memory that user space maps too. A map of one value as large as all its
/// elements together has its address in the instructions, which then find an element
/// in four steps in place of the twelve that a look-up takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Shared {
    /// That map's descriptor; 0 where the kernel has no such map and the elements are
    /// looked up.
    pub map: u32,
    /// How many elements there are.
    pub count: u32,
}

/// Offsets in the `oom:mark_victim` event, from its tracefs format, or [`ABSENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct VictimFields {
    /// The victim.
    pub pid: u32,
    /// `__data_loc` of its name.
    pub comm: u32,
    /// kB mapped.
    pub total_vm: u32,
    /// kB resident and anonymous.
    pub anon_rss: u32,
    /// kB resident and file-backed.
    pub file_rss: u32,
    /// kB resident and shared.
    pub shmem_rss: u32,
    /// The user.
    pub uid: u32,
    /// kB of page tables.
    pub pgtables: u32,
    /// `oom_score_adj`, two bytes.
    pub oom_score_adj: u32,
}

impl VictimFields {
    /// Nothing is known.
    pub const ABSENT: Self = Self {
        pid: ABSENT,
        comm: ABSENT,
        total_vm: ABSENT,
        anon_rss: ABSENT,
        file_rss: ABSENT,
        shmem_rss: ABSENT,
        uid: ABSENT,
        pgtables: ABSENT,
        oom_score_adj: ABSENT,
    };
}

macro_rules! offsets {
    ($($(#[$doc:meta])* $field:ident: $path:literal),* $(,)?) => {
        /// Byte offsets in the running kernel's structs, or [`ABSENT`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Offsets {
            $(#[doc = concat!("`", $path, "`.")] pub $field: u32,)*
        }

        impl Offsets {
            /// Nothing is known.
            pub const ABSENT: Self = Self { $($field: ABSENT,)* };

            /// The fields by the kernel's names, in order: what user space looks
            /// up in the kernel's type information.
            pub const PATHS: &[&str] = &[$($path,)*];

            /// Sets the field whose place in [`PATHS`](Self::PATHS) is `index`.
            pub fn set(&mut self, index: usize, offset: u32) {
                let fields: &mut [&mut u32] = &mut [$(&mut self.$field,)*];
                if let Some(field) = fields.get_mut(index) {
                    **field = offset;
                }
            }
        }
    };
}

offsets! {
    vma_start: "vm_area_struct.vm_start",
    vma_end: "vm_area_struct.vm_end",
    vma_flags: "vm_area_struct.vm_flags",
    vma_offset: "vm_area_struct.vm_pgoff",
    vma_file: "vm_area_struct.vm_file",
    vma_ops: "vm_area_struct.vm_ops",
    vma_mm: "vm_area_struct.vm_mm",
    vma_anon_name: "vm_area_struct.anon_name",
    anon_name_text: "anon_vma_name.name",
    mm_change: "mm_struct.mm_lock_seq",
    mm_start_brk: "mm_struct.start_brk",
    mm_brk: "mm_struct.brk",
    mm_start_stack: "mm_struct.start_stack",
    mm_env_end: "mm_struct.env_end",
    task_mm: "task_struct.mm",
    mm_vdso: "mm_struct.context.vdso",
    file_inode: "file.f_inode",
    file_path: "file.f_path",
    path_mnt: "path.mnt",
    path_dentry: "path.dentry",
    mount_id: "mount.mnt_id",
    mount_vfs: "mount.mnt",
    vfsmount_root: "vfsmount.mnt_root",
    dentry_parent: "dentry.d_parent",
    dentry_name: "dentry.d_name.name",
    inode_number: "inode.i_ino",
    inode_generation: "inode.i_generation",
    inode_links: "inode.i_nlink",
    inode_super: "inode.i_sb",
    inode_mode: "inode.i_mode",
    super_device: "super_block.s_dev",
    super_magic: "super_block.s_magic",
    task_pid: "task_struct.pid",
    task_tgid: "task_struct.tgid",
    task_comm: "task_struct.comm",
    task_min_flt: "task_struct.min_flt",
    task_maj_flt: "task_struct.maj_flt",
    task_pagefault_disabled: "task_struct.pagefault_disabled",
    task_trap: "task_struct.thread.trap_nr",
    task_cgroups: "task_struct.cgroups",
    task_stack: "task_struct.stack",
    css_set_cgroup: "css_set.dfl_cgrp",
    cgroup_node: "cgroup.kn",
    node_id: "kernfs_node.id",
    regs_ip: "pt_regs.ip",
    fault_orig_pte: "vm_fault.orig_pte",
    fault_pte: "vm_fault.pte",
    fault_vma: "vm_fault.vma",
    binprm_filename: "linux_binprm.filename",
    oom_memcg: "oom_control.memcg",
    oom_gfp: "oom_control.gfp_mask",
    oom_order: "oom_control.order",
    oom_total_pages: "oom_control.totalpages",
    oom_chosen: "oom_control.chosen",
    oom_chosen_points: "oom_control.chosen_points",
    oom_constraint: "oom_control.constraint",
    memcg_css: "mem_cgroup.css",
    css_cgroup: "cgroup_subsys_state.cgroup",
}
