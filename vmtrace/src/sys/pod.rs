//! The wire types as aya's plain old data.

use vmtrace_common::{
    config::Config,
    counters::Counters,
    thread::{Cursor, Thread},
};

/// A wire type that may be copied to and from a map byte by byte.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Wire<T>(pub T);

macro_rules! plain {
    ($($wire:ty),*) => {$(
        // SAFETY: `repr(C)`, integers and arrays of integers only, valid for
        // any bytes, and with no padding (asserted where it is defined).
        unsafe impl aya::Pod for Wire<$wire> {}
    )*};
}

plain!(Config, Counters, Thread, Cursor);

impl<T> Wire<T>
where
    Self: aya::Pod,
{
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: plain old data: all bytes are initialised.
        unsafe { std::slice::from_raw_parts((&raw const *self).cast(), size_of::<Self>()) }
    }
}
