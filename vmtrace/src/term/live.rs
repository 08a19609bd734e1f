//! A view that is drawn again and again: in place on a terminal, block after
//! block where it is piped.

use std::io::{self, BufWriter, Write};
use std::time::{Duration, Instant};

use super::Screen;

/// Calls `draw` once, or once per interval until it says that there is nothing
/// more to see. A drawing for a terminal is put there in one go, so that nobody
/// sees half of it; one for a pipe goes straight through, however long it is.
///
/// A reader that has seen enough and closed the pipe is no error.
pub fn repeat(
    every: Option<Duration>,
    draw: impl FnMut(&mut dyn Write, &Screen) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    match drawn(every, draw) {
        Err(error) if is_closed_pipe(&error) => Ok(()),
        other => other,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

fn drawn(
    every: Option<Duration>,
    mut draw: impl FnMut(&mut dyn Write, &Screen) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let mut next = Instant::now();
    let mut first = true;
    loop {
        let screen = Screen::of_stdout();
        let more = if let (Some(_), Some(height)) = (every, screen.height) {
            let mut text = Vec::new();
            let more = draw(&mut text, &screen)?;
            put(&mut io::stdout().lock(), &text, height, first)?;
            more
        } else {
            let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
            let more = draw(&mut out, &screen)?;
            out.flush()?;
            more
        };
        first = false;
        let Some(every) = every.filter(|_| more) else { return Ok(()) };
        next += every;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        // A look that took longer than the interval does not pile up.
        next = next.max(Instant::now());
    }
}

/// Puts one drawing over the one before.
fn put(out: &mut dyn Write, text: &[u8], height: usize, first: bool) -> io::Result<()> {
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
        put(&mut out, b"one\ntwo\nthree\n", 2, false).unwrap();
        assert_eq!(out, b"\x1b[Hone\x1b[K\ntwo\x1b[K\x1b[J");
    }
}
