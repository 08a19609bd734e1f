//! `--output`: the recording beside what is shown, from the file's creation to
//! the word on what is in it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use vmtrace_common::record::Fault;

use super::show::Show;
use super::trace::Request;
use crate::preface::Preface;
use crate::recording::Recorder;
use crate::stream::Sink;
use crate::term::escape;
use crate::term::units::{bytes, count};

/// The file that was asked for, before there is something to write.
#[derive(Debug)]
pub(super) struct Tape(Option<(PathBuf, File)>);

impl Tape {
    /// Makes the file.
    pub(super) fn create(request: &Request) -> anyhow::Result<Self> {
        let file = request.create_output()?;
        Ok(Self(request.output.clone().zip(file)))
    }

    /// Begins to record.
    pub(super) fn beside(
        mut self,
        show: Show,
        preface: &Preface,
        max_size: Option<u64>,
    ) -> anyhow::Result<Takers> {
        let Some((path, file)) = self.0.take() else {
            return Ok(Takers { show, recorder: None, newest: false });
        };
        let path = escape::text(&path.to_string_lossy()).into_owned();
        let recorder =
            Recorder::start(file, preface, max_size).with_context(|| format!("writing {path}"))?;
        Ok(Takers { show, recorder: Some((path, recorder)), newest: max_size.is_some() })
    }
}

impl Drop for Tape {
    /// Nothing came to be written: an empty file helps nobody.
    fn drop(&mut self) {
        if let Some((path, _)) = self.0.take() {
            // What led here is the error to tell.
            let _ = fs::remove_file(path);
        }
    }
}

/// All that take the session's records.
#[derive(Debug)]
pub(super) struct Takers {
    pub(super) show: Show,
    recorder: Option<(String, Recorder)>,
    /// The recording is bounded.
    newest: bool,
}

impl Takers {
    /// Hands over what was shown, and what has waited to be written.
    pub(super) fn after_drain(&mut self, errors: &mut dyn Write) -> io::Result<()> {
        self.show.flush()?;
        let Some((path, recorder)) = &mut self.recorder else { return Ok(()) };
        recorder.tick();
        let faults = recorder.written();
        let Some(why) = recorder.trouble() else { return Ok(()) };
        writeln!(
            errors,
            "vmtrace: recording to {path} stopped: {why}; the {} faults in it can be read, and the trace goes on",
            count(faults)
        )
    }

    /// Ends the recording and says what is in it.
    pub(super) fn finish_recording(self, errors: &mut dyn Write) -> io::Result<Show> {
        let Some((path, recorder)) = self.recorder else { return Ok(self.show) };
        let told = recorder.finish();
        let (faults, size) = (count(told.faults), bytes(told.bytes));
        let part = if self.newest { ", which keeps the newest" } else { "" };
        writeln!(errors, "vmtrace: recorded {faults} faults in {path} ({size}){part}")?;
        if told.lost > 0 {
            let lost = count(told.lost);
            writeln!(
                errors,
                "vmtrace: {lost} faults are not in it: the disk was too slow for them"
            )?;
        }
        if told.lost_records > 0 {
            let lost = count(told.lost_records);
            writeln!(errors, "vmtrace: {lost} records of processes or regions are not in it")?;
        }
        if let Some(why) = told.failed {
            writeln!(errors, "vmtrace: it ends early: {why}")?;
        }
        Ok(self.show)
    }
}

impl Sink for Takers {
    fn faults(&mut self, faults: &[Fault]) {
        self.show.faults(faults);
        if let Some((_, recorder)) = &mut self.recorder {
            recorder.faults(faults);
        }
    }

    fn rare(&mut self, record: &[u8]) {
        self.show.rare(record);
        if let Some((_, recorder)) = &mut self.recorder {
            recorder.rare(record);
        }
    }
}
