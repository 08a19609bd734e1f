//! Where pages go that do not fit: swap areas, zram behind them, zswap before them.

use std::fs;

use serde::Serialize;

/// A swap area. Sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Area {
    /// Its device or file.
    pub path: String,
    /// `partition` or `file`.
    pub kind: String,
    /// Its size.
    pub size: u64,
    /// What is used.
    pub used: u64,
    /// Its priority.
    pub priority: i64,
    /// What zram makes of it.
    pub zram: Option<Zram>,
}

/// A zram device. Sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Zram {
    /// What was put in.
    pub original: u64,
    /// What that became.
    pub compressed: u64,
    /// What it takes in memory.
    pub memory: u64,
    /// How it compresses.
    pub algorithm: Option<String>,
}

/// zswap. Sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Zswap {
    /// Whether it is on.
    pub enabled: bool,
    /// How it compresses.
    pub compressor: Option<String>,
    /// How much of memory it may take, in percent.
    pub max_percent: Option<u64>,
    /// What was put in.
    pub original: Option<u64>,
    /// What that takes.
    pub memory: Option<u64>,
}

/// Reads `/proc/swaps`.
pub fn areas(text: &str) -> Vec<Area> {
    let area = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let path = words.next()?.replace("\\040", " ");
        let kind = words.next()?.to_owned();
        let mut kib = || words.next()?.parse::<u64>().ok().map(|kib| kib * 1024);
        let (size, used) = (kib()?, kib()?);
        Some(Area { path, kind, size, used, priority: words.next()?.parse().ok()?, zram: None })
    };
    text.lines().skip(1).filter_map(area).collect()
}

/// Reads a zram device's `mm_stat`.
pub fn zram(text: &str) -> Option<Zram> {
    let mut numbers = text.split_ascii_whitespace().map_while(|word| word.parse().ok());
    let (original, compressed, memory) = (numbers.next()?, numbers.next()?, numbers.next()?);
    Some(Zram { original, compressed, memory, algorithm: None })
}

/// The word in brackets: `lzo [zstd] lz4`.
pub fn chosen(text: &str) -> Option<&str> {
    text.split_once('[')?.1.split_once(']').map(|(word, _)| word)
}

/// Looks at the swap areas.
pub fn look() -> Vec<Area> {
    let mut areas = areas(&fs::read_to_string("/proc/swaps").unwrap_or_default());
    for area in &mut areas {
        let Some(device) = area.path.strip_prefix("/dev/zram") else { continue };
        let read = |name: &str| fs::read_to_string(format!("/sys/block/zram{device}/{name}")).ok();
        area.zram = read("mm_stat").as_deref().and_then(zram).map(|zram| {
            let algorithm = read("comp_algorithm").as_deref().and_then(chosen).map(str::to_owned);
            Zram { algorithm, ..zram }
        });
    }
    areas
}

/// Looks at zswap; `stored` and `taken` come from meminfo.
pub fn zswap(stored: Option<u64>, taken: Option<u64>) -> Option<Zswap> {
    let read = |name: &str| {
        let path = format!("/sys/module/zswap/parameters/{name}");
        fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
    };
    Some(Zswap {
        enabled: read("enabled")? == "Y",
        compressor: read("compressor"),
        max_percent: read("max_pool_percent").and_then(|text| text.parse().ok()),
        original: stored,
        memory: taken,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_and_zram() {
        let text = "Filename\t\tType\t\tSize\t\tUsed\t\tPriority\n\
                    /dev/zram0                              partition\t1048572\t\t512\t\t100\n\
                    /swap\\040file file 8 0 -2\n";
        let areas = areas(text);
        assert_eq!((areas[0].used, areas[0].priority), (524_288, 100));
        assert_eq!((areas[1].path.as_str(), areas[1].priority), ("/swap file", -2));
        let zram = zram("  8192 2000 4096 0 4096 0 0 0 0\n").unwrap();
        assert_eq!((zram.original, zram.compressed, zram.memory), (8192, 2000, 4096));
        assert_eq!(chosen("lzo [zstd] lz4\n"), Some("zstd"));
    }
}
