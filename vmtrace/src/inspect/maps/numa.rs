//! `numa_maps`: on which node each region's pages are.

use super::region::Region;

/// Adds each line's nodes to the region that starts where the line says.
/// `7f2a1c000000 default anon=12 dirty=12 N0=8 N1=4 kernelpagesize_kB=4`.
pub fn fill(text: &str, regions: &mut [Region]) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(start) = words.next().and_then(|text| u64::from_str_radix(text, 16).ok()) else {
            continue;
        };
        let Ok(at) = regions.binary_search_by_key(&start, |region| region.start) else { continue };
        let mut nodes = Vec::new();
        let mut page = 4096;
        for word in words {
            let Some((key, value)) = word.split_once('=') else { continue };
            let Ok(value) = value.parse::<u64>() else { continue };
            if key == "kernelpagesize_kB" {
                page = value * 1024;
            } else if let Some(Ok(node)) = key.strip_prefix('N').map(str::parse::<u16>) {
                nodes.push((node, value));
            }
        }
        regions[at].nodes = nodes.into_iter().map(|(node, pages)| (node, pages * page)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::maps::smaps;

    #[test]
    fn nodes_in_bytes_even_of_huge_pages() {
        let mut regions =
            smaps::read("1000-5000 rw-p 0 0:0 0\n200000-600000 rw-p 0 0:0 0\n".as_bytes(), None)
                .unwrap();
        let text = "1000 default anon=3 dirty=3 N0=1 N1=2 kernelpagesize_kB=4\n\
                    200000 interleave:0-1 huge anon=2 N1=2 kernelpagesize_kB=2048\n9000 default\n";
        fill(text, &mut regions);
        assert_eq!(regions[0].nodes, [(0, 4096), (1, 8192)]);
        assert_eq!(regions[1].nodes, [(1, 4 << 20)]);
    }
}
