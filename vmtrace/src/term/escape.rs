//! Names that come from a traced process are hostile: a comm may carry a
//! terminal's control codes, a path a right-to-left override. Nothing reaches a
//! terminal or a file before it went through here.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Text that a terminal can be shown. Control characters become `\x1b`,
/// characters that reorder or hide others become `\u{202e}`; the rest stays.
pub fn text(raw: &str) -> Cow<'_, str> {
    if !raw.chars().any(is_hostile) {
        return Cow::Borrowed(raw);
    }
    let mut safe = String::with_capacity(raw.len() + 8);
    for character in raw.chars() {
        let code = u32::from(character);
        // Writing to a String cannot fail.
        let _ = match character {
            '\n' => write!(safe, "\\n"),
            '\t' => write!(safe, "\\t"),
            _ if !is_hostile(character) => write!(safe, "{character}"),
            _ if code < 0x100 => write!(safe, "\\x{code:02x}"),
            _ => write!(safe, "\\u{{{code:x}}}"),
        };
    }
    Cow::Owned(safe)
}

/// Bytes that claim to be text: what is not UTF-8 becomes `\xff`.
pub fn bytes(raw: &[u8]) -> String {
    let mut safe = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        safe.push_str(&text(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(safe, "\\x{byte:02x}");
        }
    }
    safe
}

fn is_hostile(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{200b}'..='\u{200f}' // zero width, direction marks
            | '\u{2028}'..='\u{202e}' // separators, direction overrides
            | '\u{2060}'..='\u{206f}' // invisible operators, isolates
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}') // tags
}

/// Columns that a text takes.
pub fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(columns).sum() }
}

/// The East Asian wide blocks and emoji, roughly: enough to keep a table
/// straight, without a table of Unicode.
fn columns(character: char) -> usize {
    match character {
        '\u{300}'..='\u{36f}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// At most `limit` columns of a text, its end cut off.
pub fn fit(text: &str, limit: usize) -> Cow<'_, str> {
    if width(text) <= limit {
        return Cow::Borrowed(text);
    }
    let mut kept = head(text, limit.saturating_sub(1)).to_owned();
    if limit > 0 {
        kept.push('…');
    }
    Cow::Owned(kept)
}

/// At most `limit` columns of a path: its middle goes, its end, which tells it
/// from its neighbours, stays. What is no path loses its end.
pub fn fit_path(path: &str, limit: usize) -> Cow<'_, str> {
    if width(path) <= limit || limit < 8 || !path.contains('/') {
        return fit(path, limit);
    }
    let room = limit - 1;
    let front = head(path, room / 3);
    let back = tail(path, room - width(front));
    Cow::Owned(format!("{front}…{back}"))
}

/// A sentence in lines of at most `limit` columns, broken between words.
pub fn wrap(text: &str, limit: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut line = head(rest, limit.max(1));
        if line.len() < rest.len() && !rest[line.len()..].starts_with(' ') {
            line = &line[..line.rfind(' ').filter(|&at| at > 0).unwrap_or(line.len())];
        }
        rest = rest[line.len()..].trim_start();
        Some(line)
    })
}

/// Facts set apart by dots, in lines of at most `limit` columns, broken between facts.
pub fn flow<S: AsRef<str>>(facts: &[S], limit: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for fact in facts.iter().map(AsRef::as_ref) {
        match lines.last_mut() {
            Some(line) if width(line) + 3 + width(fact) <= limit => {
                line.push_str(" · ");
                line.push_str(fact);
            }
            _ => lines.push(fact.to_owned()),
        }
    }
    lines
}

fn head(text: &str, limit: usize) -> &str {
    let mut used = 0;
    for (index, character) in text.char_indices() {
        used += columns(character);
        if used > limit {
            return &text[..index];
        }
    }
    text
}

fn tail(text: &str, limit: usize) -> &str {
    let mut used = 0;
    for (index, character) in text.char_indices().rev() {
        used += columns(character);
        if used > limit {
            return &text[index + character.len_utf8()..];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        assert!(matches!(text("redis-server"), Cow::Borrowed(_)));
        assert_eq!(text("a\x1b[2Jb\n"), "a\\x1b[2Jb\\n");
        assert_eq!(text("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
        assert_eq!(text("\u{9b}31m"), "\\x9b31m");
        assert_eq!(bytes(b"ok\xff\x07"), "ok\\xff\\x07");
        assert_eq!(bytes("naïve 名".as_bytes()), "naïve 名");
    }

    #[test]
    fn sentences_break_between_words() {
        let lines = |limit| wrap("one two three", limit).collect::<Vec<_>>();
        assert_eq!(lines(7), ["one two", "three"]);
        assert_eq!(lines(6), ["one", "two", "three"]);
        assert_eq!(lines(4), ["one", "two", "thre", "e"]);
        assert_eq!(lines(80), ["one two three"]);
    }

    #[test]
    fn facts_stay_whole() {
        assert_eq!(flow(&["a b", "c d", "e"], 9), ["a b · c d", "e"]);
        assert_eq!(flow::<&str>(&[], 9), Vec::<String>::new());
    }

    #[test]
    fn widths_and_cuts() {
        assert_eq!(width("名前"), 4);
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("名前名前", 4), "名…");
        assert_eq!(fit("abc", 3), "abc");
        assert_eq!(fit("abc", 0), "");
        let path = "/usr/lib/x86_64-linux-gnu/libc.so.6";
        assert_eq!(fit_path(path, 20), "/usr/l…gnu/libc.so.6");
        assert_eq!(width(&fit_path(path, 20)), 20);
    }
}
