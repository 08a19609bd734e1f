//! `vmtrace oom`: who would be killed next, and why.

pub mod advice;
pub mod badness;
pub mod cgroup;
pub mod json;
pub mod kills;
pub mod look;
pub mod text;
