//! The settings in force that decide how memory is handed out, each with what
//! it means.

use std::fs;

use serde::Serialize;

use super::swap::chosen;

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its name, as one would look it up.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What that means.
    pub means: &'static str,
}

const THP: &str = "/sys/kernel/mm/transparent_hugepage";

/// Transparent huge pages.
pub fn thp() -> Vec<Setting> {
    let read = |name: &str| fs::read_to_string(format!("{THP}/{name}")).ok();
    let word = |name: &str, means: fn(&str) -> &'static str| {
        let text = read(name)?;
        let value = chosen(&text).unwrap_or(text.trim()).to_owned();
        Some(Setting { name: format!("thp {name}"), means: means(&value), value })
    };
    let mut settings: Vec<Setting> = [
        word("enabled", enabled),
        word("defrag", defrag),
        word("shmem_enabled", shmem),
        word("use_zero_page", |value| {
            if value == "1" { "reads of fresh memory map the huge zero page" } else { "" }
        }),
        word("khugepaged/scan_sleep_millisecs", |_| "khugepaged rests this long between rounds"),
        word(
            "khugepaged/max_ptes_none",
            |_| "it collapses 2 MiB with up to this many pages missing",
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    settings.extend(sizes());
    settings
}

/// The sizes below 2 MiB that are not off.
fn sizes() -> Vec<Setting> {
    let entries = fs::read_dir(THP).into_iter().flatten().filter_map(Result::ok);
    let mut sizes: Vec<(u64, Setting)> = entries
        .filter_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            let kib: u64 = file.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let text = fs::read_to_string(entry.path().join("enabled")).ok()?;
            let value = chosen(&text)?.to_owned();
            let means = enabled(&value);
            (value != "never")
                .then(|| (kib, Setting { name: format!("thp of {kib} KiB"), value, means }))
        })
        .collect();
    sizes.sort_by_key(|(kib, _)| *kib);
    sizes.into_iter().map(|(_, setting)| setting).collect()
}

fn enabled(value: &str) -> &'static str {
    match value {
        "always" => "huge pages wherever 2 MiB fit",
        "madvise" => "only where a program asks with madvise(MADV_HUGEPAGE)",
        "never" => "no huge pages at faults",
        "inherit" => "as \"enabled\" says",
        _ => "",
    }
}

fn defrag(value: &str) -> &'static str {
    match value {
        "always" => "a fault waits until memory is compacted",
        "defer" => "a fault never waits; compaction runs in the background",
        "defer+madvise" => "only faults in advised memory wait",
        "madvise" => "only faults in advised memory wait; others take what is there",
        "never" => "a fault takes a huge page only if one is free",
        _ => "",
    }
}

fn shmem(value: &str) -> &'static str {
    match value {
        "always" => "shared memory uses huge pages wherever they fit",
        "within_size" => "shared memory uses huge pages that lie within the file",
        "advise" => "shared memory uses them where a program asks",
        "never" => "shared memory uses none",
        "deny" => "shared memory uses none, whatever the mount says",
        "force" => "shared memory always uses them, whatever the mount says",
        _ => "",
    }
}

/// Reclaim, swapping, NUMA.
pub fn others() -> Vec<Setting> {
    let sysctl = |name: &str, means: fn(&str) -> &'static str| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let value = fs::read_to_string(path).ok()?.trim().to_owned();
        Some(Setting { name: name.to_owned(), means: means(&value), value })
    };
    [
        sysctl("vm.swappiness", |value| match value {
            "0" => "anonymous memory is swapped only in the last resort",
            "60" => "the default: files are dropped before anonymous memory is swapped",
            "100" => "files and anonymous memory cost the same",
            _ => "up to 200; lower drops files first, higher swaps first",
        }),
        sysctl("vm.page-cluster", |value| match value {
            "0" => "swap is read one page at a time",
            _ => "swap is read 2 to this power pages at a time",
        }),
        sysctl("vm.min_free_kbytes", |_| "kept free for the most urgent needs, in KiB"),
        sysctl("vm.watermark_scale_factor", |_| "how far apart the watermarks are, in 1/10 000"),
        sysctl("vm.zone_reclaim_mode", |value| match value {
            "0" => "a full node borrows from another",
            _ => "a full node frees its own before it borrows",
        }),
        sysctl("kernel.numa_balancing", |value| match value {
            "0" => "pages stay on the node they were first touched on",
            "1" => "pages follow the tasks that use them; this costs hint faults",
            _ => "pages move between tiers of memory",
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_that_the_kernel_offers_means_something() {
        for value in ["always", "madvise", "never", "inherit"] {
            assert!(!enabled(value).is_empty(), "{value}");
        }
        for value in ["always", "defer", "defer+madvise", "madvise", "never"] {
            assert!(!defrag(value).is_empty(), "{value}");
        }
        for value in ["always", "within_size", "advise", "never", "deny", "force"] {
            assert!(!shmem(value).is_empty(), "{value}");
        }
    }
}
