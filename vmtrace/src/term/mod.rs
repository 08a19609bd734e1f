//! What text is written on: how wide it is, whether it takes colours, whether
//! it can be redrawn. Every text output of vmtrace goes through these rooms, so
//! that numbers, tables and hostile names look the same everywhere.

pub mod bar;
pub mod colour;
pub mod escape;
pub mod live;
pub mod table;
pub mod units;

use std::io::{self, IsTerminal as _};

use colour::{Ink, Painted};

/// The paper a text is written on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Columns that a line may take.
    pub width: usize,
    /// Lines of the terminal; `None` where there is no terminal.
    pub height: Option<usize>,
    /// Colours are wanted.
    pub colour: bool,
}

impl Screen {
    /// How wide text is where nothing says otherwise.
    pub const DEFAULT_WIDTH: usize = 100;

    /// Paper without colours and without a terminal.
    pub const fn plain(width: usize) -> Self {
        Self { width, height: None, colour: false }
    }

    /// Standard output as it is: a terminal's size and colours, or plain text.
    /// `COLUMNS` overrides the width, `NO_COLOR` and `TERM=dumb` take the
    /// colours away.
    pub fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let size = if terminal { terminal_size::terminal_size() } else { None };
        let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        let measured = size.map(|(terminal_size::Width(width), _)| usize::from(width));
        Self {
            width: columns.or(measured).filter(|&width| width > 0).unwrap_or(Self::DEFAULT_WIDTH),
            height: size.map(|(_, terminal_size::Height(height))| usize::from(height)),
            colour: terminal && colour::wanted(|name| std::env::var_os(name)),
        }
    }

    /// Whether a live view may redraw in place.
    pub const fn is_terminal(&self) -> bool {
        self.height.is_some()
    }

    /// A value in an ink, or bare where colours are not wanted.
    pub const fn paint<T>(&self, ink: Ink, value: T) -> Painted<T> {
        Painted::new(if self.colour { ink } else { Ink::Plain }, value)
    }
}
