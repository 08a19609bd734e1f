//! Invalid faults: those that end in a signal or in `EFAULT`, and one that a
//! handler mends.

use std::os::fd::AsFd as _;

use anyhow::ensure;

use super::stage::{Expect, Stage};
use super::sys::memory::Key;
use super::sys::signal::{self, Remedy, code};
use super::sys::{Area, PAGE, process, swap, touch};
use crate::fault::Kind;

const TRIES: usize = 16;

/// Checks what the handler saw since it was installed.
pub(super) fn expect_caught(count: usize, signal: i32, code: i32) -> anyhow::Result<()> {
    let caught = signal::caught();
    ensure!(
        (caught.count, caught.signal, caught.code) == (count as u64, signal, code),
        "expected {count} signals {signal} with code {code}, caught {caught:x?}"
    );
    Ok(())
}

fn read_tries(area: Area) {
    for page in 0..TRIES {
        touch::load(area.start() + page * PAGE);
    }
}

/// A page that a handler makes accessible.
pub(super) fn mend(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I protect 16 pages against every access and write to them. My SIGSEGV handler")?;
    stage.say("makes each accessible, and the write is tried again.")?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let area = Area::map(TRIES, libc::PROT_NONE, flags, None)?;
    signal::catch(Remedy::Mend)?;
    let expected = [
        Expect::exactly(Kind::Protection, TRIES, area),
        Expect::exactly(Kind::AnonZero, TRIES, area),
    ];
    stage.measure("write each page", &expected, || touch::write(area))?;
    expect_caught(TRIES, libc::SIGSEGV, code::ACCERR)
}

/// A null pointer.
pub(super) fn null(stage: &mut Stage) -> anyhow::Result<()> {
    stage
        .say("I read through a null pointer, 16 times, each a page further, and catch SIGSEGV.")?;
    signal::catch(Remedy::Leave)?;
    let area = Area::null(TRIES);
    let expected = [Expect::exactly(Kind::Null, TRIES, area)];
    stage.measure("read the first 16 pages", &expected, || read_tries(area))?;
    expect_caught(TRIES, libc::SIGSEGV, code::MAPERR)
}

/// Nothing there.
pub(super) fn unmapped(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I unmap 16 pages, read them, and catch SIGSEGV.")?;
    signal::catch(Remedy::Leave)?;
    let area = Area::anonymous(TRIES)?;
    area.unmap()?;
    let expected = [Expect::exactly(Kind::Unmapped, TRIES, area)];
    stage.measure("read each page", &expected, || read_tries(area))?;
    expect_caught(TRIES, libc::SIGSEGV, code::MAPERR)
}

/// Read-only.
pub(super) fn read_only(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I map 16 pages read-only, read them, write to them, and catch SIGSEGV.")?;
    signal::catch(Remedy::Leave)?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let area = Area::map(TRIES, libc::PROT_READ, flags, None)?;
    let expected = [Expect::exactly(Kind::AnonRead, TRIES, area)];
    stage.measure("read each page", &expected, || touch::read(area))?;
    let expected = [Expect::exactly(Kind::Protection, TRIES, area)];
    stage.measure("write each page", &expected, || touch::write(area))?;
    expect_caught(TRIES, libc::SIGSEGV, code::ACCERR)
}

/// Not executable.
pub(super) fn execute(stage: &mut Stage) -> anyhow::Result<()> {
    const RET: u8 = 0xc3;
    stage
        .say("I write an instruction into each of 16 data pages, jump there, and catch SIGSEGV.")?;
    signal::catch(Remedy::Leave)?;
    let area = Area::anonymous(TRIES)?;
    let expected = [Expect::exactly(Kind::AnonZero, TRIES, area)];
    stage.measure("write each page", &expected, || {
        for page in 0..TRIES {
            touch::store(area, page * PAGE, RET);
        }
    })?;
    let expected = [Expect::exactly(Kind::Protection, TRIES, area)];
    stage.measure("jump into each page", &expected, || {
        for page in 0..TRIES {
            touch::execute(area, page * PAGE);
        }
    })?;
    expect_caught(TRIES, libc::SIGSEGV, code::ACCERR)
}

