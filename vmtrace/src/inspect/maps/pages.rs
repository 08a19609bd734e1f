//! How much of a region is where, and a picture of it in one line.

use serde::ser::{Serialize, SerializeStruct as _, Serializer};

use super::region::Region;
use crate::inspect::pagemap::PAGE;

/// Where a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In memory, mapped page by page.
    Resident,
    /// In memory, mapped by a huge entry.
    Huge,
    /// Not there but readable: the shared zero page.
    Zero,
    /// In swap, or on its way between two places.
    Swapped,
    /// A guard page: touching it kills.
    Guard,
}

const STATES: usize = 5;

/// Pages that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first address.
    pub start: u64,
    /// The address after the last.
    pub end: u64,
    /// Where they are.
    pub state: State,
}

/// The most cells that a picture has.
pub const CELLS: usize = 32;

/// How much of a region is where, in bytes, and its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages {
    held: [u64; STATES],
    size: u64,
    picture: [Shade; CELLS],
    cells: u8,
}

impl Pages {
    /// In memory, huge pages included, the zero page not.
    pub const fn resident(&self) -> u64 {
        self.held[State::Resident as usize] + self.huge()
    }

    /// Mapped by huge entries.
    pub const fn huge(&self) -> u64 {
        self.held[State::Huge as usize]
    }

    /// The zero page.
    pub const fn zero(&self) -> u64 {
        self.held[State::Zero as usize]
    }

    /// In swap.
    pub const fn swapped(&self) -> u64 {
        self.held[State::Swapped as usize]
    }

    /// Guard pages.
    pub const fn guard(&self) -> u64 {
        self.held[State::Guard as usize]
    }

    /// Never touched, or dropped since.
    pub fn absent(&self) -> u64 {
        self.size.saturating_sub(self.held.iter().sum())
    }

    /// The picture, a shade per cell.
    pub fn picture(&self) -> &[Shade] {
        &self.picture[..usize::from(self.cells)]
    }
}

impl Serialize for Pages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pages = serializer.serialize_struct("Pages", 7)?;
        pages.serialize_field("resident", &self.resident())?;
        pages.serialize_field("huge", &self.huge())?;
        pages.serialize_field("zero", &self.zero())?;
        pages.serialize_field("swapped", &self.swapped())?;
        pages.serialize_field("guard", &self.guard())?;
        pages.serialize_field("absent", &self.absent())?;
        let picture: String = self.picture().iter().map(|shade| shade.sign()).collect();
        pages.serialize_field("picture", &picture)?;
        pages.end()
    }
}

/// One cell of a picture: what most of its pages are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shade {
    /// Nothing there.
    #[default]
    Absent,
    /// Up to an eighth in memory.
    Sparse,
    /// Up to a half.
    Half,
    /// Up to seven eighths.
    Most,
    /// All, or nearly.
    Full,
    /// Huge pages.
    Huge,
    /// The zero page.
    Zero,
    /// Swapped out.
    Swapped,
    /// Guard pages.
    Guard,
}

impl Shade {
    /// Its sign; all of them tell apart without colours.
    pub const fn sign(self) -> char {
        match self {
            Self::Absent => '·',
            Self::Sparse => '░',
            Self::Half => '▒',
            Self::Most => '▓',
            Self::Full => '█',
            Self::Huge => 'H',
            Self::Zero => '0',
            Self::Swapped => 's',
            Self::Guard => '!',
        }
    }

    fn of(held: [u64; STATES], size: u64) -> Self {
        let total: u64 = held.iter().sum();
        let most = |state: State| held[state as usize] * 2 > total;
        if total == 0 {
            Self::Absent
        } else if most(State::Swapped) {
            Self::Swapped
        } else if most(State::Guard) {
            Self::Guard
        } else if most(State::Zero) {
            Self::Zero
        } else if most(State::Huge) {
            Self::Huge
        } else if total * 8 >= size * 7 {
            Self::Full
        } else if total * 2 >= size {
            Self::Most
        } else if total * 8 >= size {
            Self::Half
        } else {
            Self::Sparse
        }
    }
}

/// Hands stretches, in the order of their addresses, to the regions they lie in.
#[derive(Debug)]
pub struct Filler<'a> {
    regions: &'a mut [Region],
    cells: usize,
    at: usize,
    open: Vec<[u64; STATES]>,
    held: [u64; STATES],
}

impl<'a> Filler<'a> {
    /// Over regions in the order of their addresses; pictures get at most `cells` cells.
    pub fn new(regions: &'a mut [Region], cells: usize) -> Self {
        let mut filler = Self {
            regions,
            cells: cells.clamp(1, CELLS),
            at: 0,
            open: Vec::new(),
            held: [0; STATES],
        };
        filler.begin();
        filler
    }

    fn begin(&mut self) {
        let pages = self.regions.get(self.at).map_or(0, |region| region.size() / PAGE);
        let cells = usize::try_from(pages).unwrap_or(usize::MAX).min(self.cells);
        self.open.clear();
        self.open.resize(cells, [0; STATES]);
        self.held = [0; STATES];
    }

