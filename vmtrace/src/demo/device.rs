//! Memory of a driver: pages without a `struct page`, mapped by a handler.

use anyhow::Context as _;

use super::stage::{Expect, Skip, Stage};
use super::sys::{Area, touch};
use super::witness;
use crate::fault::Kind;

/// The kernel's clock page.
///
/// Every process has it, and its handler maps it when it is first read:
/// <https://elixir.bootlin.com/linux/v6.12/source/arch/x86/entry/vdso/vma.c> (`vvar_fault`).
/// Most drivers map theirs in `mmap` itself and never fault.
pub(super) fn clock(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I read the first page of [vvar], from which the vdso tells the time.")?;
    let range = witness::named("[vvar]")?.context("no [vvar] in /proc/self/maps")?;
    let area = Area::found(range).part(0..1);
    if witness::present(area)? > 0 {
        return Err(Skip("this process has read the clock already".to_owned()).into());
    }
    let expected = [Expect::exactly(Kind::Device, 1, area)];
    stage.measure("read one byte", &expected, || {
        touch::load(area.start());
    })?;
    Ok(())
}
