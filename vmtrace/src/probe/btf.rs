//! The running kernel's type information (BTF): where its structs keep their
//! fields.
//!
//! Written here because the crate made for it is under the LGPL, which a
//! statically linked MIT/Apache tool cannot take in, and because all that is
//! needed is one pass over one file.
//!
//! <https://docs.kernel.org/bpf/btf.html>

use std::collections::HashMap;
use std::fmt;

use vmtrace_common::config::Offsets;

/// Where the kernel shows its own type information.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Why type information could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BtfError {
    /// Not BTF, or of another byte order.
    Magic,
    /// It ends in the middle.
    Truncated,
    /// A type of a kind that is not known: newer than this program.
    Kind(u32),
}

impl fmt::Display for BtfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("it is not little-endian BTF"),
            Self::Truncated => f.write_str("it ends in the middle of a type"),
            Self::Kind(kind) => write!(f, "it holds a type of unknown kind {kind}"),
        }
    }
}

impl std::error::Error for BtfError {}

mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// Parsed type information.
#[derive(Debug)]
pub struct Btf<'a> {
    strings: &'a [u8],
    types: &'a [u8],
    /// The place of each type; type 0 is `void`.
    places: Vec<u32>,
    structs: HashMap<&'a [u8], u32>,
}

impl<'a> Btf<'a> {
    /// Indexes the types in `data`.
    pub fn parse(data: &'a [u8]) -> Result<Self, BtfError> {
        if word(data, 0)? & 0xffff != 0xeb9f {
            return Err(BtfError::Magic);
        }
        let part = |at: usize| -> Result<&'a [u8], BtfError> {
            let header = word(data, 4)? as usize;
            let (offset, len) = (word(data, at)? as usize, word(data, at + 4)? as usize);
            let start = header.checked_add(offset).ok_or(BtfError::Truncated)?;
            let end = start.checked_add(len).ok_or(BtfError::Truncated)?;
            data.get(start..end).ok_or(BtfError::Truncated)
        };
        let mut btf =
            Self { types: part(8)?, strings: part(16)?, places: vec![0], structs: HashMap::new() };
        let mut place = 0;
        while place < btf.types.len() {
            let info = word(btf.types, place + 4)?;
            let (kind, len) = (info >> 24 & 0x1f, info & 0xffff);
            if kind == kind::STRUCT {
                let name = btf.string(word(btf.types, place)?);
                // Where a name is defined twice the first is the kernel's own.
                btf.structs.entry(name).or_insert(u32::try_from(btf.places.len()).unwrap_or(0));
            }
            btf.places.push(u32::try_from(place).or(Err(BtfError::Truncated))?);
            place += 12 + tail(kind, len as usize)?;
        }
        Ok(btf)
    }

    /// The byte offset of `path`: a struct's name and its fields', by dots.
    pub fn offset(&self, path: &str) -> Option<u32> {
        let mut parts = path.split('.');
        let mut id = *self.structs.get(parts.next()?.as_bytes())?;
        let mut bits = 0;
        for part in parts {
            let (offset, field) = self.field(id, part.as_bytes(), 0)?;
            bits += offset;
            id = self.aggregate(field);
        }
        Some(bits / 8)
    }

    /// All the offsets the programs ask for.
    pub fn offsets(&self) -> Offsets {
        let mut offsets = Offsets::ABSENT;
        for (index, path) in Offsets::PATHS.iter().enumerate() {
            if let Some(offset) = self.offset(path) {
                offsets.set(index, offset);
            }
        }
        offsets
    }

    /// The bit offset and the type of a field, looked for in the unnamed
    /// structs and unions within as well.
    fn field(&self, id: u32, name: &[u8], depth: u32) -> Option<(u32, u32)> {
        if depth > 8 {
            return None;
        }
        let place = *self.places.get(id as usize)? as usize;
        let info = word(self.types, place + 4).ok()?;
        if !matches!(info >> 24 & 0x1f, kind::STRUCT | kind::UNION) {
            return None;
        }
        for member in 0..(info & 0xffff) as usize {
            let at = place + 12 + member * 12;
            let member_type = word(self.types, at + 4).ok()?;
            let mut bits = word(self.types, at + 8).ok()?;
            if info >> 31 != 0 {
                bits &= 0x00ff_ffff;
            }
            let member_name = self.string(word(self.types, at).ok()?);
            if member_name == name {
                return Some((bits, member_type));
            }
            if member_name.is_empty()
                && let Some((inner, found)) =
                    self.field(self.aggregate(member_type), name, depth + 1)
            {
                return Some((bits + inner, found));
            }
        }
        None
    }

    /// Follows type names and qualifiers.
    fn aggregate(&self, mut id: u32) -> u32 {
        for _ in 0..16 {
            let Some(&place) = self.places.get(id as usize) else { break };
            let Ok(info) = word(self.types, place as usize + 4) else { break };
            match info >> 24 & 0x1f {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::TYPE_TAG if id != 0 => {
                    id = word(self.types, place as usize + 8).unwrap_or(0);
                }
                _ => break,
            }
        }
        id
    }

    fn string(&self, offset: u32) -> &'a [u8] {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

