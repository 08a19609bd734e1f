//! The vocabulary: the four classes of page fault and the kinds they divide
//! into. Everything that names a kind, parses one or counts by one goes
//! through here; how a kind is told from evidence is `classify`'s.

use std::fmt;
use std::str::FromStr;

/// One logical fault, as it crosses from the kernel.
pub use vmtrace_common::record::Fault;

/// What the kernel's own counters would say of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Served from memory: counted in `min_flt`.
    Minor,
    /// Had to wait for input: counted in `maj_flt`.
    Major,
    /// A write to a page that was shared until then: counted in `min_flt`.
    Cow,
    /// Failed: counted in neither.
    Invalid,
}

impl Class {
    /// All of them, in the order in which reports list them.
    pub const ALL: [Self; 4] = [Self::Minor, Self::Major, Self::Cow, Self::Invalid];

    /// Its name in reports, on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Cow => "cow",
            Self::Invalid => "invalid",
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its kinds.
    pub fn kinds(self) -> impl Iterator<Item = Kind> + Clone {
        Kind::ALL.into_iter().filter(move |kind| kind.class() == self)
    }
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident $name:literal $class:ident,)*) => {
        /// What a fault was, precisely.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[doc = $doc])+ $kind,)*
        }

        impl Kind {
            /// All of them, class by class, in the order in which reports list them.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$kind,)*];
            /// How many there are.
            pub const COUNT: usize = [$($name,)*].len();

            /// Its name in reports, on the command line and in JSON.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// Its class.
            pub const fn class(self) -> Class {
                match self { $(Self::$kind => Class::$class,)* }
            }

            /// What it means, in a few words.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$kind => concat!($($doc),+).trim_ascii(),)* }
            }
        }
    };
}

kinds! {
    /// first write to anonymous memory: a fresh zeroed page
    AnonZero "anon-zero" Minor,
    /// first read of anonymous memory: the shared zero page
    AnonRead "anon-read" Minor,
    /// a file's page that was in the page cache
    FileMap "file-map" Minor,
    /// first write to a clean page of a shared file mapping
    FileMkwrite "file-mkwrite" Minor,
    /// a page of shared memory (tmpfs, memfd, shmget, shared anonymous)
    Shmem "shmem" Minor,
    /// swapped out, but still in memory
    SwapCache "swap-cache" Minor,
    /// a huge page of anonymous memory, zeroed
    Thp "thp" Minor,
    /// the shared huge zero page
    ThpZero "thp-zero" Minor,
    /// a page of hugetlbfs
    Hugetlb "hugetlb" Minor,
    /// NUMA balancing asked who uses the page
    NumaHint "numa-hint" Minor,
    /// waited for a page that was being migrated
    Migration "migration" Minor,
    /// served by a user-space pager (userfaultfd)
    Userfault "userfault" Minor,
    /// a device's memory
    Device "device" Minor,
    /// resolved by someone else already, or a permission upgrade
    Spurious "spurious" Minor,
    /// minor, and nothing more can be told
    Other "other" Minor,
    /// a file's page that had to be read
    FileRead "file-read" Major,
    /// a page that was swapped in
    SwapIn "swap-in" Major,
    /// shared memory that was swapped in
    ShmemSwapIn "shmem-swap-in" Major,
    /// a page of hugetlbfs that was made on the way
    HugetlbMajor "hugetlb-major" Major,
    /// served by a user-space pager, and counted as major by the kernel
    UserfaultMajor "userfault-major" Major,
    /// major by the kernel's count, and nothing more can be told
    OtherMajor "other-major" Major,
    /// a page was copied
    CowCopy "cow-copy" Cow,
    /// last owner: write permission restored, nothing copied
    CowReuse "cow-reuse" Cow,
    /// write to the shared zero page
    CowZero "cow-zero" Cow,
    /// first write to a page of a private file mapping that was not present
    CowFile "cow-file" Cow,
    /// write to a write-protected huge page
    CowThp "cow-thp" Cow,
    /// write to a write-protected page of hugetlbfs
    CowHugetlb "cow-hugetlb" Cow,
    /// a long-term pin wanted a page of its own
    CowUnshare "cow-unshare" Cow,
    /// nothing is mapped at the address
    Unmapped "unmapped" Invalid,
    /// nothing is mapped, and the address is below 64 KiB
    Null "null" Invalid,
    /// nothing is mapped, at the guard below a growable stack
    StackOverflow "stack-overflow" Invalid,
    /// the mapping forbids the access
    Protection "protection" Invalid,
    /// a protection key forbids the access
    Pkey "pkey" Invalid,
    /// beyond the end of the mapped file, or its page could not be had
    BusBeyondEof "bus-beyond-eof" Invalid,
    /// the page's memory is broken
    Hwpoison "hwpoison" Invalid,
    /// a system call was handed a bad pointer
    KernelEfault "kernel-efault" Invalid,
    /// an address no mapping can have: #GP, which never reaches the page-fault path
    NonCanonical "non-canonical" Invalid,
    /// out of memory
    Oom "oom" Invalid,
}

