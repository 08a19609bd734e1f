//! The programs, by what they watch.

mod fault;
mod lifecycle;
mod marks;
mod oom;
mod signal;
mod soft_event;
mod tlb;
