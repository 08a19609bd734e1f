//! Reads the page map of a whole address space: by `PAGEMAP_SCAN` where the
//! kernel has it, else word by word, where that is not too much.

use std::io;

use super::pages::{Filler, State, Stretch};
use super::region::Region;
use crate::inspect::pagemap::{Entry, PAGE, Words};
use crate::inspect::unseen::Unseen;
use crate::sys::pagemap as scan;

/// Regions above this are read word by word only where something is in them.
const SMALL: u64 = 1 << 30;
/// Regions above this are never read word by word: 128 MiB of words each.
const LARGE: u64 = 64 << 30;

/// Fills in every region's pages.
pub fn fill(pagemap: &Words, regions: &mut [Region], cells: usize, unseen: &mut Unseen) {
    let result = match by_scan(pagemap, regions, cells) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL)) => {
            unseen.note("which pages are huge", "this kernel's page map does not tell (6.7 does)");
            by_word(pagemap, regions, cells, unseen)
        }
        other => other,
    };
    if let Err(error) = result {
        unseen.note("the page map", error);
        for region in regions {
            region.pages = None;
        }
    }
}

/// The kernel refuses categories that it does not know: ask for fewer.
fn by_scan(pagemap: &Words, regions: &mut [Region], cells: usize) -> io::Result<()> {
    let basic = scan::FILE | scan::PRESENT | scan::SWAPPED | scan::ZERO | scan::HUGE;
    match scan_categories(pagemap, regions, cells, basic | scan::GUARD) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            scan_categories(pagemap, regions, cells, basic)
        }
        other => other,
    }
}

fn scan_categories(
    pagemap: &Words,
    regions: &mut [Region],
    cells: usize,
    wanted: u64,
) -> io::Result<()> {
    // vsyscall lies in the kernel's half: the page map does not reach there.
    let users = regions.partition_point(|region| region.end < 1 << 63);
    let regions = &mut regions[..users];
    let (Some(first), Some(last)) = (regions.first(), regions.last()) else { return Ok(()) };
    let (mut at, end) = (first.start, last.end);
    let mut filler = Filler::new(regions, cells);
    let mut found = vec![scan::Stretch::default(); 4096];
    while at < end {
        let (count, walked) = scan::scan(pagemap.file(), at, end, wanted, &mut found)?;
        for stretch in &found[..count] {
            let state = of_categories(stretch.categories);
            filler.stretch(Stretch { start: stretch.start, end: stretch.end, state });
        }
        // A full buffer may end the walk early; it always goes on.
        at = if walked > at { walked } else { end };
    }
    filler.close();
    Ok(())
}

const fn of_categories(categories: u64) -> State {
    if categories & scan::GUARD != 0 {
        State::Guard
    } else if categories & scan::ZERO != 0 {
        State::Zero
    } else if categories & scan::PRESENT == 0 {
        State::Swapped
    } else if categories & scan::HUGE != 0 {
        State::Huge
    } else {
        State::Resident
    }
}

fn by_word(
    pagemap: &Words,
    regions: &mut [Region],
    cells: usize,
    unseen: &mut Unseen,
) -> io::Result<()> {
    use super::field::Field;
    let worth: Vec<(u64, u64)> = regions
        .iter()
        .filter(|region| region.end < 1 << 63)
        .filter(|region| {
            let filled = region.bytes.of(Field::Rss) > 0 || region.bytes.of(Field::Swap) > 0;
            region.size() <= SMALL || filled && region.size() <= LARGE
        })
        .map(|region| (region.start, region.end))
        .collect();
    let too_large = |region: &Region| region.size() > LARGE && region.bytes.of(Field::Rss) > 0;
    let skipped: Vec<usize> = (0..regions.len()).filter(|&at| too_large(&regions[at])).collect();
    let zero = zero_frame();
    if zero.is_none() {
        unseen
            .note("which pages are the zero page", "this kernel shows frame numbers only to root");
    }
    let mut filler = Filler::new(regions, cells);
    let mut raw = vec![0; 1 << 18];
    for (start, end) in worth {
        let mut at = start;
        while at < end {
            let room = usize::try_from((end - at) / PAGE * 8).unwrap_or(raw.len()).min(raw.len());
            let before = at;
            for word in pagemap.words(at / PAGE, &mut raw[..room])? {
                if let Some(state) = of_word(Entry(word), zero) {
                    filler.stretch(Stretch { start: at, end: at + PAGE, state });
                }
                at += PAGE;
            }
            if at == before {
                break;
            }
        }
    }
    filler.close();
    for at in skipped {
        unseen.note("pages of regions above 64 GiB", "too many to read one by one (6.7 need not)");
        regions[at].pages = None;
    }
    Ok(())
}

fn of_word(entry: Entry, zero: Option<u64>) -> Option<State> {
    if entry.guard() {
        Some(State::Guard)
    } else if entry.present() {
        let is_zero = zero.is_some() && entry.frame() == zero;
        Some(if is_zero { State::Zero } else { State::Resident })
    } else if entry.swapped() {
        Some(State::Swapped)
    } else {
        None
    }
}

/// The zero page's frame: that of memory of our own which was read, never written.
fn zero_frame() -> Option<u64> {
    // Large enough to be mapped fresh, too small for a huge zero page.
    let fresh = vec![0u8; 1 << 20];
    let middle = std::hint::black_box(&fresh)[1 << 19];
    let address = fresh.as_ptr() as u64 + (1 << 19) + u64::from(middle);
    let own = Words::open("/proc/self/pagemap").ok()?;
    own.word(address / PAGE).ok().and_then(|word| Entry(word).frame())
}
