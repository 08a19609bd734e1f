//! Which anonymous regions are threads' stacks. The kernel stopped saying so in
//! 4.5, but a thread that waits in the kernel shows its stack pointer.

use std::sync::Arc;

use super::region::{Part, Region};
use crate::inspect::subject::Subject;

/// Beyond this many threads, the rest stay anonymous.
const THREADS: usize = 2048;

/// Names the regions that the threads' stack pointers point into.
pub fn fill(subject: &Subject, regions: &mut [Region]) {
    for tid in subject.threads().into_iter().filter(|&tid| tid != subject.pid).take(THREADS) {
        let Ok(text) = subject.text(&format!("task/{tid}/syscall")) else { continue };
        let Some(pointer) = stack_pointer(&text) else { continue };
        let at = regions.partition_point(|region| region.end <= pointer);
        let Some(region) = regions.get_mut(at).filter(|region| region.holds(pointer)) else {
            continue;
        };
        if region.part == Part::Anonymous && region.path.is_empty() {
            region.part = Part::ThreadStack;
            region.name = Arc::from(format!("[stack:{tid}]"));
        }
    }
}

/// The last but one number of `202 0x7f… 0x80 … 0x7ffe… 0x7f…`, or of `-1 SP PC`.
fn stack_pointer(text: &str) -> Option<u64> {
    let mut words = text.split_ascii_whitespace().rev();
    let (_program_counter, pointer) = (words.next()?, words.next()?);
    u64::from_str_radix(pointer.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_pointer_is_last_but_one() {
        assert_eq!(stack_pointer("202 0x1 0x80 0x0 0x0 0x0 0x0 0x7ffe 0x7f20\n"), Some(0x7ffe));
        assert_eq!(stack_pointer("-1 0x7ffe 0x7f20"), Some(0x7ffe));
        assert_eq!(stack_pointer("running\n"), None);
    }
}
