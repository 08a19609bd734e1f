//! Verdicts on regions as `smaps` shows them, and pages as they may be there.

use super::*;
use crate::inspect::maps::smaps;

fn region(line: &str) -> Region {
    smaps::read(line.as_bytes(), None).unwrap().remove(0)
}

const ANON: &str = "10000-20000 rw-p 0 0:0 0\n";
const EMPTY: Page = Page::Absent(Absent::Empty);

fn kinds(access: Access, line: &str, page: Page) -> (Option<bool>, Vec<&'static str>) {
    let region = region(line);
    let verdict = judge(access, Place::Region(&region), &page, Huge::default());
    (verdict.faults, verdict.kinds)
}

fn faults(access: Access, line: &str, page: Page, expected: &[&'static str]) {
    assert_eq!(kinds(access, line, page), (Some(true), expected.to_vec()), "{line}");
}

fn mapped(writable: bool) -> Mapped {
    Mapped { writable: Some(writable), accessible: Some(true), ..Mapped::default() }
}

#[test]
fn nothing_there_yet() {
    use Access::{Read, Write};
    faults(Write, ANON, EMPTY, &["anon-zero"]);
    faults(Read, ANON, EMPTY, &["anon-read"]);
    faults(Write, "10000-20000 r--p 0 0:0 0\n", EMPTY, &["protection"]);
    faults(Read, "10000-20000 ---p 0 0:0 0\n", EMPTY, &["protection"]);
    faults(Write, "10000-20000 rw-p 0 8:1 9 /x\n", EMPTY, &["cow-file", "file-read"]);
    faults(Read, "10000-20000 rw-s 0 8:1 9 /x\n", EMPTY, &["file-map", "file-read"]);
    faults(
        Write,
        "10000-20000 rw-s 0 0:1 9 /dev/zero (deleted)\n",
        EMPTY,
        &["shmem", "shmem-swap-in"],
    );
    faults(Read, "10000-20000 rw-p 0 0:0 0\nVmFlags: rd wr um\n", EMPTY, &["userfault"]);
    faults(
        Write,
        "10000-20000 rw-p 0 0:0 0\nVmFlags: rd wr ht\n",
        EMPTY,
        &["hugetlb", "hugetlb-major"],
    );
}

#[test]
fn there_but_not_for_writing() {
    let page = |page| Page::Mapped(page);
    assert_eq!(kinds(Access::Write, ANON, page(mapped(true))), (Some(false), vec![]));
    assert_eq!(kinds(Access::Read, ANON, page(mapped(false))), (Some(false), vec![]));
    let zero = Mapped { zero: Some(true), ..mapped(false) };
    faults(Access::Write, ANON, page(zero), &["cow-zero"]);
    let mine = Mapped { exclusive: Some(true), ..mapped(false) };
    faults(Access::Write, ANON, page(mine), &["cow-reuse"]);
    let shared = Mapped { exclusive: Some(false), ..mapped(false) };
    faults(Access::Write, ANON, page(shared), &["cow-copy"]);
    let huge = Mapped { size: Some(2 << 20), ..mapped(false) };
    faults(Access::Write, ANON, page(huge), &["cow-thp"]);
    faults(Access::Write, "10000-20000 rw-s 0 8:1 9 /x\n", page(mapped(false)), &["file-mkwrite"]);
    let hint = Mapped { accessible: Some(false), ..mapped(true) };
    faults(Access::Read, ANON, page(hint), &["numa-hint"]);
    let guarded = Mapped { uffd_wp: Some(true), ..mapped(false) };
    faults(Access::Write, ANON, page(guarded), &["userfault"]);
}

#[test]
fn without_the_entry_only_sure_cases_are_sure() {
    let mine = Mapped { exclusive: Some(true), file: Some(false), ..Mapped::default() };
    assert_eq!(kinds(Access::Write, ANON, Page::Mapped(mine)), (None, vec!["cow-reuse"]));
    let shared = Mapped { exclusive: Some(false), file: Some(false), ..Mapped::default() };
    faults(Access::Write, ANON, Page::Mapped(shared), &["cow-copy"]);
}

#[test]
fn entries_that_stand_in_for_a_page() {
    let absent = |absent| Page::Absent(absent);
    let special = |special| absent(Absent::Special { special, frame: None });
    faults(
        Access::Read,
        ANON,
        absent(Absent::Swap { kind: 0, offset: 1 }),
        &["swap-in", "swap-cache"],
    );
    faults(Access::Read, ANON, special(Special::MigrationWrite), &["migration"]);
    faults(Access::Read, ANON, special(Special::Hwpoison), &["hwpoison"]);
    let guard = Absent::Marker { uffd_wp: false, poisoned: false, guard: true };
    faults(Access::Read, ANON, absent(guard), &["unmapped"]);
    let watched = Absent::Marker { uffd_wp: true, poisoned: false, guard: false };
    faults(Access::Write, ANON, absent(watched), &["userfault"]);
    faults(Access::Read, ANON, absent(watched), &["anon-read"]);
}

#[test]
fn outside_every_region() {
    let at = |address, stack_grows, stack_guard| {
        let place = Place::Nowhere { address, stack_grows, stack_guard };
        judge(Access::Write, place, &EMPTY, Huge::default()).kinds[0]
    };
    assert_eq!(at(8, false, false), "null");
    assert_eq!(at(0x50_0000, false, false), "unmapped");
    assert_eq!(at(0x50_0000, true, false), "anon-zero");
    assert_eq!(at(0x50_0000, false, true), "stack-overflow");
    let odd = judge(Access::Read, Place::NonCanonical, &EMPTY, Huge::default());
    assert_eq!(odd.kinds, ["non-canonical"]);
}
