//! Lines against what the formatting machinery makes of the same faults.

use super::*;
use crate::decode::{Rare, encode};
use crate::pipeline::{Options, Pipeline};
use crate::stream::Sink as _;
use crate::synthetic::{self, ANON, header, region, task};

fn lines(style: Style) -> String {
    let events = Events::new(Vec::new(), style, 1_000);
    let mut pipeline = Pipeline::observed(Options::default(), events);
    pipeline.rare(&encode(&Rare::Task(task(7, 7, 1, "se\"v\x1ben"))));
    let heap = region(7, 0x10_0000, 0x20_0000, ANON, "[heap]");
    pipeline.rare(&encode(&Rare::Region(Box::new(heap))));
    let text = region(7, 0x40_0000, 0x50_0000, synthetic::TEXT, "/bin/x");
    pipeline.rare(&encode(&Rare::Region(Box::new(text))));
    let fault = Fault {
        time: 2_500_001_000,
        latency: 812,
        pid: 7,
        tid: 7,
        address: 0x10_0123,
        ip: 0x40_0010,
        nature: ANON,
        region: 0x10_0000,
        error: 2,
        ..Fault::default()
    };
    pipeline.faults(&[fault, Fault { ip: 0, address: 0, region: 0, nature: 0, ..fault }]);
    let tlb = Tlb { header: header(7, 3_000), pages: u64::MAX, reason: 4, reserved: 0 };
    pipeline.rare(&encode(&Rare::Tlb(tlb)));
    let events = pipeline.observer_mut();
    Events::flush(events);
    events.outcome().unwrap();
    assert_eq!(events.written(), 3);
    String::from_utf8(events.out.clone()).unwrap()
}

#[test]
fn lines_for_people() {
    let text = lines(Style::Text);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[0],
        "    2.500000000 7/7             se\"v\\x1ben       minor   anon-zero               812  \
         0x100123           [heap]+0x123 rw-p  /bin/x+0x10"
    );
    assert!(lines[1].ends_with("0x0                [unknown] ---p"), "{}", lines[1]);
    assert!(lines[2].ends_with("tlb     remote-ipi-send  everything"), "{}", lines[2]);
}

#[test]
fn lines_for_programs() {
    let json = lines(Style::Json);
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["time_ns"], 2_500_000_000_u64);
    assert_eq!(lines[0]["comm"], "se\"v\\x1ben");
    assert_eq!(lines[0]["kind"], "anon-zero");
    assert_eq!(lines[0]["region"], "[heap]");
    assert_eq!(lines[0]["offset"], "0x123");
    assert_eq!(lines[0]["ip_in"], "/bin/x");
    assert_eq!(lines[1].get("offset"), None);
    assert_eq!(lines[2]["tlb_flush"], "remote-ipi-send");
}

#[test]
fn a_full_disk_is_told_once() {
    let mut events = Events::new(io::Cursor::new([0_u8; 4]), Style::Text, 0);
    events.head();
    events.flush();
    assert_eq!(events.outcome().unwrap_err().kind(), io::ErrorKind::WriteZero);
    events.outcome().unwrap();
}

/// Lists faults and, beside it, what `format!` makes of them.
struct Both {
    events: Events<Vec<u8>>,
    plain: String,
}

impl Observer for Both {
    fn changed(&mut self) {
        self.events.changed();
    }

    fn fault(&mut self, fault: &Fault, kind: Kind, place: &Place, world: &World) {
        self.events.fault(fault, kind, place, world);
        let row = &world.rows()[place.row as usize];
        let process = world.known(fault.pid);
        let thread = world.thread(fault.tid).map(|thread| thread.comm);
        let comm = thread.or_else(|| process.map(|process| process.comm));
        let said = Said {
            time: fault.time.wrapping_sub(self.events.started),
            comm: comm.map_or("?", |comm| world.text(comm)),
            region: world.text(row.name),
            perm: String::from_utf8(names::permissions(row.nature).to_vec()).unwrap(),
            offset: (place.len > 0).then(|| fault.address - place.start),
            ip: process.and_then(|process| world.locate(process, fault.ip)),
        };
        self.plain.push_str(&match self.events.style {
            Style::Text => said.text(fault, kind),
            Style::Json => said.json(fault, kind),
        });
    }
}

struct Said<'a> {
    time: u64,
    comm: &'a str,
    region: &'a str,
    perm: String,
    offset: Option<u64>,
    ip: Option<(&'a str, u64)>,
}

