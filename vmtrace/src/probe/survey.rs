//! What can be attached here, tried out: for `vmtrace doctor`.

use super::backend::{Attacher, Attempt, Backend};
use super::programs::{self, Program};
use super::session::{self, Options};
use super::target::Target;

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
    let mut object = session::load_for(&options, std::process::id())?;
    let kernel = aya::Btf::from_sys_fs().ok();
    let mut attacher = Attacher::new(&mut object.ebpf, kernel.as_ref(), &object.online);
    let stages: [&'static [Program]; 4] =
        [backend.programs(), programs::BESIDE, programs::LIFECYCLE, programs::STARTS];
    let mut links = Vec::new();
    let mut why = None;
    for programs in stages {
        match attacher.attach_all(programs) {
            Ok(these) => links.extend(these),
            Err(error) => {
                why = Some(format!("{error:#}"));
                break;
            }
        }
    }
    Ok(Tried { backend, attempts: std::mem::take(&mut attacher.attempts), why })
}