impl Kind {
    /// Its place in [`ALL`](Self::ALL).
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A name or number that no class or kind has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    what: &'static str,
    given: String,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no {} `{}`", self.what, self.given.escape_debug())
    }
}

impl std::error::Error for Unknown {}

impl TryFrom<u8> for Class {
    type Error = Unknown;

    fn try_from(value: u8) -> Result<Self, Unknown> {
        let class = Self::ALL.get(usize::from(value)).copied();
        class.ok_or_else(|| Unknown { what: "class", given: value.to_string() })
    }
}

impl TryFrom<u8> for Kind {
    type Error = Unknown;

    fn try_from(value: u8) -> Result<Self, Unknown> {
        let kind = Self::ALL.get(usize::from(value)).copied();
        kind.ok_or_else(|| Unknown { what: "kind", given: value.to_string() })
    }
}

impl FromStr for Class {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        let class = Self::ALL.into_iter().find(|class| class.name() == name);
        class.ok_or_else(|| Unknown { what: "class", given: name.to_owned() })
    }
}

impl FromStr for Kind {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == name);
        kind.ok_or_else(|| Unknown { what: "kind", given: name.to_owned() })
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A set of kinds, as filters use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u64);

const _: () = assert!(Kind::COUNT <= 64);

impl Kinds {
    /// Every kind.
    pub const ALL: Self = Self(u64::MAX >> (64 - Kind::COUNT));
    /// None.
    pub const NONE: Self = Self(0);

    /// With `kind` in it.
    #[must_use]
    pub const fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// With all kinds of `class` in it.
    #[must_use]
    pub fn with_class(self, class: Class) -> Self {
        class.kinds().fold(self, Self::with)
    }

    /// Whether `kind` is in it.
    #[inline]
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 >> kind as u8 & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_come_back() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(Kind::try_from(u8::try_from(index).unwrap()), Ok(kind));
        }
        for class in Class::ALL {
            assert_eq!(class.name().parse(), Ok(class));
            assert_eq!(Class::try_from(class as u8), Ok(class));
        }
        assert!(Kind::try_from(u8::MAX).is_err());
        assert_eq!(
            "zero\x1b".parse::<Kind>().unwrap_err().to_string(),
            "there is no kind `zero\\u{1b}`"
        );
    }

    #[test]
    fn kinds_are_listed_class_by_class() {
        assert!(Kind::ALL.is_sorted_by_key(|kind| kind.class()));
    }

    #[test]
    fn sets_hold_what_was_put_in() {
        let set = Kinds::NONE.with_class(Class::Cow).with(Kind::Null);
        for kind in Kind::ALL {
            assert_eq!(set.contains(kind), kind.class() == Class::Cow || kind == Kind::Null);
            assert!(Kinds::ALL.contains(kind));
        }
    }
}
