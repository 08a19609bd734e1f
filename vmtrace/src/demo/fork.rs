//! Scenarios of two processes: a fork whose sides take turns.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};

use anyhow::{Context as _, ensure};

use super::stage::{Stage, watch};
use super::sys::process::{self as proc, Ended, Side, Usage};

impl Stage {
    /// Forks a child that plays `part` and ends.
    pub(super) fn fork(
        &mut self,
        part: impl FnOnce(&mut Child) -> anyhow::Result<()>,
    ) -> anyhow::Result<Forked> {
        let (results, send_result) = io::pipe()?;
        let (receive_go, go) = io::pipe()?;
        match proc::fork().context("fork")? {
            Side::Child => {
                // The parent's end, or the pipe would never break.
                drop(go);
                self.settle();
                let mut child = Child { results: send_result, go: receive_go };
                let played = part(&mut child);
                proc::leave(i32::from(played.is_err()))
            }
            Side::Parent(pid) => {
                self.settle();
                Ok(Forked { pid, results, go: Some(go), ended: false })
            }
        }
    }
}

/// The child's side of a fork.
#[derive(Debug)]
pub(super) struct Child {
    results: PipeWriter,
    go: PipeReader,
}

impl Child {
    /// Does `work` and tells the parent what the kernel counted.
    pub(super) fn measure(&mut self, work: impl FnOnce()) -> anyhow::Result<()> {
        let usage = watch(work)?;
        self.tell(usage)
    }

    /// Tells the parent two numbers.
    pub(super) fn tell(&mut self, usage: Usage) -> anyhow::Result<()> {
        let mut message = [0u8; 16];
        message[..8].copy_from_slice(&usage.minor.to_ne_bytes());
        message[8..].copy_from_slice(&usage.major.to_ne_bytes());
        Ok(self.results.write_all(&message)?)
    }

    /// Waits until the parent says go on.
    pub(super) fn wait(&mut self) -> anyhow::Result<()> {
        Ok(self.go.read_exact(&mut [0])?)
    }
}

/// The parent's side of a fork.
#[derive(Debug)]
pub(super) struct Forked {
    pub(super) pid: i32,
    results: PipeReader,
    go: Option<PipeWriter>,
    ended: bool,
}

impl Forked {
    /// Waits for what the child's next [`Child::measure`] counted.
    pub(super) fn usage(&mut self) -> anyhow::Result<Usage> {
        let mut message = [0u8; 16];
        self.results.read_exact(&mut message).context("the forked child gave up")?;
        let number = |at: usize| {
            let mut bytes = [0u8; 8];
            bytes.copy_from_slice(&message[at..at + 8]);
            u64::from_ne_bytes(bytes)
        };
        Ok(Usage { minor: number(0), major: number(8) })
    }

    /// Lets it go on.
    pub(super) fn go(&mut self) -> anyhow::Result<()> {
        let mut go = self.go.as_ref().context("the forked child has ended")?;
        Ok(go.write_all(&[1])?)
    }

    /// Waits for its end, however it comes.
    pub(super) fn ended(mut self) -> anyhow::Result<Ended> {
        self.ended = true;
        drop(self.go.take());
        Ok(proc::wait(self.pid)?)
    }

    /// Waits for its end, which must be a good one.
    pub(super) fn end(self) -> anyhow::Result<()> {
        let ended = self.ended()?;
        ensure!(ended.code == Some(0), "the forked child ended with {ended:?}");
        Ok(())
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        if !self.ended {
            // It may be gone already, which is as good.
            let _ = proc::kill(self.pid);
            let _ = proc::wait(self.pid);
        }
    }
}
