//! Whole streams through the pipeline.

use vmtrace_common::evidence::{end, error, flag, origin, ret};
use vmtrace_common::record::Oom;

use super::*;
use crate::synthetic::{self, ANON, Workload, header, region, spill, task};

fn send(pipeline: &mut Pipeline, record: &Rare) {
    pipeline.rare(&decode::encode(record));
}

fn counts(pipeline: &Pipeline) -> Vec<(String, Kind, u64)> {
    let world = pipeline.world();
    let rows = world.rows().iter().enumerate();
    rows.flat_map(|(index, row)| {
        let name = world.text(row.name);
        pipeline.tally().row(index).map(move |cell| (name.to_owned(), cell.kind, cell.count))
    })
    .collect()
}

fn begun() -> Pipeline {
    let mut pipeline = Pipeline::new(Options::default());
    send(&mut pipeline, &Rare::Task(task(7, 7, 1, "seven")));
    let heap = region(7, 0x10_0000, 0x20_0000, ANON, "[heap]");
    send(&mut pipeline, &Rare::Region(Box::new(heap)));
    pipeline
}

fn write_at(address: u64) -> Fault {
    Fault {
        pid: 7,
        tid: 7,
        address,
        region: 0x10_0000,
        nature: ANON,
        error: error::USER | error::WRITE,
        flags: flag::WRITE,
        latency: 700,
        time: 9,
        ..Fault::default()
    }
}

#[test]
fn nothing_sent_is_lost_on_the_way() {
    for events in [false, true] {
        let load =
            Workload { processes: 20, regions: 50, faults: 2000, events, named: true, run: 7 };
        let mut pipeline = Pipeline::new(Options { inherit: events, ..Options::default() });
        load.send(&mut pipeline);
        let total: u64 = counts(&pipeline).iter().map(|(_, _, count)| count).sum();
        assert_eq!(total, 40_000);
        assert_eq!(pipeline.stream().received, 40_000);
        assert_eq!(pipeline.world().rows().len(), 1000);
        let accounts = pipeline.accounts().by_process(20);
        assert!(accounts.iter().all(|account| account.seen == 2000 && account.balances()));
    }
}

#[test]
fn the_caches_change_no_answer() {
    let load =
        Workload { processes: 3, regions: 700, faults: 5000, events: false, named: true, run: 1 };
    let run = |forget: bool| {
        let mut pipeline = Pipeline::new(Options::default());
        for index in 0..3 {
            load.begin(index, &mut pipeline);
            for fault in &load.faults(index).0 {
                if forget {
                    pipeline.hot.forget();
                }
                pipeline.faults(&[*fault]);
            }
        }
        counts(&pipeline)
    };
    assert_eq!(run(false), run(true));
}

#[test]
fn spilled_faults_join_the_others() {
    let mut pipeline = begun();
    pipeline.faults(&[write_at(0x10_1000), write_at(0x10_2000)]);
    let spill = spill(&write_at(0xdead), &[100, 1000, 10_000]);
    send(&mut pipeline, &Rare::Spill(Box::new(spill)));
    assert_eq!(counts(&pipeline), [("[heap]".to_owned(), Kind::AnonZero, 5)]);
    let cell = pipeline.tally().row(0).next().unwrap();
    assert_eq!((cell.total, cell.max), (12_500, 10_000));
    assert_eq!(pipeline.stream().received, 5);
}

#[test]
fn a_spill_without_a_region_is_not_placed_by_one_of_its_addresses() {
    let mut pipeline = begun();
    let via = Fault::via(origin::USER, end::EVENT);
    let event = Fault { via, region: 0, nature: 0, ..write_at(0x10_1000) };
    send(&mut pipeline, &Rare::Spill(Box::new(spill(&event, &[100; 5]))));
    let via = Fault::via(origin::USER, end::SIGNAL);
    let null = Fault { via, signal: 11, code: 1, address: 8, ..event };
    send(&mut pipeline, &Rare::Spill(Box::new(spill(&null, &[100; 5]))));
    send(&mut pipeline, &Rare::Spill(Box::new(spill(&event, &[100]))));
    let told = counts(&pipeline);
    assert!(told.contains(&("[unknown]".to_owned(), Kind::Other, 6)), "{told:?}");
    assert!(told.contains(&("[unmapped]".to_owned(), Kind::Null, 5)), "{told:?}");
}

#[test]
fn a_spill_without_a_region_lies_where_one_region_holds_its_whole_window() {
    let mut pipeline = begun();
    let start = 4 * SPILL_WINDOW;
    let shared = region(7, start, start + 3 * SPILL_WINDOW, ANON, "/dev/shm/x");
    send(&mut pipeline, &Rare::Region(Box::new(shared)));
    let via = Fault::via(origin::USER, end::EVENT);
    for (address, count) in [(start + SPILL_WINDOW, 3), (start + 3 * SPILL_WINDOW, 2)] {
        let event = Fault { via, region: 0, nature: 0, address, ..write_at(0) };
        send(&mut pipeline, &Rare::Spill(Box::new(spill(&event, &vec![100; count]))));
    }
    let told = counts(&pipeline);
    assert!(told.iter().any(|(name, _, count)| name == "/dev/shm/x" && *count == 3), "{told:?}");
    assert!(told.iter().any(|(name, _, count)| name == "[unknown]" && *count == 2), "{told:?}");
}