/// Behind a key.
pub(super) fn key(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I write 16 pages, put them behind a protection key, give the key up, and read.")?;
    signal::catch(Remedy::Leave)?;
    let area = Area::anonymous(TRIES)?;
    let expected = [Expect::exactly(Kind::AnonZero, TRIES, area)];
    stage.measure("write each page", &expected, || touch::write(area))?;
    let key = Key::allocate()?;
    area.set_key(key)?;
    key.forbid(true);
    let expected = [Expect::exactly(Kind::Pkey, TRIES, area)];
    stage.measure("read each page", &expected, || touch::read(area))?;
    key.forbid(false);
    expect_caught(TRIES, libc::SIGSEGV, code::PKUERR)?;
    stage.measure("read each page with the key", &[], || touch::read(area))?;
    Ok(())
}

/// Past a file's end.
pub(super) fn beyond_eof(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I map 17 pages of a file that has one, read the others, and catch SIGBUS.")?;
    signal::catch(Remedy::Leave)?;
    let file = swap::memory_file(c"vmtrace-demo")?;
    file.set_len(PAGE as u64)?;
    let area = Area::file(file.as_fd(), 1 + TRIES, libc::MAP_SHARED, true)?;
    let (inside, outside) = (area.part(0..1), area.part(1..1 + TRIES));
    stage
        .measure_shared("write the first page", Kind::Shmem, 1, inside, || touch::write(inside))?;
    let expected = [Expect::exactly(Kind::BusBeyondEof, TRIES, outside)];
    stage.measure("read the others", &expected, || touch::read(outside))?;
    expect_caught(TRIES, libc::SIGBUS, code::ADRERR)
}

/// No address at all.
pub(super) fn non_canonical(stage: &mut Stage) -> anyhow::Result<()> {
    /// Between the halves of the address space, with five levels of page tables as with four.
    const NOWHERE: usize = 1 << 63;
    stage.say("I read from an address between the two halves of the address space, 16 times.")?;
    signal::catch(Remedy::Leave)?;
    // The exception tells no address: an empty range.
    let expected =
        [Expect::exactly(Kind::NonCanonical, TRIES, Area::null(0))
            .by(super::declare::Origin::Trap)];
    stage.measure("read", &expected, || {
        for page in 0..TRIES {
            touch::load(NOWHERE + page * PAGE);
        }
    })?;
    expect_caught(TRIES, libc::SIGSEGV, code::KERNEL)?;
    ensure!(signal::caught().address == 0, "an address was told");
    Ok(())
}

/// A bad pointer for the kernel.
pub(super) fn efault(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I unmap 16 pages and ask the kernel to store a number in each (getcpu).")?;
    let area = Area::anonymous(TRIES)?;
    area.unmap()?;
    let mut refused = 0;
    let expected =
        [Expect::exactly(Kind::KernelEfault, TRIES, area).by(super::declare::Origin::Kernel)];
    stage.measure("getcpu with a bad pointer", &expected, || {
        for page in 0..TRIES {
            let result = process::store_through_kernel(area, page * PAGE);
            let error = result.err().and_then(|error| error.raw_os_error());
            refused += usize::from(error == Some(libc::EFAULT));
        }
    })?;
    ensure!(refused == TRIES, "{refused} of {TRIES} calls returned EFAULT");
    Ok(())
}

/// Broken memory.
pub(super) fn poison(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I write a page, declare its memory broken, read it, and catch SIGBUS.")?;
    signal::catch(Remedy::Leave)?;
    let area = Area::anonymous(1)?;
    let expected = [Expect::exactly(Kind::AnonZero, 1, area)];
    stage.measure("write the page", &expected, || touch::write(area))?;
    area.advise(libc::MADV_HWPOISON)?;
    let expected = [Expect::exactly(Kind::Hwpoison, 1, area)];
    stage.measure("read the page", &expected, || touch::read(area))?;
    expect_caught(1, libc::SIGBUS, code::MCEERR_AR)
}
