//! Rows and places, on hand-made streams.

use vmtrace_common::evidence::{end, origin};
use vmtrace_common::record::{Fault, name};

use super::*;
use crate::synthetic::{ANON, TEXT, comm, exec, header, region, task};

const DATA: u16 = nature::KNOWN | nature::FILE | nature::READ | nature::WRITE;
const RODATA: u16 = nature::KNOWN | nature::FILE | nature::READ;

fn world(regions: &[Region]) -> World {
    let mut world = World::new(false);
    world.task(&task(7, 7, 1, "seven"));
    for region in regions {
        world.describe(region);
    }
    world
}

fn at(world: &mut World, address: u64) -> (String, Part) {
    let place = world.find(&Fault { pid: 7, address, ..Fault::default() });
    let row = world.rows()[place.row as usize];
    (world.text(row.name).to_owned(), row.part)
}

fn name_at(world: &mut World, address: u64) -> String {
    at(world, address).0
}

#[test]
fn one_heap_is_one_row_however_it_grows() {
    let mut world = world(&[]);
    for end in 1..50 {
        let mut heap = region(7, 0x1000, 0x1000 + end * 0x1000, ANON, "");
        heap.special = name::HEAP;
        world.describe(&heap);
    }
    let mut split = region(7, 0x9000, 0xa000, ANON, "");
    split.special = name::HEAP;
    world.describe(&split);
    assert_eq!(world.rows().len(), 1);
    assert_eq!((world.rows()[0].start, world.rows()[0].end), (0x1000, 0x1000 + 49 * 0x1000));
    assert_eq!(name_at(&mut world, 0x9008), "[heap]");
    assert_eq!(name_at(&mut world, 0xb000), "[heap]");
}

#[test]
fn permissions_tell_rows_apart() {
    let read_only = ANON & !nature::WRITE;
    let world = world(&[
        region(7, 0x1000, 0x2000, ANON, ""),
        region(7, 0x2000, 0x3000, read_only, ""),
        region(7, 0x5000, 0x6000, ANON, ""),
    ]);
    assert_eq!(world.rows().len(), 2);
}

#[test]
fn an_objects_parts_are_told_apart() {
    let lib = "/lib/libc.so.6";
    let mut world = world(&[
        region(7, 0x1000, 0x2000, RODATA, lib),
        region(7, 0x2000, 0x3000, TEXT, lib),
        region(7, 0x4000, 0x5000, DATA, lib),
        region(7, 0x5000, 0x6000, ANON, ""),
        region(7, 0x9000, 0xa000, ANON, ""),
        region(7, 0xb000, 0xc000, RODATA, "/usr/share/locale"),
    ]);
    assert_eq!(at(&mut world, 0x5000), (lib.to_owned(), Part::Bss));
    assert_eq!(name_at(&mut world, 0x9000), "[anon]");
    let objects = |_, name| name == world.rows()[1].name;
    let parts: Vec<_> = world.rows().iter().map(|row| world.part(row, objects)).collect();
    let told: Vec<_> = parts.iter().map(|part| part.name()).collect();
    assert_eq!(told, ["rodata", "text", "data", "bss", "", ""]);
}

#[test]
fn an_object_mapped_below_a_heap_does_not_make_that_its_bss() {
    let mut world = world(&[
        region(7, 0x5000, 0x6000, ANON, ""),
        region(7, 0x4000, 0x5000, DATA, "/lib/late.so"),
    ]);
    assert_eq!(name_at(&mut world, 0x5000), "[anon]");
}

#[test]
fn a_thread_stack_has_a_guard_below_it() {
    let guard = nature::KNOWN;
    let mut world = world(&[
        region(7, 0x10_0000, 0x10_1000, guard, ""),
        region(7, 0x10_1000, 0x90_0000, ANON, ""),
        region(7, 0x3ff_f000, 0x400_0000, guard, ""),
        region(7, 0x400_0000, 0x402_1000, ANON, ""),
    ]);
    assert_eq!(name_at(&mut world, 0x20_0000), "[stack:thread]");
    assert_eq!(name_at(&mut world, 0x400_0000), "[anon]", "an arena of malloc");
}

#[test]
fn exec_empties_the_address_space_and_reuse_names_it_anew() {
    let mut world = world(&[region(7, 0x1000, 0x2000, TEXT, "/bin/sh")]);
    let exec = Exec {
        header: header(7, 9),
        old_tid: 7,
        path_len: 0,
        stack: 0,
        stack_end: 0,
        comm: comm("date"),
        path: [0; vmtrace_common::record::PATH],
    };
    world.exec(&exec);
    assert_eq!(name_at(&mut world, 0x1000), "[unknown]");
    world.describe(&region(7, 0x1000, 0x2000, TEXT, "/bin/date"));
    assert_eq!(name_at(&mut world, 0x1000), "/bin/date");
    let comm = world.processes()[0].comm;
    assert_eq!(world.text(comm), "date");
}

#[test]
fn a_reused_pid_is_another_process() {
    let mut world = world(&[region(7, 0x1000, 0x2000, TEXT, "/bin/one")]);
    world.exit(&header(7, 5));
    assert_eq!(name_at(&mut world, 0x1000), "/bin/one", "a late fault is still placed");
    world.task(&task(7, 7, 1, "again"));
    assert_eq!(world.processes().len(), 2);
    assert_eq!(name_at(&mut world, 0x1000), "[unknown]");
}

