//! An address space at a glance: its parts in the order of their addresses, the
//! gaps between them, and the frame around them.

use std::io::{self, Write};

use super::field::{Amounts, Field};
use super::region::{Part, Region};
use crate::term::Screen;
use crate::term::bar::bar;
use crate::term::colour::Ink;
use crate::term::table::{Cell, Column, Table};
use crate::term::units::{bytes, short_bytes};

/// At most so many areas: the largest gaps part them.
const AREAS: usize = 10;
/// A gap below this parts nothing.
const GAP: u64 = 16 << 20;

/// The regions of one part in one area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The part they play.
    pub part: Part,
    /// The first one's address.
    pub start: u64,
    /// How many they are.
    pub count: usize,
    /// What they take.
    pub bytes: Amounts,
}

/// Regions close to each other, and the gap before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    /// How much address space lies unused before it.
    pub gap: u64,
    /// Where it ends.
    pub end: u64,
    /// Its parts, in the order of their first addresses.
    pub blocks: Vec<Block>,
}

/// Divides the user's half into areas.
pub fn areas(regions: &[Region]) -> Vec<Area> {
    let users = &regions[..regions.partition_point(|region| region.end < 1 << 63)];
    let before = |at: usize| if at == 0 { 0 } else { users[at - 1].end };
    let gap = |at: usize| users[at].start - before(at);
    let mut gaps: Vec<u64> = (1..users.len()).map(gap).filter(|&gap| gap >= GAP).collect();
    gaps.sort_unstable_by(|one, other| other.cmp(one));
    let least = gaps.get(AREAS - 1).map_or(GAP, |&gap| gap + 1);
    let mut areas: Vec<Area> = Vec::new();
    for (at, region) in users.iter().enumerate() {
        if at == 0 || gap(at) >= least {
            areas.push(Area { gap: gap(at), end: region.end, blocks: Vec::new() });
        }
        let Some(area) = areas.last_mut() else { continue };
        area.end = region.end;
        let known = area.blocks.iter().position(|block| block.part == region.part);
        let at = known.unwrap_or_else(|| {
            let (part, start) = (region.part, region.start);
            area.blocks.push(Block { part, start, count: 0, bytes: Amounts::default() });
            area.blocks.len() - 1
        });
        area.blocks[at].count += 1;
        area.blocks[at].bytes.add(&region.bytes);
    }
    areas
}

/// The ink of a part.
pub const fn ink(part: Part) -> Ink {
    match part {
        Part::Text | Part::Constants | Part::Data | Part::Bss => Ink::Green,
        Part::Heap | Part::Anonymous | Part::Stack | Part::ThreadStack => Ink::Cyan,
        Part::Library | Part::File => Ink::Blue,
        Part::Shared => Ink::Magenta,
        Part::Reserved | Part::Kernel => Ink::Dim,
    }
}

/// Draws the areas.
pub fn write(
    out: &mut dyn Write,
    screen: &Screen,
    regions: &[Region],
    bits: u32,
) -> io::Result<()> {
    let areas = areas(regions);
    let blocks = || areas.iter().flat_map(|area| &area.blocks);
    let most = blocks().map(|block| block.bytes.of(Field::Rss)).max().unwrap_or(0);
    let resident = blocks().any(|block| block.bytes.get(Field::Rss).is_some());
    let columns = vec![
        Column::right(""),
        Column::left(""),
        Column::right("regions"),
        Column::right("size"),
        Column::right("rss"),
        Column::left(""),
    ];
    let mut table = Table::new(columns, 1);
    let gap = |size: u64| Cell::new(Ink::Dim, format!("┆ {} free", bytes(size)));
    for area in &areas {
        table.row(["".into(), gap(area.gap)]);
        for block in &area.blocks {
            let rss = block.bytes.of(Field::Rss);
            table.row([
                Cell::new(Ink::Dim, format!("{:#014x}", block.start)),
                Cell::new(ink(block.part), format!("├ {}", block.part.word())),
                block.count.to_string().into(),
                short_bytes(block.bytes.of(Field::Size)).into(),
                if resident { short_bytes(rss).into() } else { "–".into() },
                Cell::new(ink(block.part), bar(rss, most, 16).trim_end().to_owned()),
            ]);
        }
    }
    let end = 1u64 << bits;
    let last = areas.last().map_or(0, |area| area.end);
    table.row(["".into(), gap(end.saturating_sub(last))]);
    let frame = format!("└ end of {bits}-bit user addresses");
    table.write(out, screen)?;
    let (end, frame) =
        (screen.paint(Ink::Dim, format!("{:#014x}", end - 4096)), screen.paint(Ink::Dim, frame));
    writeln!(out, " {end}  {frame}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::maps::smaps;

    #[test]
    fn large_gaps_part_areas_small_ones_do_not() {
        let text = "\
400000-500000 r-xp 0 0:1 7 /bin/x
600000-700000 rw-p 0 0:1 7 /bin/x
700000-800000 rw-p 0 0:0 0
7f0000000000-7f0000100000 r-xp 0 0:1 9 /lib/libc.so.6
7f0000200000-7f0000300000 rw-p 0 0:0 0
7f0000300000-7f0000400000 r-xp 0 0:1 9 /lib/libc.so.6
ffffffffff600000-ffffffffff601000 --xp 0 0:0 0 [vsyscall]
";
        let regions = smaps::read(text.as_bytes(), Some("/bin/x")).unwrap();
        let areas = areas(&regions);
        let shape: Vec<Vec<_>> = areas
            .iter()
            .map(|area| area.blocks.iter().map(|block| (block.part, block.count)).collect())
            .collect();
        assert_eq!(
            shape,
            [
                vec![(Part::Text, 1), (Part::Data, 1), (Part::Bss, 1)],
                vec![(Part::Library, 2), (Part::Anonymous, 1)],
            ]
        );
        assert_eq!(areas[0].gap, 0x40_0000);
        let mut out = Vec::new();
        write(&mut out, &Screen::plain(80), &regions, 47).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("0x7ffffffff000  └ end of 47-bit user addresses"), "{text}");
    }
}
