//! What can be attached here, tried out: for `vmtrace doctor`.

use anyhow::Context as _;

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
    let mut loaded = session::load_for(&options)?;
    let kernel = aya::Btf::from_sys_fs().ok();
    let mut attacher = Attacher::new(&mut loaded.ebpf, kernel.as_ref(), &loaded.online);
    let lists: [&'static [Program]; 4] =
        [backend.programs(), programs::BESIDE, programs::LIFECYCLE, programs::STARTS];
    let mut links = Vec::new();
    let mut why = None;
    for list in lists {
        match attacher.attach_all(list).with_context(|| backend.to_string()) {
            Ok(attached) => links.extend(attached),
            Err(error) => {
                why = Some(format!("{error:#}"));
                break;
            }
        }
    }
    Ok(Tried { backend, attempts: std::mem::take(&mut attacher.attempts), why })
}