#[test]
fn a_process_ends_with_its_last_thread() {
    let mut world = world(&[]);
    world.task(&task(7, 8, 7, "thread"));
    world.exit(&header(7, 5));
    world.task(&task(7, 7, 1, "same"));
    assert_eq!(world.processes().len(), 1);
}

#[test]
fn a_child_inherits_where_the_kernel_side_does_not_describe() {
    let mut world = World::new(true);
    world.task(&task(6, 6, 1, "parent"));
    world.describe(&region(6, 0x1000, 0x2000, ANON, "[heap]"));
    let mut child = task(7, 7, 6, "child");
    child.header.time = 10;
    world.task(&child);
    assert_eq!(name_at(&mut world, 0x1800), "[heap]");
    assert_eq!(world.rows()[1].process, 1);
    world.describe(&region(7, 0x1000, 0x2000, nature::SHARED, ""));
    assert_eq!(name_at(&mut world, 0x1800), "[unknown]", "a region of no nature is a hole");
}

#[test]
fn the_kernel_sides_word_goes_before_the_descriptions() {
    let mut world = world(&[region(7, 0x1000, 0x9000, ANON, "[heap]")]);
    let fault = Fault { pid: 7, address: 0x5000, region: 0x4000, ..Fault::default() };
    let nature = ANON | nature::SHARED;
    let place = world.find(&Fault { nature, ..fault });
    assert_eq!(world.text(world.rows()[place.row as usize].name), "[unknown]");
    assert_eq!((place.nature, place.len), (nature, 0));
    let grown = world.find(&Fault { region: 0x1000, address: 0xa000, ..fault });
    assert_eq!(world.text(world.rows()[grown.row as usize].name), "[heap]");
}

#[test]
fn a_stack_that_grew_unseen_is_still_the_stack() {
    let stack = ANON | nature::GROWS_DOWN;
    let mut world = world(&[region(7, 0x7fff_0000, 0x7fff_f000, stack, "[stack]")]);
    assert_eq!(name_at(&mut world, 0x7ffe_f008), "[stack]");
    assert_eq!(world.rows()[0].start, 0x7ffe_f000);
    let beyond = Fault { pid: 7, address: 0x7ffe_e000, signal: 11, ..Fault::default() };
    let place = world.find(&beyond);
    assert_eq!(world.text(world.rows()[place.row as usize].name), "[unmapped]");
    assert!(world.is_below_stack(7, 0x7ffe_e000));
}

#[test]
fn the_dead_are_forgotten_in_the_end() {
    let mut world = World::new(false);
    for pid in 10..2000 {
        world.task(&task(pid, pid, 1, "short"));
        world.describe(&region(pid, 0x1000, 0x2000, ANON, ""));
        world.exit(&header(pid, 1));
    }
    let kept = world.processes().iter().filter(|process| process.space().iter().count() > 0);
    assert_eq!(kept.count(), KEPT_DEAD);
    assert_eq!(world.rows().len(), 1990);
}

#[test]
fn a_thread_that_begins_a_program_for_all_is_the_first_from_then_on() {
    let mut world = world(&[]);
    world.task(&task(7, 8, 7, "eight"));
    world.exit(&header(7, 1));
    world.exec(&exec(header(7, 2), 8));
    world.task(&task(7, 9, 7, "more"));
    world.exit(&Header { tid: 9, ..header(7, 3) });
    assert!(world.thread(8).is_none() && world.thread(7).is_some());
    assert!(!world.processes()[0].dead, "its first thread is alive");
    world.exit(&header(7, 4));
    assert!(world.processes()[0].dead);
}

#[test]
fn a_flood_of_processes_is_counted_together_in_the_end() {
    let mut world = World::new(false);
    let count = u32::try_from(MOST_PROCESSES).unwrap() + 5000;
    for pid in 1..=count {
        world.task(&task(pid, pid, 1, "flood"));
        world.describe(&region(pid, 0x1000, 0x2000, ANON, "[heap]"));
        let place = world.find(&Fault { pid, address: 0x1000, ..Fault::default() });
        let row = world.rows()[place.row as usize];
        let told = world.text(world.processes()[row.process as usize].comm);
        let late = pid as usize > MOST_PROCESSES;
        assert_eq!(told, if late { "(more processes)" } else { "flood" });
        world.exit(&header(pid, 1));
    }
    assert_eq!(world.rows().len(), MOST_PROCESSES + 1);
    assert!(world.processes().len() <= MOST_PROCESSES + KEPT_DEAD + 2);
}

#[test]
fn a_fault_nobody_saw_whole_lies_where_its_ancestors_have_something() {
    let mut world = world(&[region(7, 0x1000, 0x2000, ANON, "[anon:a]")]);
    world.task(&task(8, 8, 7, "eight"));
    world.task(&task(9, 9, 8, "nine"));
    let fault = Fault { pid: 9, address: 0x1800, ..Fault::default() };
    let place = world.find(&fault);
    assert_eq!(world.text(world.rows()[place.row as usize].name), "[unknown]");
    let via = Fault::via(origin::USER, end::RECONSTRUCTED);
    let place = world.find(&Fault { via, ..fault });
    let row = world.rows()[place.row as usize];
    assert_eq!((row.process, row.start, row.end), (2, 0x1000, 0x2000));
    assert_eq!(world.text(row.name), world.text(world.rows()[0].name));
}
