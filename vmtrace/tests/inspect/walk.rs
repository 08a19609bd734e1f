//! Pages whose state the test made itself are named right.

use std::io::Write as _;

use vmtrace::inspect::pagemap::Entry;
use vmtrace::inspect::subject::Subject;
use vmtrace::inspect::walk::absent::Absent;
use vmtrace::inspect::walk::entry::{NoTables, Tables};
use vmtrace::inspect::walk::kernel::KernelTables;
use vmtrace::inspect::walk::look::{Walk, look};
use vmtrace::inspect::walk::page::{Mapped, Page};

use crate::memory::{Mapping, forked, is_root};

const PAGE: usize = 4096;
const HUGE: usize = 2 << 20;

fn own() -> Subject {
    Subject::open(i32::try_from(std::process::id()).unwrap()).unwrap()
}

fn walk(tables: &dyn Tables, address: u64) -> Walk {
    let walk = look(&own(), tables, address);
    agree(&walk);
    walk
}

/// What the tables say is what the page map says.
fn agree(walk: &Walk) {
    let (Some(_), Some(word)) = (&walk.entries, walk.pagemap) else { return };
    let from_map = Page::of_pagemap(word, &walk.types);
    match (walk.page, from_map) {
        (Page::Mapped(tables), Page::Mapped(map)) => {
            // Below a huge entry, the page map counts on to the page itself.
            let inside = tables.size.unwrap_or(4096) / 4096;
            let (Some(first), Some(frame)) = (tables.frame, map.frame) else { return };
            assert!((first..first + inside).contains(&frame), "{first:#x} {frame:#x}");
        }
        (tables, map) => assert_eq!(tables, map),
    }
}

fn mapped(walk: &Walk) -> Mapped {
    match walk.page {
        Page::Mapped(mapped) => mapped,
        other @ (Page::Absent(_) | Page::Unknown) => panic!("{other:?}"),
    }
}

