//! Zones: how much of each is free, where its watermarks are, and in which sizes
//! its free memory lies.

use serde::Serialize;

use crate::inspect::pagemap::PAGE;

/// A zone. Amounts are bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Zone {
    /// Its NUMA node.
    pub node: u32,
    /// Its name.
    pub name: String,
    /// What it manages.
    pub managed: u64,
    /// What is free.
    pub free: u64,
    /// Below this only the kernel's most urgent allocations succeed: tasks reclaim themselves.
    pub min: u64,
    /// Below this kswapd wakes up.
    pub low: u64,
    /// Up to this kswapd frees.
    pub high: u64,
    /// Free blocks by order: how many of 1, 2, 4 … pages.
    pub orders: Vec<u64>,
}

/// How a zone stands against its watermarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Above all.
    Enough,
    /// kswapd is at work until it is above `high` again.
    BelowHigh,
    /// kswapd was woken.
    BelowLow,
    /// Whoever wants memory must free it first.
    BelowMin,
}

impl Zone {
    /// How it stands.
    pub const fn level(&self) -> Level {
        if self.free < self.min {
            Level::BelowMin
        } else if self.free < self.low {
            Level::BelowLow
        } else if self.free < self.high {
            Level::BelowHigh
        } else {
            Level::Enough
        }
    }

    /// How much of the free memory lies in blocks of at least 2 MiB.
    pub fn free_huge(&self) -> u64 {
        let blocks = self.orders.iter().enumerate().skip(9);
        blocks.map(|(order, count)| count * (PAGE << order)).sum()
    }
}

/// Reads `/proc/zoneinfo`. Zones without memory are left out.
pub fn parse(text: &str) -> Vec<Zone> {
    let mut zones: Vec<Zone> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(word) = words.next() else { continue };
        if word == "Node" {
            let node = words.next().and_then(|text| text.trim_end_matches(',').parse().ok());
            let name = words.nth(1).unwrap_or_default().to_owned();
            zones.push(Zone { node: node.unwrap_or(0), name, ..Zone::default() });
            continue;
        }
        let Some(zone) = zones.last_mut() else { continue };
        // "pages free 100", and below it "min 10": the number is the last word.
        let size = words.next_back().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * PAGE;
        match word {
            "pages" => zone.free = size,
            "min" => zone.min = size,
            "low" => zone.low = size,
            "high" => zone.high = size,
            "managed" => zone.managed = size,
            _ => {}
        }
    }
    zones.retain(|zone| zone.managed > 0);
    zones
}

/// Adds `/proc/buddyinfo`: `Node 0, zone   Normal   172   501 …`.
pub fn add_orders(zones: &mut [Zone], text: &str) {
    for line in text.lines() {
        let Some((node, rest)) = line.strip_prefix("Node ").and_then(|rest| rest.split_once(','))
        else {
            continue;
        };
        let mut words = rest.split_ascii_whitespace();
        let (Some("zone"), Some(name)) = (words.next(), words.next()) else { continue };
        let mine = |zone: &&mut Zone| zone.name == name && node.parse() == Ok(zone.node);
        if let Some(zone) = zones.iter_mut().find(mine) {
            zone.orders = words.filter_map(|text| text.parse().ok()).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONEINFO: &str = "\
Node 0, zone   Normal
  per-node stats
      nr_inactive_anon 5
  pages free     100
        boost    0
        min      10
        low      200
        high     300
        spanned  5000
        present  5000
        managed  4000
      nr_free_pages 100
  pagesets
    cpu: 0
              count:    9
              high:     1
  start_pfn:           1048576
Node 0, zone  Movable
  pages free     0
        managed  0
";

    #[test]
    fn a_zone_and_its_watermarks() {
        let mut zones = parse(ZONEINFO);
        add_orders(
            &mut zones,
            "Node 0, zone   Normal  1 0 0 0 0 0 0 0 0 3 2\nNode 1, zone Normal 9\n",
        );
        assert_eq!(zones.len(), 1, "a zone without memory is left out");
        let zone = &zones[0];
        assert_eq!((zone.free, zone.min, zone.managed), (409_600, 40_960, 16_384_000));
        assert_eq!(zone.high, 300 * PAGE, "the pagesets' high is another");
        assert_eq!(zone.level(), Level::BelowLow);
        assert_eq!(zone.free_huge(), 3 * (2 << 20) + 2 * (4 << 20));
    }
}