impl Said<'_> {
    fn text(&self, fault: &Fault, kind: Kind) -> String {
        let (whole, rest) = (self.time / 1_000_000_000, self.time % 1_000_000_000);
        let ids = format!("{}/{}", fault.pid, fault.tid);
        let address = format!("{:#x}", fault.address);
        let offset = self.offset.map(|offset| format!("+{offset:#x}")).unwrap_or_default();
        let ip = match self.ip {
            _ if fault.ip == 0 => String::new(),
            Some((name, offset)) => format!("  {name}+{offset:#x}"),
            None => format!("  {:#x}", fault.ip),
        };
        let retries = match fault.retries {
            0 => String::new(),
            retries => format!("  retries {retries}"),
        };
        let Self { comm, region, perm, .. } = self;
        let (class, latency) = (kind.class(), fault.latency);
        format!(
            "{whole:>5}.{rest:09} {ids:<15} {comm:<16} {class:<7} {kind:<15} {latency:>11}  \
             {address:<18} {region}{offset} {perm}{ip}{retries}\n"
        )
    }

    fn json(&self, fault: &Fault, kind: Kind) -> String {
        let text = |text: &str| serde_json::to_string(text).unwrap();
        let offset = self.offset.map(|offset| format!(",\"offset\":\"{offset:#x}\""));
        let ip = (fault.ip != 0).then(|| format!(",\"ip\":\"{:#x}\"", fault.ip));
        let located = self.ip.filter(|_| fault.ip != 0).map(|(name, offset)| {
            format!(",\"ip_in\":{},\"ip_offset\":\"{offset:#x}\"", text(name))
        });
        format!(
            "{{\"time_ns\":{},\"pid\":{},\"tid\":{},\"comm\":{},\"class\":\"{}\",\"kind\":\"{kind}\",\
             \"latency_ns\":{},\"address\":\"{:#x}\",\"region\":{},\"perm\":\"{}\"{}{}{},\
             \"cpu\":{},\"retries\":{}}}\n",
            self.time,
            fault.pid,
            fault.tid,
            text(self.comm),
            kind.class(),
            fault.latency,
            fault.address,
            text(self.region),
            self.perm,
            offset.unwrap_or_default(),
            ip.unwrap_or_default(),
            located.unwrap_or_default(),
            fault.cpu,
            fault.retries,
        )
    }
}

/// Processes that come, go, are renamed and map over what was there, among
/// faults anywhere: whatever is kept of earlier lines must not show in later ones.
fn life(style: Style) -> Both {
    let both = Both { events: Events::new(Vec::new(), style, 1_000), plain: String::new() };
    let mut pipeline = Pipeline::observed(Options::default(), both);
    let mut numbers = synthetic::Numbers::new(7);
    for step in 0..20_000_u64 {
        let pid = u32::try_from(1 + numbers.below(5)).unwrap() << numbers.below(20);
        let tid = pid + u32::try_from(numbers.below(3)).unwrap();
        let start = (1 + numbers.below(4)) << 20;
        let name = [
            "",
            "[heap]",
            "/srv/\"quoted\"\\x",
            "/a/rather/long/path/that/no/piece/holds/as/a/whole/lib.so",
        ][usize::try_from(numbers.below(4)).unwrap()];
        match numbers.below(200) {
            0 => pipeline.rare(&encode(&Rare::Task(task(pid, tid, 1, &format!("t{step}"))))),
            1 => {
                let comm = synthetic::comm(&format!("renamed {step}"));
                let header = vmtrace_common::record::Header { tid, ..header(pid, step) };
                let rename = vmtrace_common::record::Rename { header, comm };
                pipeline.rare(&encode(&Rare::Rename(rename)));
            }
            2..6 => {
                let end = start + (numbers.below(3) << 19);
                let nature = if numbers.below(2) == 0 { ANON } else { synthetic::TEXT };
                let region = region(pid, start, end, nature, name);
                pipeline.rare(&encode(&Rare::Region(Box::new(region))));
            }
            _ => {}
        }
        let known = numbers.below(3) > 0;
        let fault = Fault {
            time: numbers.next() >> numbers.below(64),
            latency: numbers.next() >> numbers.below(64),
            address: start + numbers.below(1 << 20),
            ip: (numbers.below(5) << 20) + numbers.below(4),
            region: if known { start } else { 0 },
            nature: if known { ANON } else { 0 },
            retries: if numbers.below(9) == 0 { 200 } else { 0 },
            cpu: u16::try_from(numbers.below(300)).unwrap(),
            error: u16::try_from(numbers.below(4)).unwrap(),
            pid,
            tid,
            ..Fault::default()
        };
        pipeline.faults(&[fault; 2][..=usize::from(step % 3 == 0)]);
    }
    let Both { events, plain } = pipeline.observer_mut();
    Events::flush(events);
    let (out, plain) = (std::mem::take(&mut events.out), std::mem::take(plain));
    Both { events: Events::new(out, style, 0), plain }
}

#[test]
fn lines_are_what_format_would_make_of_them() {
    for style in [Style::Text, Style::Json] {
        let Both { events, plain } = life(style);
        let written = String::from_utf8(events.out).unwrap();
        for (written, plain) in written.lines().zip(plain.lines()) {
            assert_eq!(written, plain);
        }
        assert_eq!(written.len(), plain.len());
    }
}