#[test]
fn filters_leave_out_and_count() {
    let kinds = Kinds::NONE.with_class(crate::fault::Class::Major);
    let options = Options { kinds, min_latency: 1000, ..Options::default() };
    let mut pipeline = Pipeline::new(options);
    let major = Fault { ret: ret::MAJOR, latency: 1000, ..write_at(0x10_0000) };
    pipeline.faults(&[write_at(0x10_0000), major, Fault { latency: 999, ..major }]);
    assert_eq!(counts(&pipeline), [("[unknown]".to_owned(), Kind::OtherMajor, 1)]);
    assert_eq!(pipeline.stream().filtered, 2);
}

#[test]
fn a_malformed_record_is_counted() {
    let mut pipeline = begun();
    for bytes in [&[][..], &[0; 10], &[0xff; 24], &[0xff; 400]] {
        pipeline.rare(bytes);
    }
    assert_eq!(pipeline.stream().malformed, 4);
    assert!(pipeline.stream().last_malformed.is_some());
}

#[test]
fn a_fault_without_a_latency_is_counted_but_not_timed() {
    let mut pipeline = begun();
    let via = Fault::via(origin::USER, end::RECONSTRUCTED);
    pipeline.faults(&[Fault { via, latency: 0, ..write_at(0x10_0000) }]);
    let cell = pipeline.tally().row(0).next().unwrap();
    assert_eq!((cell.count, cell.latencies().entries().count()), (1, 0));
    assert_eq!(pipeline.stream().untimed, 1);
}

#[test]
fn what_only_the_kernel_counted_is_counted_if_it_skipped_programs() {
    for (missed, unseen) in [(2, 0), (3, 3)] {
        let mut pipeline = begun();
        pipeline.faults(&[write_at(0x10_0000)]);
        let totals = Totals {
            min_flt: 3,
            maj_flt: 1,
            seen: 1,
            emitted: 1,
            header: header(7, 7),
            ..Totals::default()
        };
        send(&mut pipeline, &Rare::Totals(totals));
        let counters = Counters { header: header(0, 0), missed, ..Counters::default() };
        send(&mut pipeline, &Rare::Counters(counters));
        send(&mut pipeline, &Rare::Counters(counters));
        assert_eq!(pipeline.stream().unseen, unseen);
        let of = |kind| {
            counts(&pipeline).iter().filter(|one| one.1 == kind).map(|one| one.2).sum::<u64>()
        };
        assert_eq!((of(Kind::OtherMajor), of(Kind::Other)), (unseen / 3, unseen / 3 * 2));
    }
}

#[test]
fn an_account_that_comes_late_is_its_own_threads() {
    let mut pipeline = begun();
    let account = |pid, seen| {
        let seen = Totals { min_flt: seen, seen, emitted: seen, ..Totals::default() };
        Rare::Totals(Totals { header: header(pid, 9), ..seen })
    };
    let ended = |pid| Rare::Exit(Totals { header: header(pid, 9), ..Totals::default() });
    pipeline.faults(&[write_at(0x10_0000), write_at(0x10_1000)]);
    // Nobody has waited for it yet: many come and go, its own id comes again.
    send(&mut pipeline, &ended(7));
    for pid in (1000..2000).chain([7]) {
        send(&mut pipeline, &Rare::Task(task(pid, pid, 1, "short")));
        pipeline.faults(&[Fault { pid, tid: pid, ..write_at(0x10_0000) }]);
        if pid == 7 {
            send(&mut pipeline, &account(7, 2));
        }
        send(&mut pipeline, &ended(pid));
        send(&mut pipeline, &account(pid, 1));
    }
    let accounts = pipeline.accounts().by_process(pipeline.world().processes().len());
    let seen: Vec<_> = accounts.iter().map(|account| account.seen).collect();
    assert_eq!((seen[0], seen.len()), (2, 1002));
    assert!(seen[1..].iter().all(|&seen| seen == 1));
    let counters = Counters { header: header(0, 0), missed: 9, ..Counters::default() };
    send(&mut pipeline, &Rare::Counters(counters));
    assert_eq!(pipeline.stream().unseen, 0);
}