/// How many bytes follow a type's first twelve.
fn tail(kind: u32, len: usize) -> Result<usize, BtfError> {
    Ok(match kind {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => len * 12,
        kind::ENUM | kind::FUNC_PROTO => len * 8,
        // Pointers, forwards, names, qualifiers, functions, floats, tags.
        0 | 2 | 7..=12 | 16 | 18 => 0,
        _ => return Err(BtfError::Kind(kind)),
    })
}

fn word(data: &[u8], at: usize) -> Result<u32, BtfError> {
    let bytes = data.get(at..at + 4).ok_or(BtfError::Truncated)?;
    Ok(u32::from_le_bytes(bytes.try_into().or(Err(BtfError::Truncated))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int first; struct { int inner; }; }`
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0outer\0first\0inner\0";
        let mut types: Vec<u32> = Vec::new();
        types.extend([1, kind::INT << 24, 4, 32]);
        types.extend([0, kind::STRUCT << 24 | 1, 4, 17, 1, 0]);
        types.extend([5, kind::STRUCT << 24 | 2, 8, 11, 1, 0, 0, 2, 32]);
        let types: Vec<u8> = types.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut data: Vec<u8> = Vec::new();
        let len = u32::try_from(types.len()).unwrap();
        for word in [0x0001_eb9f, 24, 0, len, len, u32::try_from(strings.len()).unwrap()] {
            data.extend(word.to_le_bytes());
        }
        data.extend(types);
        data.extend(strings);
        data
    }

    #[test]
    fn finds_fields_in_unnamed_structs() {
        let data = sample();
        let btf = Btf::parse(&data).unwrap();
        assert_eq!(btf.offset("outer.first"), Some(0));
        assert_eq!(btf.offset("outer.inner"), Some(4));
        assert_eq!(btf.offset("outer.absent"), None);
        assert_eq!(btf.offset("absent.first"), None);
    }

    #[test]
    fn refuses_what_is_cut_short() {
        let data = sample();
        for len in 0..data.len() {
            assert!(Btf::parse(&data[..len]).is_err(), "{len} bytes");
        }
        assert_eq!(Btf::parse(b"\x7fELF....").unwrap_err(), BtfError::Magic);
    }

    #[test]
    fn resolves_what_the_programs_need_on_this_kernel() {
        let Ok(data) = std::fs::read(VMLINUX) else {
            println!("skipped: {VMLINUX} is not there");
            return;
        };
        let btf = Btf::parse(&data).unwrap();
        assert_eq!(btf.offset("vm_area_struct.vm_start"), Some(0));
        for path in ["task_struct.min_flt", "vm_fault.orig_pte", "pt_regs.ip", "dentry.d_name.name"]
        {
            assert!(btf.offset(path).is_some(), "{path}");
        }
    }
}
