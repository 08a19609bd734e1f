//! An address taken apart, as the processor does.

use std::io::{self, Write};

use serde::Serialize;

use crate::term::Screen;
use crate::term::colour::Ink;

/// A level of the page tables, from the root down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The root.
    Pgd,
    /// Only where there are five levels.
    P4d,
    /// Its entries may be 1 GiB pages.
    Pud,
    /// Its entries may be 2 MiB pages.
    Pmd,
    /// Its entries are 4 KiB pages.
    Pte,
}

impl Level {
    /// From the root down, all five.
    pub const ALL: [Self; 5] = [Self::Pgd, Self::P4d, Self::Pud, Self::Pmd, Self::Pte];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pgd => "PGD",
            Self::P4d => "P4D",
            Self::Pud => "PUD",
            Self::Pmd => "PMD",
            Self::Pte => "PTE",
        }
    }

    /// The lowest bit of its index; with four levels, the PGD takes the P4D's bits.
    pub const fn shift(self, five: bool) -> u32 {
        match self {
            Self::Pgd => {
                if five {
                    48
                } else {
                    39
                }
            }
            Self::P4d => 39,
            Self::Pud => 30,
            Self::Pmd => 21,
            Self::Pte => 12,
        }
    }

    /// How much one of its entries maps.
    pub const fn span(self, five: bool) -> u64 {
        1 << self.shift(five)
    }
}

/// Which half of the address space an address is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Half {
    /// A process's own.
    User,
    /// The kernel's.
    Kernel,
    /// In the hole between them: not an address that the processor takes.
    NonCanonical,
}

/// An address and how many levels translate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub value: u64,
    /// Five levels, not four.
    pub five: bool,
}

impl Address {
    /// The levels that are in use.
    pub fn levels(self) -> impl Iterator<Item = Level> {
        Level::ALL.into_iter().filter(move |&level| self.five || level != Level::P4d)
    }

    /// Its index at a level.
    pub const fn index(self, level: Level) -> u64 {
        self.value >> level.shift(self.five) & 0x1ff
    }

    /// Its offset in a page of this level.
    pub const fn offset(self, level: Level) -> u64 {
        self.value & (level.span(self.five) - 1)
    }

    /// How many bits are translated: 48 or 57.
    pub const fn bits(self) -> u32 {
        if self.five { 57 } else { 48 }
    }

    /// Which half it is in. Every bit above the translated ones must be like the
    /// highest of them.
    pub const fn half(self) -> Half {
        match self.value.cast_signed() >> (self.bits() - 1) {
            0 => Half::User,
            -1 => Half::Kernel,
            _ => Half::NonCanonical,
        }
    }
}

/// Draws an address: a box for each index, its bits above and below.
pub fn draw(out: &mut dyn Write, screen: &Screen, address: Address) -> io::Result<()> {
    let bits = address.bits();
    let mut tops = vec![(63, bits)];
    let mut middles = vec![format!("{:^10}", "sign")];
    let sign = if address.value >> 63 == 1 { "1…1" } else { "0…0" };
    let mut bottoms = vec![match address.half() {
        Half::NonCanonical => format!("{:^10}", "mixed!"),
        Half::User | Half::Kernel => format!("{sign:^10}"),
    }];
    for level in address.levels() {
        let shift = level.shift(address.five);
        tops.push((shift + 8, shift));
        middles.push(format!("{:<4}{:>5} ", format!(" {}", level.name()), address.index(level)));
        bottoms.push(format!(" {:09b}", address.index(level)));
    }
    tops.push((11, 0));
    let offset = address.offset(Level::Pte);
    middles.push(format!(" byte {offset:#05x} "));
    bottoms.push(format!("{offset:012b}"));
    let widths: Vec<usize> = middles.iter().map(String::len).collect();
    let dim = |text: String| screen.paint(Ink::Dim, text);
    let top = tops
        .iter()
        .zip(&widths)
        .map(|(&(high, low), &width)| format!("{high:<2}{low:>rest$}", rest = width - 2));
    writeln!(out, " {}", dim(format!(" {}", top.collect::<Vec<_>>().join(" ").trim_end())))?;
    let rule = |left: char, middle: &str, right: char| {
        let lines: Vec<_> = widths.iter().map(|&width| "─".repeat(width)).collect();
        format!("{left}{}{right}", lines.join(middle))
    };
    writeln!(out, " {}", dim(rule('┌', "┬", '┐')))?;
    let bar = dim("│".to_owned());
    write!(out, " {bar}")?;
    for text in &middles {
        write!(out, "{}{bar}", screen.paint(Ink::Bold, text))?;
    }
    writeln!(out)?;
    writeln!(out, " {}", dim(rule('└', "┴", '┘')))?;
    writeln!(out, " {}", dim(format!(" {}", bottoms.join(" ").trim_end())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::term::escape;

    #[test]
    fn indexes_put_the_address_together_again() {
        for five in [false, true] {
            let address = Address { value: 0x00f3_7f16_a556_4abc, five };
            let sum: u64 = address
                .levels()
                .map(|level| address.index(level) << level.shift(five))
                .sum::<u64>()
                + address.offset(Level::Pte);
            assert_eq!(sum, address.value & ((1 << address.bits()) - 1));
        }
        let address = Address { value: 0x7f16_a556_4abc, five: false };
        let indexes: Vec<_> = address.levels().map(|level| address.index(level)).collect();
        assert_eq!(indexes, [254, 90, 298, 356]);
    }

    #[test]
    fn halves_and_the_hole_between_them() {
        let half = |value, five| Address { value, five }.half();
        assert_eq!(half(0x7fff_ffff_ffff, false), Half::User);
        assert_eq!(half(0x8000_0000_0000, false), Half::NonCanonical);
        assert_eq!(half(0x8000_0000_0000, true), Half::User);
        assert_eq!(half(0xffff_8000_0000_0000, false), Half::Kernel);
        assert_eq!(half(0xff00_0000_0000_0000, true), Half::Kernel);
        assert_eq!(half(0xfe00_0000_0000_0000, true), Half::NonCanonical);
    }

    #[test]
    fn even_five_levels_fit_eighty_columns() {
        for five in [false, true] {
            let mut out = Vec::new();
            let address = Address { value: 0x7f16_a556_4abc, five };
            draw(&mut out, &Screen::plain(80), address).unwrap();
            let text = String::from_utf8(out).unwrap();
            let widths: Vec<_> = text.lines().map(escape::width).collect();
            assert!(widths.iter().all(|&width| width <= 82), "{text}");
            assert_eq!(widths[1], widths[2], "{text}");
            assert!(text.contains("PMD  298"), "{text}");
        }
    }
}
