//! The fields of `oom:mark_victim`, which grew in 6.9 and in stable kernels
//! before it: read from the event's own format.

use std::fs;

use vmtrace_common::config::VictimFields;

const FORMATS: [&str; 2] = [
    "/sys/kernel/tracing/events/oom/mark_victim/format",
    "/sys/kernel/debug/tracing/events/oom/mark_victim/format",
];

/// The running kernel's.
pub fn fields() -> VictimFields {
    FORMATS.iter().find_map(|path| fs::read_to_string(path).ok()).map_or(
        // The one field that was always there, at its place since 4.14.
        VictimFields { pid: 8, ..VictimFields::ABSENT },
        |format| parse(&format),
    )
}

/// Reads `field:TYPE NAME; offset:N; …` lines.
fn parse(format: &str) -> VictimFields {
    let mut fields = VictimFields::ABSENT;
    for line in format.lines() {
        let Some((name, offset)) = field(line) else { continue };
        match name {
            "pid" => fields.pid = offset,
            "comm" => fields.comm = offset,
            "total_vm" => fields.total_vm = offset,
            "anon_rss" => fields.anon_rss = offset,
            "file_rss" => fields.file_rss = offset,
            "shmem_rss" => fields.shmem_rss = offset,
            "uid" => fields.uid = offset,
            "pgtables" => fields.pgtables = offset,
            "oom_score_adj" => fields.oom_score_adj = offset,
            _ => {}
        }
    }
    fields
}

fn field(line: &str) -> Option<(&str, u32)> {
    let mut parts = line.trim().strip_prefix("field:")?.split(';');
    let name = parts.next()?.split_ascii_whitespace().last()?;
    let offset = parts.next()?.trim().strip_prefix("offset:")?;
    Some((name, offset.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use vmtrace_common::config::ABSENT;

    use super::*;

    const OLD: &str = "name: mark_victim\nID: 1\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:int pid;\toffset:8;\tsize:4;\tsigned:1;\n";
    const NEW: &str = "\tfield:int pid;\toffset:8;\tsize:4;\tsigned:1;\n\
        \tfield:__data_loc char[] comm;\toffset:12;\tsize:4;\tsigned:0;\n\
        \tfield:unsigned long total_vm;\toffset:16;\tsize:8;\tsigned:0;\n\
        \tfield:short oom_score_adj;\toffset:64;\tsize:2;\tsigned:1;\n";

    #[test]
    fn knows_both_forms() {
        assert_eq!(parse(OLD), VictimFields { pid: 8, ..VictimFields::ABSENT });
        let new = parse(NEW);
        assert_eq!((new.pid, new.comm, new.total_vm, new.oom_score_adj), (8, 12, 16, 64));
        assert_eq!(new.uid, ABSENT);
    }
}
