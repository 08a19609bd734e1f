//! One address space: what is mapped where, as far as it was described.

use std::collections::BTreeMap;

use vmtrace_common::evidence::nature;

/// The kernel keeps this much free below a stack that grows (`stack_guard_gap`).
pub const GUARD_GAP: u64 = 1 << 20;

/// How far below its last known start a stack may have grown unseen.
const GROWTH: u64 = 64 << 20;

/// One mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// One past its last address.
    pub end: u64,
    /// The offset in its file of its first byte.
    pub offset: u64,
    /// The report's row for it.
    pub row: u32,
    /// [`nature`].
    pub nature: u16,
    /// Nobody named it: its neighbours may tell what it is.
    pub nameless: bool,
}

/// All mappings of a process, none overlapping.
#[derive(Clone, Debug, Default)]
pub struct Space {
    mappings: BTreeMap<u64, Mapping>,
}

impl Space {
    /// Maps `[start, mapping.end)`; what was there before gives way.
    pub fn map(&mut self, start: u64, mapping: Mapping) {
        self.unmap(start, mapping.end);
        if start < mapping.end {
            self.mappings.insert(start, mapping);
        }
    }

    /// Empties `[start, end)`.
    pub fn unmap(&mut self, start: u64, end: u64) {
        if let Some((&before, mapping)) = self.mappings.range_mut(..start).next_back() {
            let old = *mapping;
            if old.end > start {
                mapping.end = start;
            }
            if old.end > end {
                let offset = old.offset.wrapping_add(end.wrapping_sub(before));
                self.mappings.insert(end, Mapping { offset, ..old });
            }
        }
        while let Some((&inside, &old)) = self.mappings.range(start..end).next() {
            self.mappings.remove(&inside);
            if old.end > end {
                let offset = old.offset.wrapping_add(end.wrapping_sub(inside));
                self.mappings.insert(end, Mapping { offset, ..old });
            }
        }
    }

    /// The mapping at an address, and where it starts.
    pub fn at(&self, address: u64) -> Option<(u64, &Mapping)> {
        let (&start, mapping) = self.mappings.range(..=address).next_back()?;
        (address < mapping.end).then_some((start, mapping))
    }

    /// The mapping that begins exactly here.
    pub fn starting(&self, start: u64) -> Option<&Mapping> {
        self.mappings.get(&start)
    }

    /// The same, to change.
    pub fn starting_mut(&mut self, start: u64) -> Option<&mut Mapping> {
        self.mappings.get_mut(&start)
    }

    /// The mapping that ends exactly here.
    pub fn ending(&self, end: u64) -> Option<(u64, &Mapping)> {
        let (&start, mapping) = self.mappings.range(..end).next_back()?;
        (mapping.end == end).then_some((start, mapping))
    }

    /// Whether an address lies in the guard gap of a stack.
    pub fn is_below_stack(&self, address: u64) -> bool {
        self.stack_above(address).is_some_and(|(start, _)| start - address <= GUARD_GAP)
    }

    /// A stack that must have grown down to `address`, since a fault there was
    /// served: it is taken to reach there from now on.
    pub fn grow_stack(&mut self, address: u64) -> Option<(u64, &Mapping)> {
        let (start, mapping) = self.stack_above(address)?;
        if start - address > GROWTH {
            return None;
        }
        let mapping = *mapping;
        self.mappings.remove(&start);
        let grown = address & !0xfff;
        self.mappings.insert(grown, mapping);
        self.at(address)
    }

    fn stack_above(&self, address: u64) -> Option<(u64, &Mapping)> {
        let (&start, mapping) = self.mappings.range(address..).next()?;
        (mapping.nature & nature::GROWS_DOWN != 0).then_some((start, mapping))
    }

    /// Everything mapped, from low to high.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Mapping)> {
        self.mappings.iter().map(|(&start, mapping)| (start, mapping))
    }

    /// How many mappings there are.
    pub fn len(&self) -> usize {
        self.mappings.len()
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.mappings.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.mappings = BTreeMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(end: u64, row: u32) -> Mapping {
        Mapping { end, offset: 0, row, nature: nature::KNOWN, nameless: false }
    }

    fn shape(space: &Space) -> Vec<(u64, u64, u32)> {
        space.iter().map(|(start, mapping)| (start, mapping.end, mapping.row)).collect()
    }

    #[test]
    fn a_new_mapping_displaces_what_was_there() {
        let mut space = Space::default();
        space.map(0x1000, mapping(0x9000, 1));
        space.map(0x3000, mapping(0x4000, 2));
        assert_eq!(shape(&space), [(0x1000, 0x3000, 1), (0x3000, 0x4000, 2), (0x4000, 0x9000, 1)]);
        assert_eq!(space.starting(0x4000).unwrap().offset, 0x3000);
        space.map(0x2000, mapping(0x8000, 3));
        assert_eq!(shape(&space), [(0x1000, 0x2000, 1), (0x2000, 0x8000, 3), (0x8000, 0x9000, 1)]);
        space.unmap(0, u64::MAX);
        assert_eq!(shape(&space), []);
        space.map(5, mapping(5, 1));
        assert_eq!(shape(&space), [], "an empty mapping maps nothing");
    }

    #[test]
    fn addresses_find_their_mapping() {
        let mut space = Space::default();
        space.map(0x1000, mapping(0x2000, 1));
        assert_eq!(space.at(0xfff), None);
        assert_eq!(space.at(0x1000).unwrap().0, 0x1000);
        assert_eq!(space.at(0x1fff).unwrap().1.row, 1);
        assert_eq!(space.at(0x2000), None);
        assert_eq!(space.ending(0x2000).unwrap().0, 0x1000);
    }

    #[test]
    fn stacks_grow_down_and_have_a_guard() {
        let mut space = Space::default();
        let stack =
            Mapping { nature: nature::KNOWN | nature::GROWS_DOWN, ..mapping(0x9000_0000, 1) };
        space.map(0x8ff0_0000, stack);
        assert!(space.is_below_stack(0x8fef_fff8));
        assert!(!space.is_below_stack(0x8fd0_0000));
        assert!(!space.is_below_stack(0x9000_0000));
        assert_eq!(space.grow_stack(0x8fef_0123).unwrap().0, 0x8fef_0000);
        assert_eq!(shape(&space), [(0x8fef_0000, 0x9000_0000, 1)]);
        assert_eq!(space.grow_stack(0x1000), None);
    }
}
