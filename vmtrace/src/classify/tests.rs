//! One test a row of the design's table, on both kinds of evidence.

use vmtrace_common::evidence::{end, error, flag, mark, nature, origin, ret};
use vmtrace_common::record::Fault;

use super::*;

const ANON: u16 = nature::KNOWN | nature::READ | nature::WRITE;
const FILE: u16 = ANON | nature::FILE;
const SHARED_FILE: u16 = FILE | nature::SHARED;
const SHMEM: u16 = ANON | nature::SHMEM | nature::SHARED;
const PRIVATE_SHMEM: u16 = ANON | nature::SHMEM;
const HUGETLB: u16 = ANON | nature::HUGETLB;
const SHARED_HUGETLB: u16 = HUGETLB | nature::SHARED;
const DEVICE: u16 = ANON | nature::DEVICE | nature::SHARED;

const READ: u16 = error::USER;
const WRITE: u16 = error::USER | error::WRITE;
const PRESENT_READ: u16 = READ | error::PRESENT;
const PRESENT_WRITE: u16 = WRITE | error::PRESENT;

fn fault(nature: u16, error: u16) -> Fault {
    let flags = if error & error::WRITE != 0 { flag::WRITE } else { 0 };
    Fault { nature, error, flags, address: 0x7000_0000, ..Fault::default() }
}

fn told(fault: &Fault) -> Kind {
    told_near(fault, false)
}

fn told_near(fault: &Fault, below_stack: bool) -> Kind {
    let mut classifier = Classifier::new(true);
    let kind = classifier.learn(fault, Surroundings { nature: fault.nature, below_stack });
    if let Some(again) = classifier.recall(fault, fault.nature) {
        assert_eq!(again, kind, "the answer kept");
    }
    kind
}

fn marked(nature: u16, error: u16, marks: u16) -> Kind {
    told(&Fault { marks, ..fault(nature, error) })
}

fn major(nature: u16, marks: u16) -> Kind {
    told(&Fault { marks, ret: ret::MAJOR, ..fault(nature, READ) })
}

/// As the tracepoint backend has it: no flags, no marks but allocation.
fn event(nature: u16, error: u16, marks: u16, ret: u16) -> Kind {
    told(&event_fault(nature, error, marks, ret))
}

fn event_fault(nature: u16, error: u16, marks: u16, ret: u16) -> Fault {
    let via = Fault::via(origin::USER, end::EVENT);
    Fault { via, marks, ret, flags: 0, ..fault(nature, error) }
}

fn signalled(signal: u8, code: u8, address: u64) -> Fault {
    let via = Fault::via(origin::USER, end::SIGNAL);
    Fault { via, signal, code, address, ..fault(0, READ) }
}

#[test]
fn minor_by_region() {
    assert_eq!(marked(ANON, WRITE, 0), Kind::AnonZero);
    assert_eq!(marked(ANON, READ, 0), Kind::AnonRead);
    assert_eq!(marked(FILE, READ, 0), Kind::FileMap);
    assert_eq!(marked(SHARED_FILE, READ, 0), Kind::FileMap);
    assert_eq!(marked(SHMEM, READ, 0), Kind::Shmem);
    assert_eq!(marked(SHMEM, WRITE, 0), Kind::Shmem);
    assert_eq!(marked(HUGETLB, WRITE, 0), Kind::Hugetlb);
    assert_eq!(marked(DEVICE, READ, 0), Kind::Device);
}

#[test]
fn minor_by_mark() {
    assert_eq!(
        marked(SHARED_FILE, PRESENT_WRITE, mark::WRITE_PROTECT | mark::REUSED),
        Kind::FileMkwrite
    );
    assert_eq!(marked(SHARED_FILE, WRITE, 0), Kind::FileMkwrite);
    assert_eq!(marked(ANON, READ, mark::SWAP), Kind::SwapCache);
    assert_eq!(marked(ANON, WRITE, mark::HUGE), Kind::Thp);
    assert_eq!(marked(ANON, READ, mark::HUGE), Kind::ThpZero);
    assert_eq!(marked(ANON, READ, mark::NUMA_HINT), Kind::NumaHint);
    assert_eq!(marked(ANON, READ, mark::MIGRATION), Kind::Migration);
    assert_eq!(marked(ANON, WRITE, mark::USERFAULT), Kind::Userfault);
    assert_eq!(marked(ANON, READ, mark::DEVICE_ENTRY), Kind::Device);
    assert_eq!(marked(ANON, PRESENT_WRITE, mark::ACCESS_ONLY), Kind::Spurious);
    assert_eq!(marked(ANON, PRESENT_READ, 0), Kind::Spurious);
    assert_eq!(marked(FILE, PRESENT_READ, 0), Kind::Spurious);
    assert_eq!(marked(ANON, READ, mark::POISON_ENTRY), Kind::Other);
    assert_eq!(marked(0, WRITE, 0), Kind::Other);
    assert_eq!(marked(SHMEM, READ, mark::HUGE), Kind::Shmem);
}

