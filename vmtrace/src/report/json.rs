//! The report as one JSON object: `vmtrace.report/1`.

use std::io::{self, Write};

use super::Summary;
use super::summary::Limits;

/// How much JSON holds unless `--top` says otherwise; `…_total` says how much
/// there was.
pub const LIMITS: Limits = Limits { processes: 1000, regions: 100 };

/// Writes it, followed by a newline.
pub fn write(out: &mut dyn Write, summary: &Summary) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, summary)?;
    out.write_all(b"\n")
}
