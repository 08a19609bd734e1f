//! Entries that are not present: what stands in the place of a page.
//!
//! The swap types above those of real swap areas mean something else, and which
//! means what depends on how the kernel was built: the special types fill the
//! top of the 32, in the order of `include/linux/swap.h`.

use serde::Serialize;

/// No kernel has a special type below this one.
pub const FIRST_SPECIAL: u64 = 20;

/// What a swap type stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Special {
    /// The memory behind it is broken.
    Hwpoison,
    /// The page is being moved; it was read-only.
    MigrationRead,
    /// The page is being moved; it was read-only and this process's own.
    MigrationReadExclusive,
    /// The page is being moved; it was writable.
    MigrationWrite,
    /// The page lives in a device's memory.
    Device,
    /// The page is held by a device for itself.
    DeviceExclusive,
    /// No page: a note left for the fault handler.
    Marker,
    /// It could not be read back from swap.
    SwapinError,
}

/// What this kernel makes of the swap types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwapTypes {
    /// By type; `None` is a swap area.
    special: [Option<Special>; 32],
    /// Whether the kernel could be asked.
    pub known: bool,
}

/// How a kernel was built, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// Major and minor version.
    pub version: (u32, u32),
    /// `CONFIG_MEMORY_FAILURE`.
    pub memory_failure: bool,
    /// `CONFIG_MIGRATION`.
    pub migration: bool,
    /// `CONFIG_DEVICE_PRIVATE`: how many types it takes.
    pub device_types: usize,
}

impl Built {
    /// Reads it from the release and from the names of the kernel's functions:
    /// each exists only where its configuration does.
    pub fn from_symbols<'a>(release: &str, names: impl Iterator<Item = &'a str>) -> Self {
        let mut numbers = release.split(|sign: char| !sign.is_ascii_digit());
        let mut number = || numbers.next().and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut built = Self { version: (number(), number()), ..Self::default() };
        for name in names {
            match name {
                "memory_failure" => built.memory_failure = true,
                "migrate_pages" => built.migration = true,
                "make_device_exclusive_range" => built.device_types = 4,
                "make_device_exclusive" => built.device_types = 3,
                "migrate_vma_setup" if built.version < (5, 14) => built.device_types = 2,
                _ => {}
            }
        }
        built
    }
}

impl SwapTypes {
    /// Lays the special types out from the top.
    pub fn of(built: Built) -> Self {
        use Special::{
            Device, DeviceExclusive, Hwpoison, Marker, MigrationRead, MigrationReadExclusive,
            MigrationWrite, SwapinError,
        };
        let recent = built.version >= (5, 19);
        let mut order = Vec::new();
        if built.memory_failure {
            order.push(Hwpoison);
        }
        if built.migration {
            order.push(MigrationRead);
            order.extend(recent.then_some(MigrationReadExclusive));
            order.push(MigrationWrite);
        }
        let devices = [Device, Device, DeviceExclusive, DeviceExclusive];
        order.extend(devices.into_iter().take(built.device_types));
        order.extend(recent.then_some(Marker));
        order.extend((recent && built.version < (6, 3)).then_some(SwapinError));
        let mut types = Self { known: true, ..Self::default() };
        for (place, special) in types.special.iter_mut().rev().zip(order.into_iter().rev()) {
            *place = Some(special);
        }
        types
    }

    /// What a type and offset stand for.
    pub fn decode(&self, kind: u64, offset: u64) -> Absent {
        let special = usize::try_from(kind).ok().and_then(|kind| *self.special.get(kind)?);
        match special {
            None if !self.known && kind >= FIRST_SPECIAL => Absent::Unknown { kind, offset },
            None => Absent::Swap { kind, offset },
            Some(Special::Marker) => Absent::Marker {
                uffd_wp: offset & 1 != 0,
                poisoned: offset & 2 != 0,
                guard: offset & 4 != 0,
            },
            Some(special) => Absent::Special { special, frame: frame(special, offset) },
        }
    }
}