#[test]
fn major_is_what_the_kernel_counts_as_major() {
    assert_eq!(major(FILE, 0), Kind::FileRead);
    assert_eq!(major(ANON, mark::SWAP), Kind::SwapIn);
    assert_eq!(major(FILE, mark::SWAP), Kind::SwapIn);
    assert_eq!(major(SHMEM, 0), Kind::ShmemSwapIn);
    assert_eq!(major(HUGETLB, 0), Kind::HugetlbMajor);
    assert_eq!(major(ANON, mark::USERFAULT), Kind::UserfaultMajor);
    assert_eq!(major(ANON, 0), Kind::OtherMajor);
    let tried = Fault { flags: flag::TRIED, ..fault(FILE, READ) };
    assert_eq!(told(&tried), Kind::FileRead, "mm_account_fault counts FAULT_FLAG_TRIED");
    let written = Fault { nature: FILE | nature::SHARED, error: WRITE, ..tried };
    assert_eq!(told(&written), Kind::OtherMajor, "throttled after its work was done (5.10)");
    let read = Fault { ret: ret::MAJOR, ..written };
    assert_eq!(told(&read), Kind::FileRead);
    let copied = mark::SWAP | mark::WRITE_PROTECT | mark::COPIED;
    assert_eq!(major(ANON, copied), Kind::SwapIn, "major goes before cow");
}

#[test]
fn copy_on_write_by_mark() {
    let wp = |nature, marks| marked(nature, PRESENT_WRITE, mark::WRITE_PROTECT | marks);
    assert_eq!(wp(ANON, mark::COPIED), Kind::CowCopy);
    assert_eq!(wp(FILE, mark::COPIED), Kind::CowCopy);
    assert_eq!(wp(ANON, mark::REUSED), Kind::CowReuse);
    assert_eq!(wp(ANON, 0), Kind::CowReuse);
    assert_eq!(wp(ANON, mark::COPIED | mark::ZERO_PAGE), Kind::CowZero);
    assert_eq!(wp(ANON, mark::SWAP | mark::COPIED), Kind::CowCopy, "cow goes before minor");
    assert_eq!(wp(ANON, mark::USERFAULT | mark::REUSED), Kind::Userfault);
    assert_eq!(wp(SHMEM, mark::REUSED), Kind::Shmem);
    assert_eq!(marked(FILE, WRITE, 0), Kind::CowFile);
    assert_eq!(marked(PRIVATE_SHMEM, WRITE, 0), Kind::CowFile);
    assert_eq!(marked(PRIVATE_SHMEM, READ, 0), Kind::Shmem);
    assert_eq!(marked(ANON, PRESENT_WRITE, mark::HUGE_WRITE_PROTECT), Kind::CowThp);
    assert_eq!(marked(HUGETLB, PRESENT_WRITE, mark::HUGETLB_WRITE_PROTECT), Kind::CowHugetlb);
    // 6.1 inlines hugetlb_wp: no mark of its own, and access bits on the way.
    assert_eq!(marked(HUGETLB, PRESENT_WRITE, 0), Kind::CowHugetlb);
    assert_eq!(marked(HUGETLB, PRESENT_WRITE, mark::ACCESS_ONLY), Kind::CowHugetlb);
    assert_eq!(marked(HUGETLB, WRITE, mark::ACCESS_ONLY), Kind::Hugetlb);
    assert_eq!(marked(SHARED_HUGETLB, PRESENT_WRITE, mark::HUGETLB_WRITE_PROTECT), Kind::Hugetlb);
    let via = Fault::via(origin::GUP, end::RETURN);
    let marks = mark::WRITE_PROTECT | mark::COPIED;
    let pin = Fault { via, flags: flag::UNSHARE, marks, ..fault(ANON, 0) };
    assert_eq!(told(&pin), Kind::CowUnshare);
    let populate = Fault { via, flags: flag::WRITE, ..fault(ANON, 0) };
    assert_eq!(told(&populate), Kind::AnonZero);
}

