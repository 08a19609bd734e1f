//! scratch
use std::collections::BTreeMap;
use vmtrace::decode::*;
use vmtrace::probe::session::*;
use vmtrace::probe::target::*;
use vmtrace::stream::Sink;
use vmtrace_common::record::Fault;
struct S {
    n: BTreeMap<(u32, String), u64>,
    rare: BTreeMap<u16, u64>,
    c: vmtrace::classify::Classifier,
    totals: Vec<vmtrace_common::record::Totals>,
    v: bool,
}
impl Sink for S {
    fn faults(&mut self, f: &[Fault]) {
        for x in f {
            let k = self
                .c
                .learn(x, vmtrace::classify::Surroundings { nature: x.nature, below_stack: false });
            if self.v {
                println!("{x:x?} {k:?}");
            }
            *self.n.entry((x.pid, format!("{k:?}"))).or_default() += 1;
        }
    }
    fn rare(&mut self, r: &[u8]) {
        let h = header(r).unwrap();
        *self.rare.entry(h.tag).or_default() += 1;
        match rare(r).unwrap() {
            Rare::Totals(t) => self.totals.push(t),
            Rare::Region(x) => {
                if self.v {
                    println!(
                        "REGION {} {:x}-{:x} nat {:x} naming {} {:?}",
                        x.header.pid,
                        x.start,
                        x.end,
                        x.nature,
                        x.naming,
                        String::from_utf8_lossy(&x.name[..x.name_len as usize])
                    )
                }
            }
            Rare::Counters(c) => println!("{c:?}"),
            o => {
                if self.v {
                    println!("{o:?}")
                }
            }
        }
    }
}
fn main() {
    let mut args = std::env::args_os().skip(1);
    let be = args.next().unwrap();
    let cmd: Vec<_> = args.collect();
    let (tx, rx) = std::sync::mpsc::channel();
    let mut held = vmtrace::sys::held::Held::start(&cmd, move || {
        let _ = tx.send(());
    })
    .unwrap();
    let mut o = Options::new(Target::Pids(vec![held.pid()]));
    o.backend = match be.to_str().unwrap() {
        "fentry" => Some(vmtrace::probe::backend::Backend::Fentry),
        "kprobe" => Some(vmtrace::probe::backend::Backend::Kprobe),
        "tracepoint" => Some(vmtrace::probe::backend::Backend::Tracepoint),
        _ => None,
    };
    let t = std::time::Instant::now();
    let mut s = Session::start(&o).unwrap();
    println!("started in {:?}", t.elapsed());
    for a in s.attempts() {
        println!("{:?} {:?}", a.program.name, a.outcome);
    }
    println!("{:?}", s.preface().degradations);
    let mut k = S {
        n: BTreeMap::new(),
        rare: BTreeMap::new(),
        c: vmtrace::classify::Classifier::new(true),
        totals: vec![],
        v: false,
    };
    k.v = std::env::var_os("V").is_some();
    held.release().unwrap();
    while rx.recv_timeout(std::time::Duration::from_millis(20)).is_err() {
        s.drain(&mut k);
    }
    println!("{:?}", held.wait());
    s.stop(&mut k);
    println!("{:#?} {:?}", k.n, k.rare);
    let mut sum = (0, 0, 0, 0, 0, 0);
    for t in &k.totals {
        sum.0 += t.min_flt;
        sum.1 += t.maj_flt;
        sum.2 += t.seen;
        sum.3 += t.emitted;
        sum.4 += t.spilled;
        sum.5 += t.stale + t.lost;
    }
    println!(
        "min {} maj {} seen {} emitted {} spilled {} stale/lost {}",
        sum.0, sum.1, sum.2, sum.3, sum.4, sum.5
    );
}
