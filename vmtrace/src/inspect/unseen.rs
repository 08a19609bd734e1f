//! What could not be read, and why. A missing value is shown as `–` where it
//! belongs, and its reason once, at the end.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

use crate::term::Screen;
use crate::term::colour::Ink;
use crate::term::escape;

/// One thing that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// What is missing from the picture.
    pub what: String,
    /// Why.
    pub why: String,
}

/// Everything that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Unseen {
    reasons: Vec<Reason>,
}

impl Unseen {
    /// Notes a reason, once.
    pub fn note(&mut self, what: impl Into<String>, why: impl Display) {
        let reason = Reason { what: what.into(), why: why.to_string() };
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// The value, or a note about why there is none.
    pub fn keep<T, E: Display>(&mut self, what: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.note(what, error)).ok()
    }

    /// The reasons, in the order in which they were met.
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }

    /// Writes the reasons below everything else.
    pub fn write(&self, out: &mut dyn Write, screen: &Screen) -> io::Result<()> {
        if self.reasons.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{}", screen.paint(Ink::Dim, "not shown (–)"))?;
        for Reason { what, why } in &self.reasons {
            let line = format!("{}: {}", escape::text(what), escape::text(why));
            for (index, part) in escape::wrap(&line, screen.width.saturating_sub(4)).enumerate() {
                let indent = if index == 0 { "  " } else { "    " };
                writeln!(out, "{indent}{}", screen.paint(Ink::Dim, part))?;
            }
        }
        Ok(())
    }
}
