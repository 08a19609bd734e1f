//! What can be attached here, tried out: for `vmtrace doctor`.

use super::backend::{Attacher, Attempt, Backend, Link};
use super::session::Options;
use super::target::Target;
use super::{load, programs};

/// One backend, tried.
#[derive(Debug)]
pub struct Tried {
    /// Which.
    pub backend: Backend,
    /// Each program, with what became of it.
    pub attempts: Vec<Attempt>,
    /// Why it cannot be used, if it cannot.
    pub why: Option<String>,
}

/// Attaches all of `backend`'s programs, with nobody targeted, and takes them
/// away again.
pub fn attempt(backend: Backend) -> anyhow::Result<Tried> {
    // An empty list of processes: the programs turn everybody away.
    let options = Options { ring_size: 4096, ..Options::new(Target::Pids(Vec::new())) };
    let mut object = load::load(&options, std::process::id())?;
    let kernel = aya::Btf::from_sys_fs().ok();
    let mut attacher = Attacher::new(&mut object.ebpf, kernel.as_ref(), &object.online);
    let mut all = || -> anyhow::Result<Vec<Link>> {
        let mut links = attacher.attach_backend(backend)?;
        for programs in [programs::BESIDE, programs::LIFECYCLE, programs::STARTS] {
            links.extend(attacher.attach_all(programs)?);
        }
        Ok(links)
    };
    let why = all().err().map(|error| format!("{error:#}"));
    Ok(Tried { backend, attempts: std::mem::take(&mut attacher.attempts), why })
}
