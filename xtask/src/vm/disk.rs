//! The guest's one disk: a partition table, the root, a mailbox and swap.
//!
//! One disk, because kernels since 7.3 number the namespaces of an `NVMe`
//! controller in the order in which they happen to be found.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};

const MIB: u64 = 1 << 20;
/// The table counts in sectors, and fills one.
const SECTOR: usize = 512;

/// A stretch of the disk, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Partition {
    pub(super) start: u64,
    pub(super) size: u64,
    kind: u8,
}

const LINUX: u8 = 0x83;
const LINUX_SWAP: u8 = 0x82;

/// `/dev/nvme0n1p1`: the root file system, with room for the tests' files.
pub(super) const ROOT: Partition = Partition { start: MIB, size: 1536 * MIB, kind: LINUX };
/// `/dev/nvme0n1p2`: a tar of what the guest has for the host.
const MAIL: Partition = Partition { start: ROOT.start + ROOT.size, size: 256 * MIB, kind: LINUX };
/// `/dev/nvme0n1p3`: swap, used where it was asked for.
const SWAP: Partition =
    Partition { start: MAIL.start + MAIL.size, size: 1024 * MIB, kind: LINUX_SWAP };

/// Creates the disk: sparse, so that it costs what is written to it.
pub(super) fn create(image: &Path) -> Result<()> {
    File::create(image)
        .and_then(|mut file| {
            file.set_len(SWAP.start + SWAP.size)?;
            file.write_all(&table(&[ROOT, MAIL, SWAP]))
        })
        .with_context(|| format!("cannot create {}", image.display()))
}

/// The mailbox as a stream.
pub(super) fn mail(image: &Path) -> Result<impl Read> {
    let mut file = File::open(image).context("cannot open the guest's disk")?;
    file.seek(SeekFrom::Start(MAIL.start)).context("cannot read the guest's disk")?;
    Ok(file.take(MAIL.size))
}

/// A master boot record with nothing to boot.
fn table(partitions: &[Partition]) -> [u8; SECTOR] {
    const ENTRIES: usize = 446;
    const ENTRY: usize = 16;
    /// The cylinder, head and sector of what lies beyond them.
    const BEYOND: [u8; 3] = [0xfe, 0xff, 0xff];
    let mut record = [0; SECTOR];
    for (entry, partition) in record[ENTRIES..].chunks_exact_mut(ENTRY).zip(partitions) {
        entry[1..4].copy_from_slice(&BEYOND);
        entry[4] = partition.kind;
        entry[5..8].copy_from_slice(&BEYOND);
        entry[8..12].copy_from_slice(&sectors(partition.start).to_le_bytes());
        entry[12..16].copy_from_slice(&sectors(partition.size).to_le_bytes());
    }
    record[510..].copy_from_slice(&[0x55, 0xaa]);
    record
}

/// The table counts in 32 bits; a disk past 2 TiB would be a mistake here.
fn sectors(bytes: u64) -> u32 {
    u32::try_from(bytes / SECTOR as u64).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_a_partition_table() {
        let record = table(&[ROOT, MAIL, SWAP]);
        assert_eq!(record[510..], [0x55, 0xaa]);
        assert_eq!(record[446 + 4], LINUX);
        assert_eq!(record[446 + 8..446 + 12], 2048_u32.to_le_bytes());
        assert_eq!(record[446 + 12..446 + 16], (1536_u32 * 2048).to_le_bytes());
        assert_eq!(record[446 + 32 + 4], LINUX_SWAP);
        assert_eq!(record[446 + 48..510], [0; 16]);
    }
}