/// Since 6.1 a moving page's young and dirty bits ride above its frame number: at
/// bit 34 with four levels, at 40 with five. No machine has 64 TiB to tell apart.
const fn frame(special: Special, offset: u64) -> Option<u64> {
    match special {
        Special::Marker | Special::SwapinError => None,
        Special::Hwpoison
        | Special::MigrationRead
        | Special::MigrationReadExclusive
        | Special::MigrationWrite
        | Special::Device
        | Special::DeviceExclusive => Some(offset & ((1 << 34) - 1)),
    }
}

/// What stands in the place of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Absent {
    /// Nothing.
    Empty,
    /// A place in a swap area.
    Swap {
        /// Which area.
        kind: u64,
        /// Which page of it.
        offset: u64,
    },
    /// A page that is elsewhere for a while, or broken.
    Special {
        /// Why.
        special: Special,
        /// The frame it is in.
        frame: Option<u64>,
    },
    /// A note for the fault handler.
    Marker {
        /// Writes go to a userfaultfd.
        uffd_wp: bool,
        /// Touching it is like touching broken memory.
        poisoned: bool,
        /// A guard page.
        guard: bool,
    },
    /// A special type, and this kernel could not be asked which.
    Unknown {
        /// The type.
        kind: u64,
        /// The offset.
        offset: u64,
    },
}

/// Type and offset of a raw entry that is not present: the type at the top, the
/// offset below it, inverted against L1TF, and bits 1 to 4 for the kernel's use.
/// <https://elixir.bootlin.com/linux/latest/source/arch/x86/include/asm/pgtable_64.h>
pub const fn swap_of(raw: u64) -> (u64, u64) {
    (raw >> 59, !raw << 5 >> 14)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(release: &str, names: &[&str]) -> SwapTypes {
        SwapTypes::of(Built::from_symbols(release, names.iter().copied()))
    }

    #[test]
    fn types_and_offsets_come_back_out() {
        for (kind, offset) in [(0, 0), (1, 1), (3, 0x12345), (31, (1 << 50) - 1)] {
            let raw = kind << 59 | (!offset << 14 >> 5) & !(0x1f << 59);
            assert_eq!(raw & 1, 0);
            assert_eq!(swap_of(raw), (kind, offset));
        }
    }

    #[test]
    fn special_types_fill_the_top() {
        const NAMES: [&str; 3] = ["memory_failure", "migrate_pages", "make_device_exclusive"];
        let new = types("6.18.0", &NAMES);
        assert_eq!(
            new.decode(31, 4),
            Absent::Marker { uffd_wp: false, poisoned: false, guard: true }
        );
        let special = |types: &SwapTypes, kind| match types.decode(kind, 7) {
            Absent::Special { special, .. } => Some(special),
            Absent::Empty
            | Absent::Swap { .. }
            | Absent::Marker { .. }
            | Absent::Unknown { .. } => None,
        };
        assert_eq!(special(&new, 30), Some(Special::DeviceExclusive));
        assert_eq!(special(&new, 28), Some(Special::Device));
        assert_eq!(special(&new, 27), Some(Special::MigrationWrite));
        assert_eq!(special(&new, 24), Some(Special::Hwpoison));
        assert_eq!(new.decode(23, 7), Absent::Swap { kind: 23, offset: 7 });
        let old = types("5.10.0-30", &["memory_failure", "migrate_pages", "migrate_vma_setup"]);
        assert_eq!(special(&old, 31), Some(Special::Device));
        assert_eq!(special(&old, 29), Some(Special::MigrationWrite));
        assert_eq!(special(&old, 27), Some(Special::Hwpoison));
        let old = types("6.1.0-40-amd64", &["migrate_pages"]);
        assert_eq!(special(&old, 31), Some(Special::SwapinError));
        assert_eq!(special(&old, 29), Some(Special::MigrationWrite));
        assert_eq!(SwapTypes::default().decode(29, 7), Absent::Unknown { kind: 29, offset: 7 });
    }
}
