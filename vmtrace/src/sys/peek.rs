//! One word of the kernel's memory at a time, through an eBPF program of
//! seventeen instructions that is never attached: it runs when it is asked to
//! (`BPF_PROG_TEST_RUN` of a raw tracepoint, kernel 5.10), in the asking thread.
//!
//! It is written out here, instruction by instruction, rather than built into
//! the object beside the tracing programs: that one brings rings and tables of
//! its own, and a look at one address has no use for them.

use std::ffi::c_long;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// A program that reads the kernel's memory, loaded.
#[derive(Debug)]
pub struct Peek {
    program: OwnedFd,
    answer: OwnedFd,
}

/// What the program leaves in its only map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Answer {
    /// The thread that asked: a `struct task_struct *`.
    task: u64,
    /// The word.
    word: u64,
    /// 0, or a negative error from `bpf_probe_read_kernel`.
    error: u64,
}

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    /// Destination below, source above.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const MAP_CREATE: c_long = 0;
const MAP_LOOKUP: c_long = 1;
const PROG_LOAD: c_long = 5;
const PROG_TEST_RUN: c_long = 10;
const MAP_TYPE_ARRAY: u32 = 2;
const PROG_TYPE_RAW_TRACEPOINT: u32 = 17;

const LOOKUP_HELPER: i32 = 1;
const CURRENT_TASK_HELPER: i32 = 35;
const READ_KERNEL_HELPER: i32 = 113;

/// The start of `union bpf_attr` that these commands use; the rest is zero.
#[repr(C)]
#[derive(Default)]
struct Attributes([u64; 16]);

/// Two 32-bit fields, side by side.
const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

fn call(command: c_long, attributes: &mut Attributes) -> io::Result<i32> {
    // SAFETY: the kernel is told the size of `attributes`; every address within
    // was taken from memory that the caller keeps borrowed during the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<Attributes>())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::try_from(result).unwrap_or(i32::MAX))
}

fn owned(descriptor: i32) -> OwnedFd {
    // SAFETY: the kernel has just given us this descriptor; nobody else has it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

fn program(map: i32) -> [Instruction; 18] {
    const MOV: u8 = 0xbf;
    const ADD: u8 = 0x07;
    const STORE: u8 = 0x7b;
    let of = |code, to: u8, from: u8, offset, immediate| Instruction {
        code,
        registers: to | from << 4,
        offset,
        immediate,
    };
    let helper = |number| of(0x85, 0, 0, 0, number);
    [
        of(MOV, 6, 1, 0, 0),    // r6 = the context
        of(0x62, 10, 0, -4, 0), // the map's key: 0
        of(MOV, 2, 10, 0, 0),
        of(ADD, 2, 0, 0, -4),   // r2 = &key
        of(0x18, 1, 1, 0, map), // r1 = the map (two instructions wide)
        of(0, 0, 0, 0, 0),
        helper(LOOKUP_HELPER),
        of(0x15, 0, 0, 9, 0), // no entry: leave
        of(MOV, 7, 0, 0, 0),  // r7 = the answer
        helper(CURRENT_TASK_HELPER),
        of(STORE, 7, 0, 0, 0), // answer.task = current
        of(MOV, 1, 7, 0, 0),
        of(ADD, 1, 0, 0, 8),  // r1 = &answer.word
        of(0xb7, 2, 0, 0, 8), // r2 = its size
        of(0x79, 3, 6, 0, 0), // r3 = the address asked for
        helper(READ_KERNEL_HELPER),
        of(STORE, 7, 0, 16, 0), // answer.error = what that returned
        of(0x95, 0, 0, 0, 0),   // leave with it
    ]
}

/// Before 5.11 maps and programs are charged to locked memory, of which a user has
/// little, and give it back late. Failing to raise the limit does not matter later.
fn lift_limit() {
    let none = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a valid limit to read.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const none) };
}

impl Peek {
    /// Loads the program.
    pub fn load() -> io::Result<Self> {
        lift_limit();
        let size = u32::try_from(size_of::<Answer>()).unwrap_or(0);
        let mut map = Attributes([0; 16]);
        map.0[0] = pair(MAP_TYPE_ARRAY, 4);
        map.0[1] = pair(size, 1);
        let answer = owned(call(MAP_CREATE, &mut map)?);
        let instructions = program(answer.as_raw_fd());
        let licence = c"Dual MIT/GPL";
        let mut load = Attributes([0; 16]);
        load.0[0] = pair(PROG_TYPE_RAW_TRACEPOINT, u32::try_from(instructions.len()).unwrap_or(0));
        load.0[1] = instructions.as_ptr() as u64;
        load.0[2] = licence.as_ptr() as u64;
        let program = owned(call(PROG_LOAD, &mut load)?);
        Ok(Self { program, answer })
    }

    fn ask(&self, address: u64) -> io::Result<Answer> {
        let context = [address];
        let mut run = Attributes([0; 16]);
        run.0[0] = pair(self.program.as_raw_fd().cast_unsigned(), 0);
        // data_size_in/out, data_in, data_out, repeat and duration stay zero.
        run.0[5] = pair(u32::try_from(size_of_val(&context)).unwrap_or(0), 0);
        run.0[6] = context.as_ptr() as u64;
        call(PROG_TEST_RUN, &mut run)?;
        let (key, mut answer) = (0u32, Answer::default());
        let mut lookup = Attributes([0; 16]);
        lookup.0[0] = pair(self.answer.as_raw_fd().cast_unsigned(), 0);
        lookup.0[1] = (&raw const key) as u64;
        lookup.0[2] = (&raw mut answer) as u64;
        call(MAP_LOOKUP, &mut lookup)?;
        Ok(answer)
    }

    /// The word at a kernel address; `None` where nothing is mapped.
    pub fn word(&self, address: u64) -> io::Result<Option<u64>> {
        let answer = self.ask(address)?;
        Ok((answer.error == 0).then_some(answer.word))
    }

    /// The asking thread's `struct task_struct *`.
    pub fn task(&self) -> io::Result<u64> {
        Ok(self.ask(0)?.task)
    }
}
