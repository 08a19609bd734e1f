//! The only room where `unsafe` is allowed on the user side: system calls that
//! no crate wraps, memory shared with the kernel, and the promise that the wire
//! types are plain bytes.
#![expect(unsafe_code, reason = "each block says why it is sound; nothing outside this room may")]

pub mod alarm;
pub mod clock;
pub mod grace;
pub mod held;
pub mod missed;
pub(crate) mod pagemap;
pub mod peek;
pub mod perf;
pub mod pidfd;
pub mod pod;
pub mod priority;
pub mod ready;
pub mod shared;