    /// Closes the region at hand and goes on to the next.
    fn finish(&mut self) {
        let region = &mut self.regions[self.at];
        let size = region.size();
        let mut picture = [Shade::Absent; CELLS];
        let cells = self.open.len();
        for (cell, (shade, held)) in picture.iter_mut().zip(&self.open).enumerate() {
            *shade = Shade::of(*held, bound(cell + 1, cells, size) - bound(cell, cells, size));
        }
        let cells = u8::try_from(cells).unwrap_or(u8::MAX);
        region.pages = Some(Pages { held: self.held, size, picture, cells });
        self.at += 1;
        self.begin();
    }

    /// Takes the next stretch.
    pub fn stretch(&mut self, mut stretch: Stretch) {
        while let Some(region) = self.regions.get(self.at) {
            let (start, end) = (region.start, region.end);
            if stretch.start >= end {
                self.finish();
                continue;
            }
            let last = stretch.end.min(end);
            self.add(
                stretch.start.max(start) - start,
                last.max(start) - start,
                end - start,
                stretch.state,
            );
            if stretch.end <= end {
                return;
            }
            stretch.start = end;
        }
    }

    fn add(&mut self, from: u64, to: u64, size: u64, state: State) {
        self.held[state as usize] += to.saturating_sub(from);
        let cells = self.open.len();
        let Some(mut cell) =
            usize::try_from(u128::from(from) * cells as u128 / u128::from(size)).ok()
        else {
            return;
        };
        // A bound is rounded down to a page: the cell found may be one too low.
        while cell < cells && bound(cell, cells, size) < to {
            let begin = bound(cell, cells, size).max(from);
            let end = bound(cell + 1, cells, size).min(to);
            self.open[cell][state as usize] += end.saturating_sub(begin);
            cell += 1;
        }
    }

    /// Closes the regions that are left; call it after the last stretch.
    pub fn close(mut self) {
        while self.at < self.regions.len() {
            self.finish();
        }
    }
}

/// Where a cell starts, on a page's border.
fn bound(cell: usize, cells: usize, size: u64) -> u64 {
    let pages = u128::from(size / PAGE) * cell as u128 / cells.max(1) as u128;
    u64::try_from(pages).unwrap_or(u64::MAX).saturating_mul(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::maps::smaps;

    fn regions(text: &str) -> Vec<Region> {
        smaps::read(text.as_bytes(), None).unwrap()
    }

    fn picture(pages: &Pages) -> String {
        pages.picture().iter().map(|shade| shade.sign()).collect()
    }

    #[test]
    fn stretches_land_in_their_regions() {
        let mut regions =
            regions("1000-5000 rw-p 0 0:0 0\n5000-9000 r--p 0 0:0 0\nb000-c000 r--p 0 0:0 0\n");
        let mut filler = Filler::new(&mut regions, 8);
        filler.stretch(Stretch { start: 0x3000, end: 0x6000, state: State::Resident });
        filler.stretch(Stretch { start: 0x7000, end: 0x8000, state: State::Swapped });
        filler.stretch(Stretch { start: 0xb000, end: 0xc000, state: State::Zero });
        filler.close();
        let pages: Vec<_> = regions.iter().map(|region| region.pages.unwrap()).collect();
        assert_eq!(pages.iter().map(picture).collect::<Vec<_>>(), ["··██", "█·s·", "0"]);
        assert_eq!(pages[0].resident(), 0x2000);
        assert_eq!(pages[1].absent(), 0x2000);
        assert_eq!(pages[2].resident(), 0);
    }

    #[test]
    fn many_pages_share_a_cell() {
        let mut regions = regions("200000-e00000 rw-p 0 0:0 0\n");
        let mut filler = Filler::new(&mut regions, 6);
        filler.stretch(Stretch { start: 0x20_0000, end: 0x40_0000, state: State::Huge });
        filler.stretch(Stretch { start: 0x40_0000, end: 0x41_0000, state: State::Resident });
        filler.stretch(Stretch { start: 0x60_0000, end: 0x70_0000, state: State::Resident });
        filler.stretch(Stretch { start: 0x80_0000, end: 0x83_0000, state: State::Guard });
        filler.close();
        let pages = regions[0].pages.unwrap();
        assert_eq!(picture(&pages), "H░▓!··");
        assert_eq!(pages.huge(), 0x20_0000);
    }

    #[test]
    fn every_page_is_counted_once_whatever_the_cells() {
        for cells in 1..=CELLS {
            let mut regions = regions("1000-4e000 rw-p 0 0:0 0\n");
            let mut filler = Filler::new(&mut regions, cells);
            for page in 1..0x4e {
                let (start, end) = (page * PAGE, (page + 1) * PAGE);
                filler.stretch(Stretch { start, end, state: State::Resident });
            }
            filler.close();
            let pages = regions[0].pages.unwrap();
            assert_eq!(picture(&pages), "█".repeat(cells));
            assert_eq!(pages.absent(), 0);
        }
    }
}
