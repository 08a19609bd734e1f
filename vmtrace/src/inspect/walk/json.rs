//! A walk as JSON, schema `vmtrace.walk/1`.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::address::Level;
use super::entry::{bits, decode};
use super::look::Walk;

/// The name of the schema.
pub const SCHEMA: &str = "vmtrace.walk/1";

/// Writes a walk on one line.
pub fn write(out: &mut dyn Write, walk: &Walk) -> io::Result<()> {
    let address = walk.address;
    let indexes = address.levels().map(|level| (level.name().to_lowercase(), address.index(level)));
    let indexes: serde_json::Map<String, Value> =
        indexes.map(|(name, index)| (name, index.into())).collect();
    let document = json!({
        "schema": SCHEMA,
        "pid": walk.pid,
        "comm": walk.comm,
        "address": format!("{:#x}", address.value),
        "half": address.half(),
        "levels": if address.five { 5 } else { 4 },
        "indexes": indexes,
        "offset": address.offset(Level::Pte),
        "region": walk.region,
        "entries": walk.entries.as_ref().map(|entries| {
            Level::ALL.map(|level| match entries.at(level) {
                Err(why) => json!({ "level": level, "unread": why }),
                Ok(raw) => json!({
                    "level": level,
                    "raw": format!("{raw:#x}"),
                    "means": decode(level, raw, &walk.types),
                    "bits": bits(level, raw),
                }),
            })
        }),
        "pagemap": walk.pagemap.map(|word| format!("{:#x}", word.0)),
        "page": walk.page,
        "frame": walk.frame,
        "verdicts": walk.verdicts,
        "unseen": walk.unseen,
    });
    writeln!(out, "{document}")
}
