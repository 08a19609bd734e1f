//! The machine's memory as JSON, schema `vmtrace.system/1`. Amounts are bytes,
//! rates are per second.

use std::io::{self, Write};

use serde_json::json;

use super::look::Memory;
use super::rates::Rates;
use super::verdict::Verdict;

/// The name of the schema.
pub const SCHEMA: &str = "vmtrace.system/1";

/// Writes the machine's memory on one line.
pub fn write(
    out: &mut dyn Write,
    memory: &Memory,
    rates: &Rates,
    verdict: &Verdict,
    malloc: Option<u64>,
) -> io::Result<()> {
    let document = json!({
        "schema": SCHEMA,
        "memory": memory,
        "largest_allocation": memory.overcommit.largest(),
        "allocation": malloc.map(|size| json!({ "size": size, "answer": memory.overcommit.ask(size) })),
        "rates": rates,
        "verdict": verdict,
    });
    writeln!(out, "{document}")
}
