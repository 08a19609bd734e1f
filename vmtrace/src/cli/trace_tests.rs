//! Every option changes the request; every contradiction is told.

use clap::Parser as _;

use super::*;
use crate::cli::Cli;
use crate::fault::{Class, Kind, Kinds};
use crate::tally::By;

fn parsed(line: &str) -> Result<Request, String> {
    let words = std::iter::once("vmtrace").chain(line.split_whitespace());
    let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
    cli.trace.request().map_err(|error| format!("{error:#}"))
}

fn usual() -> Request {
    parsed("-p 1").unwrap()
}

#[test]
fn targets() {
    assert_eq!(parsed("-p 1,2 -p 2,3").unwrap().target, Target::Pids(vec![1, 2, 3]));
    assert_eq!(parsed("-a").unwrap().target, Target::All);
    assert_eq!(parsed("--cgroup /x").unwrap().target, Target::Cgroup("/x".into()));
    let command = parsed("-d 1s -- ls -l -a").unwrap();
    assert_eq!(command.target, Target::Command(vec!["ls".into(), "-l".into(), "-a".into()]));
}

/// What an option does to the usual request.
type Change = fn(&mut Request);

#[test]
fn every_option_does_something() {
    let changes: &[(&str, Change)] = &[
        ("-d 10s", |request| request.duration = Some(Duration::from_secs(10))),
        ("--duration 1.5m", |request| request.duration = Some(Duration::from_secs(90))),
        ("-i 250ms", |request| request.interval = Some(Duration::from_millis(250))),
        ("--class cow", |request| request.view.kinds = Kinds::NONE.with_class(Class::Cow)),
        ("--kind oom,null", |request| {
            request.view.kinds = Kinds::NONE.with(Kind::Oom).with(Kind::Null);
        }),
        ("--class cow --kind cow-zero", |request| {
            request.view.kinds = Kinds::NONE.with(Kind::CowZero);
        }),
        ("--min-latency 100us", |request| request.view.min_latency = 100_000),
        ("--by thread", |request| request.view.by = By::Thread),
        ("--top 3", |request| request.view.top = Some(3)),
        ("--events", |request| request.view.events = true),
        ("--format json", |request| request.view.format = Format::Json),
        ("-o x.vmt", |request| request.output = Some("x.vmt".into())),
        ("-o x.vmt --force --max-size 5M", |request| {
            request.output = Some("x.vmt".into());
            request.force = true;
            request.max_size = Some(5 << 20);
        }),
        ("--backend kprobe", |request| request.backend = Some(Backend::Kprobe)),
        ("--backend auto", |_| {}),
        ("--ring-size 64K", |request| request.ring_size = 64 << 10),
        ("--no-follow", |request| request.follow = false),
        ("--tally", |request| request.tally = true),
        ("-v", |request| request.verbose = true),
    ];
    for (option, change) in changes {
        let mut expected = usual();
        change(&mut expected);
        assert_eq!(parsed(&format!("-p 1 {option}")), Ok(expected), "{option}");
    }
}

#[test]
fn contradictions_and_follies_are_told() {
    let follies = [
        ("-d 1s", "say what to trace"),
        ("-p 1 -a", "exclude each other"),
        ("-a -- ls", "exclude each other"),
        ("-p 0", "0 is no process"),
        ("-p x", "invalid value 'x'"),
        ("-p 1 -d 0", "--duration 0"),
        ("-p 1 -d 3 -i 5", "--interval is longer"),
        ("-p 1 -i 1ms", "at least 50ms"),
        ("-p 1 -i 1 --events", "drop --interval"),
        ("-p 1 -i 1 --format json", "drop --interval"),
        ("-p 1 --events --by cpu", "--by counts"),
        ("-p 1 --events --top 3", "--top cuts"),
        ("-p 1 --top 0", "--top 0"),
        ("-p 1 --min-latency 0", "--min-latency 0"),
        ("-p 1 --class blue", "there is no class `blue`"),
        ("-p 1 --kind blue", "there is no kind `blue`"),
        ("-p 1 --by blue", "nothing is counted by `blue`"),
        ("-p 1 --class major --kind cow-copy", "which --class leaves out"),
        ("-p 1 --force", "--output"),
        ("-p 1 --max-size 5M", "--output"),
        ("-p 1 -o x --max-size 5K", "at least 1M"),
        ("-p 1 --ring-size 1", "between 4K and 1G"),
        ("-p 1 --backend magic", "invalid value 'magic'"),
        ("-a --no-follow", "--no-follow is for"),
        ("-p 1 --tally --events", "--tally sends no single faults"),
        ("-p 1 --tally -o x", "--tally sends no single faults"),
        ("-p 1 --tally --by ip", "--tally counts by"),
        ("-p 1 completions bash", "unexpected argument"),
    ];
    for (line, told) in follies {
        let error = parsed(line).expect_err(line);
        assert!(error.contains(told), "{line}: {error}");
    }
}

#[test]
fn only_major_is_left_to_the_kernel() {
    assert!(parsed("-p 1 --class major").unwrap().view.only_major());
    assert!(parsed("-p 1 --kind file-read").unwrap().view.only_major());
    assert!(!usual().view.only_major());
    assert!(!parsed("-p 1 --class major,cow").unwrap().view.only_major());
}

#[test]
fn nothing_is_written_over() {
    let folder = std::env::temp_dir().join(format!("vmtrace-output-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("x.vmt");
    create(&path, false).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(create(&path, false).unwrap_err().to_string().contains("--force"));
    create(&path, true).unwrap();
    let victim = folder.join("victim");
    fs::write(&victim, "precious").unwrap();
    let link = folder.join("link");
    std::os::unix::fs::symlink(&victim, &link).unwrap();
    create(&link, true).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert!(create(&folder, true).unwrap_err().to_string().contains("is a folder"));
    assert!(format!("{:#}", create(&folder.join("no/x"), false).unwrap_err()).contains("creating"));
    fs::remove_dir_all(&folder).unwrap();
}