#[test]
fn a_stack_overflow_is_told_by_the_stack_above() {
    let mut pipeline = begun();
    let stack = ANON | vmtrace_common::evidence::nature::GROWS_DOWN;
    let stack = region(7, 0x7f00_0000, 0x7f80_0000, stack, "[stack]");
    send(&mut pipeline, &Rare::Region(Box::new(stack)));
    let via = Fault::via(origin::USER, end::SIGNAL);
    let below =
        Fault { via, signal: 11, code: 1, pid: 7, address: 0x7eff_fff8, ..Fault::default() };
    pipeline.faults(&[
        below,
        Fault { address: 8, ..below },
        Fault { address: 0x5000_0000, ..below },
    ]);
    let kinds: Vec<_> = pipeline.tally().row(2).map(|cell| cell.kind).collect();
    assert_eq!(kinds, [Kind::Unmapped, Kind::Null, Kind::StackOverflow]);
}

#[test]
fn an_oom_kill_is_one_story() {
    let mut pipeline = begun();
    let cause =
        Oom { header: header(9, 100), victim: 1, constraint: 3, memcg: 5, ..Oom::default() };
    send(&mut pipeline, &Rare::Oom(cause));
    let records = synthetic::one_of_each();
    let victim = records.iter().find(|record| matches!(record, Rare::Victim(_))).unwrap();
    send(&mut pipeline, victim);
    send(&mut pipeline, victim);
    let stories = pipeline.stories();
    assert_eq!(stories.len(), 2);
    assert_eq!(stories[0].cause.as_ref().unwrap().constraint, "memcg");
    assert_eq!(stories[0].memory.unwrap().score_adj, Some(-7));
    assert_eq!(stories[0].victim_comm, "victim");
    assert_eq!(stories[1].cause, None);
    let name = synthetic::group_name(5, "/threads");
    send(&mut pipeline, &Rare::GroupName(Box::new(name)));
    assert_eq!(pipeline.memory_group(5), None, "another hierarchy's");
    let name = vmtrace_common::record::GroupName { hierarchy: 1, ..name };
    send(&mut pipeline, &Rare::GroupName(Box::new(name)));
    assert_eq!(pipeline.memory_group(5), Some("/threads"));
}

#[test]
fn keys_are_counted_as_asked() {
    let run = |by: By| {
        let options = Options { by, cpu_nodes: vec![0, 1], ..Options::default() };
        let mut pipeline = Pipeline::new(options);
        send(&mut pipeline, &Rare::Task(task(7, 7, 1, "seven")));
        send(&mut pipeline, &Rare::Task(task(7, 8, 7, "eight")));
        let text = region(7, 0x40_0000, 0x50_0000, synthetic::TEXT, "/bin/x");
        send(&mut pipeline, &Rare::Region(Box::new(text)));
        let fault = Fault { ip: 0x40_0010, ..write_at(0x10_0000) };
        pipeline.faults(&[fault, Fault { tid: 8, cpu: 1, ip: 0x99, ..fault }, fault]);
        let keyed = pipeline.keyed().unwrap();
        let count = |entry| keyed.row(entry).map(|cell| cell.count).sum::<u64>();
        let rows = keyed.entries().iter();
        rows.map(|entry| (entry.label.to_string(), count(entry))).collect::<Vec<_>>()
    };
    let rows = |rows: &[(&str, u64)]| {
        rows.iter().map(|&(label, count)| (label.to_owned(), count)).collect::<Vec<_>>()
    };
    assert_eq!(run(By::Thread), rows(&[("seven", 2), ("eight", 1)]));
    assert_eq!(run(By::Cpu), rows(&[("cpu 0", 2), ("cpu 1", 1)]));
    assert_eq!(run(By::Node), rows(&[("node 0", 2), ("node 1", 1)]));
    assert_eq!(run(By::Cgroup), rows(&[("cgroup 1", 3)]));
    assert_eq!(run(By::Ip), rows(&[("/bin/x+0x10", 2), ("0x99", 1)]));
}

#[test]
fn a_cgroup_is_called_by_its_path_before_and_after_its_first_fault() {
    let mut pipeline = Pipeline::new(Options { by: By::Cgroup, ..Options::default() });
    for (tid, cgroup) in [(7, 70), (8, 80)] {
        let task = vmtrace_common::record::Task { cgroup, ..task(tid, tid, 1, "x") };
        send(&mut pipeline, &Rare::Task(task));
    }
    let named = |id, path| Rare::GroupName(Box::new(synthetic::group_name(id, path)));
    send(&mut pipeline, &named(70, "/a"));
    let fault = Fault { pid: 7, tid: 7, ..Fault::default() };
    pipeline.faults(&[fault, Fault { pid: 8, tid: 8, ..fault }]);
    send(&mut pipeline, &named(80, "/b\u{1b}[2J"));
    let labels: Vec<_> = pipeline.keyed().unwrap().entries().iter().map(|e| &*e.label).collect();
    assert_eq!(labels[0], "/a");
    assert!(labels[1].starts_with("/b") && !labels[1].contains('\u{1b}'), "{labels:?}");
}
