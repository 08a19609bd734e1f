use super::*;
use crate::demo::declare::{Basis, Expectation, Origin};
use crate::term::Screen;

fn declaration(scenario: &str, kind: Kind, origin: Origin) -> Declaration {
    let mut declaration = Declaration::new(scenario);
    declaration.expectations = vec![Expectation {
        pid: 7,
        tid: None,
        kind,
        count: Count::Exactly(2),
        start: 0x1000,
        end: 0x3000,
        region: String::new(),
        origin,
        basis: Basis::Program,
        latency_ns: Some((1_000_000, 1_100_000)),
    }];
    declaration
}

fn trace(backend: &str, kinds: &[Kind]) -> Trace {
    let addresses = (0x1000..).step_by(0x1000);
    let seen = |(&kind, address)| Seen { pid: 7, address, kind, latency: 1_090_000 };
    Trace {
        backend: backend.to_owned(),
        kernel: "6.12".to_owned(),
        took: Duration::from_secs(2),
        faults: kinds.iter().zip(addresses).map(seen).collect(),
    }
}

fn page(declarations: &[Declaration], trace: &Trace) -> (bool, String) {
    let check = Check::new(declarations, trace);
    let (agrees, mut out) = (check.agrees(), Vec::new());
    write(&mut out, &Screen::plain(100), check).unwrap();
    (agrees, String::from_utf8(out).unwrap())
}

#[test]
fn what_agrees_is_said_to() {
    let declared = [declaration("anon-write", Kind::AnonZero, Origin::User)];
    let (agrees, page) = page(&declared, &trace("fentry", &[Kind::AnonZero; 2]));
    assert!(agrees, "{page}");
    assert!(page.contains("1 of 1 scenarios agree."), "{page}");
    assert!(page.contains("2 faults that a pager kept waiting, 1.0 ms to 1.0 ms"), "{page}");
    assert!(page.contains("within 0.9 %"), "{page}");
}

#[test]
fn a_merge_is_told_and_a_mistake_is_wrong() {
    let declared = [declaration("zero-page", Kind::CowZero, Origin::User)];
    let (agrees, text) = page(&declared, &trace("tracepoint", &[Kind::CowCopy; 2]));
    assert!(agrees && text.contains("merged") && text.contains("2 reported as cow-copy"), "{text}");
    let (agrees, text) = page(&declared, &trace("fentry", &[Kind::CowCopy; 2]));
    assert!(!agrees && text.contains("zero-page: 2 cow-zero reported as cow-copy"), "{text}");
}

#[test]
fn what_a_backend_cannot_see_is_unseen() {
    let declared = [declaration("populate", Kind::AnonZero, Origin::Gup)];
    let (agrees, text) = page(&declared, &trace("tracepoint", &[]));
    assert!(agrees && text.contains("2 not seen"), "{text}");
}

#[test]
fn what_was_not_played_proves_nothing() {
    let skipped = Declaration::ended("numa-hint", Outcome::Skipped, "one node".to_owned());
    let (agrees, text) = page(&[skipped], &trace("fentry", &[]));
    assert!(!agrees && text.contains("not played: one node"), "{text}");
}
