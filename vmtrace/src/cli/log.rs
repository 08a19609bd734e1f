//! The kernel side's own words, under `-v`.

use std::cell::RefCell;
use std::io::{self, Write as _};

use aya_log::EbpfLogger;

use crate::probe::session::Session;

/// Prints what the programs log.
pub(super) struct KernelLog(Option<RefCell<EbpfLogger<Stderr>>>);

impl KernelLog {
    /// Of a session's programs, where it is wanted.
    pub(super) fn of(session: &mut Session, wanted: bool) -> anyhow::Result<Self> {
        let logger =
            wanted.then(|| EbpfLogger::init_with_logger(session.ebpf(), Stderr)).transpose()?;
        Ok(Self(logger.map(RefCell::new)))
    }

    /// Prints what has come.
    pub(super) fn flush(&self) {
        if let Some(logger) = &self.0 {
            logger.borrow_mut().flush();
        }
    }
}

/// One line a record.
struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        // A closed standard error leaves nobody to tell.
        let _ = writeln!(io::stderr(), "vmtrace: kernel: {}", record.args());
    }

    fn flush(&self) {}
}
