//! Where faults happen: processes, their address spaces and the names people
//! know regions by.
//!
//! [`names`] turns what the kernel says of a region into a name, [`space`] is
//! one address space, [`World`] keeps all of them as the stream changes them
//! and says which row of the report an address belongs to.

pub mod attribute;
mod kept;
pub mod names;
pub mod space;
pub mod spread;

pub use attribute::World;
pub use kept::{Place, Process, Row, Thread};
pub use names::{NameId, Part};
pub use spread::Spread;
