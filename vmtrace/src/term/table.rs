//! Aligned columns. A small table measures itself ([`Table`]); one of sixty
//! thousand rows is written row by row under a [`Layout`] whose widths are
//! known beforehand, so that it is never held in memory.

use std::borrow::Cow;
use std::io::{self, Write};

use super::Screen;
use super::colour::Ink;
use super::escape;

/// Which side a column's text keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// How a column gives way where the line is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shrink {
    /// It does not.
    Never,
    /// Its end is cut off.
    End,
    /// Its middle is cut out, as of a path.
    Middle,
}

/// One column.
#[derive(Clone, Debug)]
pub struct Column {
    head: Cow<'static, str>,
    align: Align,
    shrink: Shrink,
    width: usize,
}

impl Column {
    /// A column of words.
    pub fn left(head: impl Into<Cow<'static, str>>) -> Self {
        Self { head: head.into(), align: Align::Left, shrink: Shrink::Never, width: 0 }
    }

    /// A column of numbers.
    pub fn right(head: impl Into<Cow<'static, str>>) -> Self {
        Self { align: Align::Right, ..Self::left(head) }
    }

    /// At least this wide.
    #[must_use]
    pub const fn width(mut self, width: usize) -> Self {
        self.width = width;
        self
    }

    /// Gives way in this manner.
    #[must_use]
    pub const fn shrink(mut self, shrink: Shrink) -> Self {
        self.shrink = shrink;
        self
    }
}

/// One cell: its text and its ink.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: Cow<'static, str>,
    ink: Ink,
}

impl Cell {
    /// A cell in an ink.
    pub fn new(ink: Ink, text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), ink }
    }
}

impl<T: Into<Cow<'static, str>>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(Ink::Plain, text)
    }
}

/// Columns with widths that no longer change.
#[derive(Clone, Debug)]
pub struct Layout {
    columns: Vec<Column>,
    indent: usize,
}

impl Layout {
    /// Fits the columns to the screen: those that may shrink share what is left.
    pub fn new(mut columns: Vec<Column>, indent: usize, screen: &Screen) -> Self {
        for column in &mut columns {
            column.width = column.width.max(escape::width(&column.head));
        }
        let gaps = columns.len().saturating_sub(1) * 2;
        let total = indent + gaps + columns.iter().map(|column| column.width).sum::<usize>();
        let mut excess = total.saturating_sub(screen.width);
        for column in columns.iter_mut().rev().filter(|column| column.shrink != Shrink::Never) {
            let given = excess.min(column.width.saturating_sub(12));
            column.width -= given;
            excess -= given;
        }
        Self { columns, indent }
    }

    /// Writes the columns' heads.
    pub fn head(&self, out: &mut dyn Write, screen: &Screen) -> io::Result<()> {
        let heads = self.columns.iter().map(|column| Cell::new(Ink::Dim, column.head.clone()));
        self.row(out, screen, &heads.collect::<Vec<_>>())
    }

    /// Writes one row.
    pub fn row(&self, out: &mut dyn Write, screen: &Screen, cells: &[Cell]) -> io::Result<()> {
        write!(out, "{:1$}", "", self.indent)?;
        let last = cells.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or(0);
        for (index, (column, cell)) in self.columns.iter().zip(cells).enumerate().take(last + 1) {
            let text = match column.shrink {
                Shrink::Never => Cow::Borrowed(&*cell.text),
                Shrink::End => escape::fit(&cell.text, column.width),
                Shrink::Middle => escape::fit_path(&cell.text, column.width),
            };
            let padding = column.width.saturating_sub(escape::width(&text));
            if index > 0 {
                write!(out, "  ")?;
            }
            if column.align == Align::Right {
                write!(out, "{:padding$}", "")?;
            }
            write!(out, "{}", screen.paint(cell.ink, text))?;
            if column.align == Align::Left && index < last {
                write!(out, "{:padding$}", "")?;
            }
        }
        writeln!(out)
    }
}

/// Columns and rows.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

impl Table {
    /// An empty table, moved in by `indent` columns.
    pub const fn new(columns: Vec<Column>, indent: usize) -> Self {
        Self { columns, rows: Vec::new(), indent }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether there is no row.
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes heads (where there are any) and rows.
    pub fn write(&self, out: &mut dyn Write, screen: &Screen) -> io::Result<()> {
        let mut columns = self.columns.clone();
        for row in &self.rows {
            for (column, cell) in columns.iter_mut().zip(row) {
                column.width = column.width.max(escape::width(&cell.text));
            }
        }
        let headed = columns.iter().any(|column| !column.head.is_empty());
        let layout = Layout::new(columns, self.indent, screen);
        if headed {
            layout.head(out, screen)?;
        }
        self.rows.iter().try_for_each(|row| layout.row(out, screen, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(
            vec![
                Column::right("size"),
                Column::left("name").shrink(Shrink::Middle),
                Column::left("why"),
            ],
            1,
        );
        table.row(["4.0K".into(), "[heap]".into(), "grown".into()]);
        table.row([
            Cell::new(Ink::Red, "128M"),
            "/usr/lib/a/very/long/libc.so.6".into(),
            "".into(),
        ]);
        table
    }

    fn written(screen: &Screen) -> String {
        let mut out = Vec::new();
        table().write(&mut out, screen).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_line_up_and_lines_end_clean() {
        assert_eq!(
            written(&Screen::plain(80)),
            concat!(
                " size  name                            why\n",
                " 4.0K  [heap]                          grown\n",
                " 128M  /usr/lib/a/very/long/libc.so.6\n",
            )
        );
    }

    #[test]
    fn a_narrow_screen_cuts_what_may_be_cut() {
        let text = written(&Screen::plain(34));
        assert!(text.lines().all(|line| escape::width(line) <= 34), "{text}");
        assert!(text.contains("…"), "{text}");
    }

    #[test]
    fn colours_do_not_shift_columns() {
        let coloured = written(&Screen { colour: true, ..Screen::plain(80) });
        assert!(coloured.contains("\x1b[31m128M\x1b[0m  /usr"), "{coloured:?}");
    }
}
