//! The kernel's own memory by cache and by caller.

use std::collections::HashMap;

use serde::Serialize;

/// A slab cache. Sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cache {
    /// Its name.
    pub name: String,
    /// What its slabs take.
    pub size: u64,
    /// Objects in use.
    pub active: u64,
    /// Objects there is room for.
    pub objects: u64,
    /// The size of one.
    pub object: u64,
}

/// Reads `/proc/slabinfo`, the largest first.
pub fn parse(text: &str) -> Vec<Cache> {
    let cache = |line: &str| {
        let (counts, slabs) = line.split_once(" : slabdata")?;
        let mut words = counts.split_ascii_whitespace();
        let name = words.next()?.to_owned();
        let mut number = || words.next()?.parse::<u64>().ok();
        let (active, objects, object, _, pages) =
            (number()?, number()?, number()?, number()?, number()?);
        let slabs: u64 = slabs.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(Cache { name, size: slabs * pages * 4096, active, objects, object })
    };
    let mut caches: Vec<Cache> = text.lines().filter_map(cache).collect();
    caches.sort_by_key(|cache| std::cmp::Reverse(cache.size));
    caches
}

/// Reads `/proc/vmallocinfo`: how much each caller took, the largest first.
pub fn vmalloc(text: &str) -> Vec<(String, u64)> {
    let mut callers: HashMap<&str, u64> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(_range), Some(size), Some(caller)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        // What is mapped from elsewhere takes no memory.
        if line.contains(" ioremap") || line.contains(" vmap") {
            continue;
        }
        let Ok(size) = size.parse::<u64>() else { continue };
        *callers.entry(caller.split('+').next().unwrap_or(caller)).or_default() += size;
    }
    let mut sorted: Vec<_> =
        callers.into_iter().map(|(caller, size)| (caller.to_owned(), size)).collect();
    sorted.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_cache_first() {
        let text = "\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables : slabdata
small              10     20     64   64    1 : tunables    0    0    0 : slabdata      1      1      0
dentry          20000  21000    192   21    1 : tunables    0    0    0 : slabdata   1000   1000      0
";
        let caches = parse(text);
        assert_eq!(caches[0].name, "dentry");
        assert_eq!(caches[0].size, 4_096_000);
        assert_eq!((caches[1].active, caches[1].objects, caches[1].object), (10, 20, 64));
    }

    #[test]
    fn callers_of_vmalloc() {
        let text = "\
0xffffc90000000000-0xffffc90000005000   20480 dup_task_struct+0x5b/0x190 pages=4 vmalloc N0=4
0xffffc90000005000-0xffffc9000000a000   20480 dup_task_struct+0x5b/0x190 pages=4 vmalloc N0=4
0xffffc90000010000-0xffffc90000021000   69632 acpi_os_map_iomem+0x17e/0x1b0 phys=0x0 ioremap
";
        assert_eq!(vmalloc(text), [("dup_task_struct".to_owned(), 40_960)]);
    }
}
