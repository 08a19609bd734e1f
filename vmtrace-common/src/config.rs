//! What user space tells the programs before they are loaded, as `.rodata`
//! globals: the verifier sees constants and drops the branches not taken.

/// Not resolved: what needs this field is left out.
pub const ABSENT: u32 = u32::MAX;

/// Rings to a CPU. A program that writes faults has one of its own, so that the
/// kernel's rule that a program never runs twice at once on a CPU makes each
/// ring single-producer, and no lock or atomic instruction is needed.
pub mod lane {
    /// The end of a fault: `handle_mm_fault`'s return, or the MIN event.
    pub const END: u32 = 0;
    /// `signal:signal_generate`.
    pub const SIGNAL: u32 = 1;
    /// The exception-table fix-up.
    pub const FIXUP: u32 = 2;
    /// The MAJ event.
    pub const MAJOR: u32 = 3;
    /// How many there are.
    pub const COUNT: u32 = 4;
}
