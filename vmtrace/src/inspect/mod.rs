//! Looking without tracing: an address space, one address, the machine's
//! memory, and who would be killed if it ran out.
//!
//! Each room has the same three parts. Looking gathers what the kernel shows and
//! may fail in pieces; the model is plain values, computed without asking anyone;
//! rendering writes it as text or as JSON. Only looking needs a running kernel, so
//! the rest is tested on captured texts.

pub mod maps;
pub mod meminfo;
pub mod oom;
pub mod pagemap;
pub mod subject;
pub mod system;
pub mod unseen;
pub mod walk;
