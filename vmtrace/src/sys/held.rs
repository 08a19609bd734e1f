//! A command that is started but held before it becomes its program, until the
//! probes are attached.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus};
use std::thread::JoinHandle;

/// A child that waits for [`Held::release`].
#[derive(Debug)]
pub struct Held {
    pid: u32,
    gate: Option<io::PipeWriter>,
    waiter: JoinHandle<io::Result<ExitStatus>>,
}

impl Held {
    /// Forks; the child waits. `done` is called, on another thread, when it ended.
    pub fn start(command: &[OsString], done: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let (mut ready, ready_writer) = io::pipe()?;
        let (gate_reader, gate) = io::pipe()?;
        let mut command = Command::new(program);
        command.args(arguments);
        let (gate_fd, ready_fd, open_gate) =
            (gate_reader.as_raw_fd(), ready_writer.as_raw_fd(), gate.as_raw_fd());
        // SAFETY: between fork and exec only async-signal-safe calls on
        // descriptors that the parent keeps open until the child has them.
        unsafe { command.pre_exec(move || wait_at(gate_fd, ready_fd, open_gate)) };
        let waiter = std::thread::spawn(move || {
            let spawned = command.spawn();
            drop((gate_reader, ready_writer));
            let status = spawned.and_then(|mut child| child.wait());
            done();
            status
        });
        let mut pid = [0; 4];
        if ready.read_exact(&mut pid).is_err() {
            // It never came to the gate: fork itself failed.
            drop(gate);
            return Err(match waiter.join() {
                Ok(Err(error)) => error,
                _ => io::ErrorKind::BrokenPipe.into(),
            });
        }
        Ok(Self { pid: u32::from_ne_bytes(pid), gate: Some(gate), waiter })
    }

    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets the child go on and become its program.
    pub fn release(&mut self) -> io::Result<()> {
        match self.gate.take() {
            Some(mut gate) => gate.write_all(&[1]),
            None => Ok(()),
        }
    }

    /// Waits for the child's end. An error means that it never became its program.
    pub fn wait(mut self) -> io::Result<ExitStatus> {
        self.gate = None;
        self.waiter.join().unwrap_or_else(|_| Ok(ExitStatus::from_raw(0xff00)))
    }
}

/// In the child: tells its pid, waits for a byte; none means that the parent is gone.
fn wait_at(gate: i32, ready: i32, open_gate: i32) -> io::Result<()> {
    let mut byte = 0_u8;
    // SAFETY: plain system calls on buffers of the lengths given.
    let read = unsafe {
        // Ours would keep the gate from ever closing.
        libc::close(open_gate);
        let pid = libc::getpid();
        libc::write(ready, (&raw const pid).cast(), 4);
        libc::read(gate, (&raw mut byte).cast(), 1)
    };
    if read == 1 { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
}
