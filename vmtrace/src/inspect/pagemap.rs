//! `/proc/PID/pagemap`: a word per page, and the frames behind it in
//! `/proc/kpageflags` and `/proc/kpagecount`.
//! <https://docs.kernel.org/admin-guide/mm/pagemap.html>

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use serde::{Serialize, Serializer};

/// The size of a page of the page map.
pub const PAGE: u64 = 4096;

/// A page's word in the page map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry(pub u64);

impl Entry {
    const FRAME: u64 = (1 << 55) - 1;

    const fn bit(self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }

    /// It is in memory.
    pub const fn present(self) -> bool {
        self.bit(63)
    }

    /// It is in swap, or an entry of another kind stands in for it.
    pub const fn swapped(self) -> bool {
        self.bit(62)
    }

    /// It belongs to a file or is shared anonymous memory.
    pub const fn file(self) -> bool {
        self.bit(61)
    }

    /// A guard page (since 6.15).
    pub const fn guard(self) -> bool {
        self.bit(58)
    }

    /// Write-protected by userfaultfd (since 5.13).
    pub const fn uffd_wp(self) -> bool {
        self.bit(57)
    }

    /// Mapped nowhere else.
    pub const fn exclusive(self) -> bool {
        self.bit(56)
    }

    /// Written since the soft-dirty bits were cleared.
    pub const fn soft_dirty(self) -> bool {
        self.bit(55)
    }

    /// Its frame's number; without the right to see it, the kernel gives none.
    pub const fn frame(self) -> Option<u64> {
        let frame = self.0 & Self::FRAME;
        if self.present() && frame != 0 { Some(frame) } else { None }
    }

    /// Swap type and offset.
    pub const fn swap(self) -> Option<(u64, u64)> {
        let raw = self.0 & Self::FRAME;
        if self.swapped() && !self.present() { Some((raw & 31, raw >> 5)) } else { None }
    }
}

/// Words of eight bytes in a file of them.
#[derive(Debug)]
pub struct Words(File);

impl Words {
    /// Over an open file.
    pub const fn new(file: File) -> Self {
        Self(file)
    }

    /// Opens one of the kernel's files of frames.
    pub fn open(path: &str) -> io::Result<Self> {
        File::open(path).map(Self).map_err(|error| {
            let why = if error.kind() == io::ErrorKind::PermissionDenied {
                format!("{path} may be read only by root")
            } else {
                format!("{path}: {error}")
            };
            io::Error::new(error.kind(), why)
        })
    }

    /// The file itself.
    pub const fn file(&self) -> &File {
        &self.0
    }

    /// One word.
    pub fn word(&self, index: u64) -> io::Result<u64> {
        let mut raw = [0; 8];
        self.0.read_exact_at(&mut raw, index * 8)?;
        Ok(u64::from_ne_bytes(raw))
    }

    /// Words from `index` on, as many as `raw` has room for and the file has.
    pub fn words<'a>(
        &self,
        index: u64,
        raw: &'a mut [u8],
    ) -> io::Result<impl Iterator<Item = u64> + use<'a>> {
        let read = self.0.read_at(raw, index * 8)?;
        let (words, _) = raw[..read].as_chunks::<8>();
        Ok(words.iter().map(|word| u64::from_ne_bytes(*word)))
    }
}

/// The flags of a page frame. <https://docs.kernel.org/admin-guide/mm/pagemap.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameFlags(pub u64);

impl FrameFlags {
    /// Part of a transparent huge page.
    pub const THP: u32 = 22;
    /// A page of hugetlb.
    pub const HUGE: u32 = 17;
    /// The zero page, small or huge.
    pub const ZERO: u32 = 24;
    /// Merged by KSM.
    pub const KSM: u32 = 21;
    /// Broken memory.
    pub const HWPOISON: u32 = 19;
    /// Anonymous.
    pub const ANON: u32 = 12;

    const NAMES: [(u32, &'static str); 40] = [
        (0, "locked"),
        (1, "error"),
        (2, "referenced"),
        (3, "uptodate"),
        (4, "dirty"),
        (5, "lru"),
        (6, "active"),
        (7, "slab"),
        (8, "writeback"),
        (9, "reclaim"),
        (10, "buddy"),
        (11, "mmap"),
        (12, "anon"),
        (13, "swapcache"),
        (14, "swapbacked"),
        (15, "compound-head"),
        (16, "compound-tail"),
        (17, "hugetlb"),
        (18, "unevictable"),
        (19, "hwpoison"),
        (20, "no-page"),
        (21, "ksm"),
        (22, "thp"),
        (23, "offline"),
        (24, "zero-page"),
        (25, "idle"),
        (26, "page-table"),
        (32, "reserved"),
        (33, "mlocked"),
        (34, "owner-private"),
        (35, "private"),
        (36, "private-2"),
        (37, "owner-private-2"),
        (38, "arch"),
        (39, "uncached"),
        (40, "softdirty"),
        (41, "arch-2"),
        (42, "arch-3"),
        (47, "anon-exclusive"),
        (48, "pgcache"),
    ];

    /// Whether a flag is set.
    pub const fn has(self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }

    /// The flags that are set, by name.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |&(bit, _)| self.has(bit)).map(|(_, name)| name)
    }
}

impl Serialize for FrameFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_apart() {
        let present = Entry(1 << 63 | 1 << 56 | 0x1234);
        assert!(present.present() && present.exclusive() && !present.file());
        assert_eq!(present.frame(), Some(0x1234));
        assert_eq!(present.swap(), None);
        let swapped = Entry(1 << 62 | 77 << 5 | 3);
        assert_eq!(swapped.swap(), Some((3, 77)));
        assert_eq!(swapped.frame(), None);
        assert_eq!(Entry(1 << 63).frame(), None, "the frame is hidden without privilege");
    }

    #[test]
    fn frame_flags_by_name() {
        let flags = FrameFlags(1 << 12 | 1 << 5 | 1 << 22);
        assert_eq!(flags.names().collect::<Vec<_>>(), ["lru", "anon", "thp"]);
    }
}
