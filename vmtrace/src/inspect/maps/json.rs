//! An address space as JSON, schema `vmtrace.maps/1`. Sizes are bytes, addresses
//! are strings in hexadecimal.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::field::Amounts;
use super::look::Space;
use super::region::Region;
use super::view::{By, Row, View};
use crate::inspect::unseen::Unseen;

/// The name of the schema.
pub const SCHEMA: &str = "vmtrace.maps/1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    pid: i32,
    comm: &'a str,
    exe: Option<&'a str>,
    address_bits: u32,
    status: BTreeMap<&'a str, u64>,
    /// What the regions add up to.
    totals: Amounts,
    /// What the kernel adds up to itself.
    kernel_totals: Option<BTreeMap<&'a str, u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    regions: Option<Vec<&'a Region>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<Grouped<'a>>>,
    unseen: &'a Unseen,
}

#[derive(Serialize)]
struct Grouped<'a> {
    name: &'a str,
    regions: usize,
    bytes: &'a Amounts,
}

/// Writes an address space on one line.
pub fn write(out: &mut dyn Write, space: &Space, view: &View) -> io::Result<()> {
    let rows = view.rows(&space.regions);
    let regions = rows.iter().filter_map(|row| match row {
        Row::One(region) => Some(*region),
        Row::Many(_) => None,
    });
    let groups = rows.iter().filter_map(|row| match row {
        Row::One(_) => None,
        Row::Many(group) => {
            Some(Grouped { name: &group.name, regions: group.count, bytes: &group.bytes })
        }
    });
    let single = view.by == By::Region;
    let document = Document {
        schema: SCHEMA,
        pid: space.pid,
        comm: &space.comm,
        exe: space.exe.as_deref(),
        address_bits: space.bits,
        status: space.status.iter().map(|(key, bytes)| (key.as_str(), *bytes)).collect(),
        totals: space.sum(),
        kernel_totals: space.rollup.as_ref().map(|(amounts, others)| {
            let own = super::field::TABLE.iter();
            own.filter_map(|&(field, name, _)| Some((name, amounts.get(field)?)))
                .chain(others.iter().map(|(name, bytes)| (name.as_str(), *bytes)))
                .collect()
        }),
        regions: single.then(|| regions.collect()),
        groups: (!single).then(|| groups.collect()),
        unseen: &space.unseen,
    };
    serde_json::to_writer(&mut *out, &document)?;
    writeln!(out)
}

/// As much of an earlier look as a comparison needs.
#[derive(Debug, Deserialize)]
pub struct Earlier {
    schema: String,
    /// Whose it was.
    pub pid: i32,
    /// Its regions.
    #[serde(default)]
    pub regions: Vec<EarlierRegion>,
}

/// A region of an earlier look.
#[derive(Clone, Debug, Deserialize)]
pub struct EarlierRegion {
    start: String,
    end: String,
    /// Its name.
    pub name: String,
    /// Its amounts by their JSON names.
    pub bytes: BTreeMap<String, u64>,
}

impl EarlierRegion {
    /// Its first address and the one after its last.
    pub fn range(&self) -> Option<(u64, u64)> {
        let hex = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
        Some((hex(&self.start)?, hex(&self.end)?))
    }
}

/// Reads what [`write`] wrote.
pub fn read(text: &str) -> anyhow::Result<Earlier> {
    let earlier: Earlier = serde_json::from_str(text)?;
    anyhow::ensure!(earlier.schema == SCHEMA, "expected {SCHEMA}, found {}", earlier.schema);
    anyhow::ensure!(!earlier.regions.is_empty(), "it has no regions: write it with --by region");
    Ok(earlier)
}