fn would(walk: &Walk) -> [(Option<bool>, &[&'static str]); 2] {
    [0, 1].map(|at| (walk.verdicts[at].faults, &*walk.verdicts[at].kinds))
}

const NONE: &[&str] = &[];

/// Every state that needs no privilege; a guest calls it with the eBPF tables.
pub(crate) fn states(tables: &dyn Tables) {
    let memory = Mapping::anonymous(4 * PAGE);
    assert!(memory.advise(libc::MADV_NOHUGEPAGE) || cfg!(not(target_os = "linux")));
    memory.write(0);
    let written = walk(tables, memory.at(0));
    assert_eq!(mapped(&written).file, Some(false));
    assert_eq!(would(&written)[0], (Some(false), NONE));
    assert_ne!(written.verdicts[1].faults, Some(true), "it was just written");

    let untouched = walk(tables, memory.at(PAGE));
    assert_eq!(untouched.page, Page::Absent(Absent::Empty));
    assert_eq!(would(&untouched), [(Some(true), &["anon-read"][..]), (Some(true), &["anon-zero"])]);

    assert_eq!(memory.read(2 * PAGE), 0);
    let zero = walk(tables, memory.at(2 * PAGE));
    if mapped(&zero).zero.is_some() {
        assert_eq!(would(&zero), [(Some(false), NONE), (Some(true), &["cow-zero"])]);
    } else {
        println!("skipped the zero page: this kernel tells it only to root");
    }

    assert!(memory.protect(0, PAGE, libc::PROT_NONE));
    let closed = walk(tables, memory.at(0));
    assert!(matches!(closed.page, Page::Mapped(_)), "the page stays: {:?}", closed.page);
    assert_eq!(would(&closed), [(Some(true), &["protection"][..]), (Some(true), &["protection"])]);

    memory.write(3 * PAGE);
    forked(|| {
        let shared = walk(tables, memory.at(3 * PAGE));
        assert_eq!(would(&shared), [(Some(false), NONE), (Some(true), &["cow-copy"])]);
    });
    assert_eq!(would(&walk(tables, 16))[0], (Some(true), &["null"][..]));
    let hole = walk(tables, 0x8000_0000_0000_0000);
    assert_eq!(would(&hole)[1], (Some(true), &["non-canonical"][..]));
}

/// Files, private and shared.
pub(crate) fn files(tables: &dyn Tables) {
    let path = std::env::temp_dir().join(format!("vmtrace-walk-{}", std::process::id()));
    let mut file = std::fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    file.write_all(&[7; 4 * PAGE]).unwrap();
    let both = libc::PROT_READ | libc::PROT_WRITE;
    let private = Mapping::new(4 * PAGE, both, libc::MAP_PRIVATE, Some(&file)).unwrap();
    let absent = walk(tables, private.at(PAGE));
    assert_eq!(
        would(&absent),
        [(Some(true), &["file-map", "file-read"][..]), (Some(true), &["cow-file", "file-read"])]
    );
    assert_eq!(private.read(0), 7);
    let read = walk(tables, private.at(0));
    assert_eq!(mapped(&read).file, Some(true));
    assert_eq!(would(&read), [(Some(false), NONE), (Some(true), &["cow-copy"])]);
    private.write(0);
    assert_eq!(mapped(&walk(tables, private.at(0))).file, Some(false), "now a copy of its own");

    let shared = Mapping::new(4 * PAGE, both, libc::MAP_SHARED, Some(&file)).unwrap();
    assert_eq!(shared.read(2 * PAGE), 7);
    let read = walk(tables, shared.at(2 * PAGE));
    assert_eq!(mapped(&read).file, Some(true));
    assert_ne!(read.verdicts[1].faults, Some(false).filter(|_| read.entries.is_none()));
    std::fs::remove_file(path).unwrap();
}

/// A huge page at the page-middle level.
pub(crate) fn huge(tables: &dyn Tables) {
    let memory = Mapping::anonymous(2 * HUGE);
    let start = HUGE - usize::try_from(memory.at(0)).unwrap() % HUGE;
    if !memory.advise(libc::MADV_HUGEPAGE) {
        println!("skipped huge pages: madvise(MADV_HUGEPAGE) is refused");
        return;
    }
    let before = walk(tables, memory.at(start));
    if before.verdicts[1].kinds == ["anon-zero"] {
        println!("skipped huge pages: they are off");
        return;
    }
    assert_eq!(would(&before)[1], (Some(true), &["thp"][..]));
    memory.write(start);
    let after = walk(tables, memory.at(start + 5 * PAGE));
    match mapped(&after).size {
        Some(size) => assert_eq!(size, 2 << 20, "or none was free"),
        None => println!("skipped the size: this kernel's page map does not tell it"),
    }
}

/// Swapped out, where there is swap.
pub(crate) fn swapped(tables: &dyn Tables) {
    const MADV_PAGEOUT: i32 = 21;
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap();
    let memory = Mapping::anonymous(16 * PAGE);
    (0..16).for_each(|page| memory.write(page * PAGE));
    if swaps.lines().count() < 2 || !memory.advise(MADV_PAGEOUT) {
        println!("skipped swap: there is none");
        return;
    }
    let out = (0..16)
        .map(|page| walk(tables, memory.at(page * PAGE)))
        .find(|walk| walk.pagemap.is_some_and(|word: Entry| word.swapped()));
    match out {
        Some(walk) => assert_eq!(would(&walk)[0], (Some(true), &["swap-in", "swap-cache"][..])),
        None => println!("skipped swap: the kernel kept the pages"),
    }
}

#[test]
fn the_page_map_names_every_state() {
    if !is_root() {
        println!("not root: frames are not shown, the states still are");
    }
    let tables = NoTables("this test looks at the page map".to_owned());
    states(&tables);
    files(&tables);
    huge(&tables);
    swapped(&tables);
}

#[test]
fn the_tables_name_every_state_and_agree_with_the_page_map() {
    let tables = match KernelTables::open() {
        Ok(tables) => tables,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    states(&tables);
    files(&tables);
    huge(&tables);
    swapped(&tables);
    let memory = Mapping::anonymous(PAGE);
    memory.write(0);
    let walk = walk(&tables, memory.at(0));
    assert!(walk.entries.is_some(), "{:?}", walk.unseen);
    assert_eq!(mapped(&walk).writable, Some(true));
    assert_eq!(would(&walk)[1], (Some(false), NONE));
}
