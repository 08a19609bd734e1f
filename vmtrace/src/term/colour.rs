//! Colours, and when not to use them.

use std::ffi::OsString;
use std::fmt;

/// What a piece of text is written with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ink {
    /// The terminal's own.
    #[default]
    Plain,
    /// Headings and the number that matters.
    Bold,
    /// What may be overlooked.
    Dim,
    /// Wrong, lost, about to be killed.
    Red,
    /// Well, free, protected.
    Green,
    /// Worth a look.
    Yellow,
    /// Files and what comes from them.
    Blue,
    /// Huge pages and other special kinds of memory.
    Magenta,
    /// Anonymous memory.
    Cyan,
}

impl Ink {
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("1"),
            Self::Dim => Some("2"),
            Self::Red => Some("31"),
            Self::Green => Some("32"),
            Self::Yellow => Some("33"),
            Self::Blue => Some("34"),
            Self::Magenta => Some("35"),
            Self::Cyan => Some("36"),
        }
    }
}

/// Whether the environment allows colours: <https://no-color.org>, and `TERM`
/// must not be `dumb`.
pub fn wanted(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    variable("NO_COLOR").is_none_or(|value| value.is_empty())
        && variable("TERM").is_none_or(|term| term != "dumb")
}

/// A value and its ink. Padding in the format applies to the value, so
/// alignment does not count the escape codes.
#[derive(Clone, Copy, Debug)]
pub struct Painted<T> {
    ink: Ink,
    value: T,
}

impl<T> Painted<T> {
    /// Paints `value`; `Ink::Plain` writes no codes.
    pub const fn new(ink: Ink, value: T) -> Self {
        Self { ink, value }
    }
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(code) = self.ink.code() else { return self.value.fmt(f) };
        write!(f, "\x1b[{code}m")?;
        self.value.fmt(f)?;
        f.write_str("\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_does_not_count_the_codes() {
        assert_eq!(format!("{:>4}", Painted::new(Ink::Red, 7)), "\x1b[31m   7\x1b[0m");
        assert_eq!(format!("{:>4}", Painted::new(Ink::Plain, 7)), "   7");
    }

    #[test]
    fn no_color_wins_unless_empty() {
        let with = |name: &'static str, value: &'static str| {
            wanted(move |asked| (asked == name).then(|| value.into()))
        };
        assert!(wanted(|_| None));
        assert!(!with("NO_COLOR", "1"));
        assert!(with("NO_COLOR", ""));
        assert!(!with("TERM", "dumb"));
        assert!(with("TERM", "xterm"));
    }
}
