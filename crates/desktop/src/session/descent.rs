//! Which process is a child of which.

use std::fs::File;
use std::io::Read;

/// Deeper than this no browser nests its processes.
const DEPTH_MAX: usize = 32;
/// The fields up to the parent's number are shorter.
const STAT_BYTES_MAX: u64 = 1024;

/// Whether `process` is `ancestor`, or a child of it, or a child of a child…
pub(super) fn descends(process: u32, ancestor: u32) -> bool {
    std::iter::successors(Some(process), |one| parent(*one)).take(DEPTH_MAX).any(|one| one == ancestor)
}

fn parent(process: u32) -> Option<u32> {
    let mut stat = Vec::new();
    File::open(format!("/proc/{process}/stat")).ok()?.take(STAT_BYTES_MAX).read_to_end(&mut stat).ok()?;
    // The name of the program, in parentheses, may hold parentheses and spaces.
    let stat = String::from_utf8_lossy(&stat);
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_descends_from_its_parent_and_not_the_other_way_round() {
        let me = std::process::id();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(descends(me, me));
        assert!(descends(child.id(), me));
        assert!(!descends(me, child.id()));
        let ended = child.id();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!descends(ended, me), "it is gone");
    }
}
