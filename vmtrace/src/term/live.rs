//! A view that is drawn again and again: in place on a terminal, block after
//! block where it is piped.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::Screen;

/// Calls `draw` once, or once per interval until it says that there is nothing
/// more to see. Each drawing is written in one go, so a terminal never shows half.
pub fn repeat(
    every: Option<Duration>,
    mut draw: impl FnMut(&mut Vec<u8>, &Screen) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let mut next = Instant::now();
    let mut first = true;
    loop {
        let screen = Screen::of_stdout();
        let mut text = Vec::new();
        let more = draw(&mut text, &screen)?;
        put(&mut io::stdout().lock(), &text, every.and(screen.height), first)?;
        first = false;
        let Some(every) = every.filter(|_| more) else { return Ok(()) };
        next += every;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        // A look that took longer than the interval does not pile up.
        next = next.max(Instant::now());
    }
}

/// Writes one drawing; `height` is given where it replaces the one before.
fn put(out: &mut dyn Write, text: &[u8], height: Option<usize>, first: bool) -> io::Result<()> {
    let Some(height) = height else {
        if !first && text.first() != Some(&b'{') {
            out.write_all(b"\n")?;
        }
        out.write_all(text)?;
        return out.flush();
    };
    if first {
        out.write_all(b"\x1b[2J")?;
    }
    out.write_all(b"\x1b[H")?;
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate().take(height) {
        out.write_all(if index > 0 { b"\n" } else { b"" })?;
        out.write_all(line)?;
        out.write_all(b"\x1b[K")?;
    }
    out.write_all(b"\x1b[J")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_redrawn_within_its_height() {
        let mut out = Vec::new();
        put(&mut out, b"one\ntwo\nthree\n", Some(2), false).unwrap();
        assert_eq!(out, b"\x1b[Hone\x1b[K\ntwo\x1b[K\x1b[J");
    }

    #[test]
    fn a_pipe_gets_blocks_without_codes() {
        let mut out = Vec::new();
        put(&mut out, b"a\n", None, true).unwrap();
        put(&mut out, b"b\n", None, false).unwrap();
        put(&mut out, b"{}\n", None, false).unwrap();
        assert_eq!(out, b"a\n\nb\n{}\n");
    }
}
