//! Where records become output: the pipeline and what is written of it, driven
//! by a live session or by a recording.

use std::io::{self, Write};

use vmtrace_common::record::Fault;

use super::view::{Format, View};
use crate::pipeline::Pipeline;
use crate::preface::Preface;
use crate::report::events::{Events, Style};
use crate::report::live::{Live, Stage};
use crate::report::{Summary, json, text};
use crate::stream::{Lacks, Sink};
use crate::term::Screen;

/// What is written while records still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meanwhile {
    /// Nothing.
    Nothing,
    /// A block an interval.
    Blocks,
    /// A view redrawn in place.
    Redraw,
}

/// Takes records, and writes what was asked for.
#[derive(Debug)]
pub struct Show {
    flow: Flow,
    preface: Preface,
    view: View,
    live: Live,
    meanwhile: Meanwhile,
    stage: Option<Stage<io::Stdout>>,
}

#[derive(Debug)]
enum Flow {
    Counted(Box<Pipeline>),
    Listed(Box<Pipeline<Events<io::Stdout>>>),
}

/// Regions that a live view lists.
const MOVERS: usize = 10;

impl Show {
    /// Ready for records that were made under these circumstances.
    pub fn new(view: &View, preface: &Preface, meanwhile: Meanwhile) -> Self {
        let options = view.options(preface);
        let flow = if view.events {
            let style = match view.format {
                Format::Text => Style::Text,
                Format::Json => Style::Json,
            };
            let mut events = Events::new(io::stdout(), style, preface.started_ns);
            events.head();
            if view.evidence {
                events.tell_evidence();
            }
            Flow::Listed(Box::new(Pipeline::observed(options, events)))
        } else {
            Flow::Counted(Box::new(Pipeline::new(options)))
        };
        Self {
            flow,
            preface: preface.clone(),
            view: view.clone(),
            live: Live::new(preface.started_ns, view.top.unwrap_or(MOVERS)),
            meanwhile,
            stage: None,
        }
    }

    /// Hands over the lines that have come together: after each drain.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.flow {
            Flow::Counted(_) => Ok(()),
            Flow::Listed(pipeline) => {
                let events = pipeline.observer_mut();
                Events::flush(events);
                events.outcome()
            }
        }
    }

    /// An interval is over, at `now_ns` of the records' clock.
    pub fn interval(&mut self, now_ns: u64) -> io::Result<()> {
        let Flow::Counted(pipeline) = &self.flow else { return Ok(()) };
        if self.meanwhile == Meanwhile::Nothing {
            return Ok(());
        }
        let screen = Screen::of_stdout();
        let mut block = Vec::new();
        self.live.look(&mut block, &screen, pipeline, &self.preface, now_ns)?;
        let Some(height) = screen.height.filter(|_| self.meanwhile == Meanwhile::Redraw) else {
            block.push(b'\n');
            let mut out = io::stdout().lock();
            out.write_all(&block)?;
            return out.flush();
        };
        let stage = match &mut self.stage {
            Some(stage) => stage,
            none => none.insert(Stage::enter(io::stdout())?),
        };
        stage.draw(&block, height)
    }

    /// The numbers so far.
    pub fn summary(&self) -> Summary {
        let limits = self.view.limits();
        match &self.flow {
            Flow::Counted(pipeline) => Summary::of(pipeline, &self.preface, limits),
            Flow::Listed(pipeline) => Summary::of(pipeline, &self.preface, limits),
        }
    }

    /// No more records come: gives the terminal back and writes the report.
    /// Where faults were listed, only what is missing is said, on `errors`.
    pub fn finish(mut self, errors: &mut dyn Write) -> io::Result<()> {
        self.stage = None;
        self.flush()?;
        let summary = self.summary();
        if self.view.events {
            for reason in &summary.accounting.incomplete_because {
                writeln!(errors, "vmtrace: the list is not complete: {reason}")?;
            }
            return Ok(());
        }
        let mut out = io::BufWriter::new(io::stdout().lock());
        match self.view.format {
            Format::Text => text::write(&mut out, &Screen::of_stdout(), &summary)?,
            Format::Json => json::write(&mut out, &summary)?,
        }
        out.flush()
    }
}

impl Sink for Show {
    fn lacks(&mut self, lacks: Lacks) {
        match &mut self.flow {
            Flow::Counted(pipeline) => pipeline.lacks(lacks),
            Flow::Listed(pipeline) => pipeline.lacks(lacks),
        }
    }

    fn faults(&mut self, faults: &[Fault]) {
        match &mut self.flow {
            Flow::Counted(pipeline) => pipeline.faults(faults),
            Flow::Listed(pipeline) => pipeline.faults(faults),
        }
    }

    fn rare(&mut self, record: &[u8]) {
        match &mut self.flow {
            Flow::Counted(pipeline) => pipeline.rare(record),
            Flow::Listed(pipeline) => pipeline.rare(record),
        }
    }
}
