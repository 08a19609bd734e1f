//! Debian's archive as a source of things that a machine may lack: kernels,
//! the standard library's source, a static busybox, tools to compare with. Nothing is installed;
//! packages are unpacked into the project's cache.

pub(crate) mod archive;
pub(crate) mod deb;
pub(crate) mod index;
pub(crate) mod tree;
pub(crate) mod version;