#[test]
fn invalid_by_signal() {
    assert_eq!(told(&signalled(11, 1, 0x7000_0000)), Kind::Unmapped);
    assert_eq!(told(&signalled(11, 1, 0xffff)), Kind::Null);
    assert_eq!(told_near(&signalled(11, 1, 0x7000_0000), true), Kind::StackOverflow);
    assert_eq!(told(&signalled(11, 2, 0x7000_0000)), Kind::Protection);
    assert_eq!(told(&signalled(11, 4, 0x7000_0000)), Kind::Pkey);
    assert_eq!(told(&signalled(7, 2, 0x7000_0000)), Kind::BusBeyondEof);
    assert_eq!(told(&signalled(7, 4, 0x7000_0000)), Kind::Hwpoison);
    assert_eq!(told(&signalled(7, 5, 0x7000_0000)), Kind::Hwpoison);
    let via = Fault::via(origin::TRAP, end::SIGNAL);
    assert_eq!(told(&Fault { via, ..signalled(11, 0x80, 0) }), Kind::NonCanonical);
    let via = Fault::via(origin::KERNEL, end::FIXUP);
    assert_eq!(told(&Fault { via, ..fault(0, READ) }), Kind::KernelEfault);
}

#[test]
fn invalid_by_answer() {
    let answered = |ret| told(&Fault { ret, ..fault(ANON, READ) });
    assert_eq!(answered(ret::OOM), Kind::Oom);
    assert_eq!(answered(ret::SIGBUS), Kind::BusBeyondEof);
    assert_eq!(answered(ret::HWPOISON), Kind::Hwpoison);
    assert_eq!(answered(ret::SIGSEGV), Kind::Unmapped);
    assert_eq!(answered(ret::OOM | ret::MAJOR), Kind::Oom, "a failed fault is not counted");
}

#[test]
fn the_address_of_a_failure_is_not_remembered() {
    let mut classifier = Classifier::new(true);
    let none = Surroundings::default();
    assert_eq!(classifier.learn(&signalled(11, 1, 8), none), Kind::Null);
    assert_eq!(classifier.recall(&signalled(11, 1, 0x7000_0000), 0), None);
}

#[test]
fn events_tell_the_common_kinds() {
    let (page, huge) = (mark::ALLOCATED, mark::ALLOCATED_HUGE);
    assert_eq!(event(ANON, WRITE, page, 0), Kind::AnonZero);
    assert_eq!(event(ANON, READ, 0, 0), Kind::AnonRead);
    assert_eq!(event(ANON, WRITE, huge, 0), Kind::Thp);
    assert_eq!(event(FILE, READ, 0, 0), Kind::FileMap);
    assert_eq!(event(SHARED_FILE, PRESENT_WRITE, 0, 0), Kind::FileMkwrite);
    assert_eq!(event(SHMEM, WRITE, page, 0), Kind::Shmem);
    assert_eq!(event(HUGETLB, WRITE, huge, 0), Kind::Hugetlb);
    assert_eq!(event(HUGETLB, PRESENT_WRITE, huge, 0), Kind::CowHugetlb);
    assert_eq!(event(DEVICE, READ, 0, 0), Kind::Device);
    assert_eq!(event(ANON, PRESENT_WRITE, page, 0), Kind::CowCopy);
    assert_eq!(event(ANON, PRESENT_WRITE, 0, 0), Kind::CowReuse);
    assert_eq!(event(ANON, PRESENT_WRITE, huge, 0), Kind::CowThp);
    assert_eq!(event(FILE, WRITE, page, 0), Kind::CowFile);
    assert_eq!(event(PRIVATE_SHMEM, WRITE, page, 0), Kind::CowFile);
    assert_eq!(event(ANON, PRESENT_READ, 0, 0), Kind::Spurious);
    assert_eq!(event(FILE, READ, page, ret::MAJOR), Kind::FileRead);
    assert_eq!(event(ANON, READ, page, ret::MAJOR), Kind::SwapIn);
    assert_eq!(event(SHMEM, READ, page, ret::MAJOR), Kind::ShmemSwapIn);
    assert_eq!(event(HUGETLB, READ, 0, ret::MAJOR), Kind::HugetlbMajor);
}

#[test]
fn events_do_not_guess() {
    assert_eq!(event(ANON, WRITE, 0, 0), Kind::Other, "swap cache, migration, a pager");
    assert_eq!(event(FILE, WRITE, 0, 0), Kind::Other);
    assert_eq!(event(0, WRITE, mark::ALLOCATED, 0), Kind::Other);
    assert_eq!(event(0, WRITE, 0, ret::MAJOR), Kind::OtherMajor);
    let blind = |nature, error| {
        let mut classifier = Classifier::new(false);
        let around = Surroundings { nature, below_stack: false };
        classifier.learn(&event_fault(nature, error, 0, 0), around)
    };
    assert_eq!(blind(ANON, WRITE), Kind::AnonZero);
    assert_eq!(blind(ANON, PRESENT_WRITE), Kind::CowCopy);
    assert_eq!(blind(FILE, WRITE), Kind::CowFile);
}

#[test]
fn every_kind_can_be_told() {
    let reachable = |kind| rules::RULES.iter().any(|rule| rule.kind() == kind);
    assert!(Kind::ALL.into_iter().all(reachable));
}
