//! The plan on the disk: which cells the store has, and which agents live where. Without it no agent is found, so it has a
//! checksum, and is written as a whole or not at all.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use doorbell_private_file as private_file;

use super::plan::{CELLS_MAX, CellPlan};
use crate::error::OpenError;

/// The first line, with the version of the format.
const MAGIC: &str = "doorbell cells 1";

/// A cell that the store has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// What it has in it, so that no other is taken for it.
    pub(super) id: String,
    /// How the operator called it last, on one line.
    pub(super) name: String,
}

/// The contents of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlanFile {
    pub(super) members: Vec<Member>,
    pub(super) plan: CellPlan,
}

impl PlanFile {
    /// `None`: the store has never had more than one cell.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, OpenError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(OpenError::Io { path: path.into(), source }),
        };
        let damaged = || {
            OpenError::Cells(format!(
                "{} is damaged, or of a later version of doorbell: bring it back from a backup; without it no agent is found",
                path.display()
            ))
        };
        Self::parse(&text).map(Some).ok_or_else(damaged)
    }

    pub(super) fn save(&self, path: &Path) -> Result<(), OpenError> {
        private_file::replace(path, self.text().as_bytes())
            .map_err(|source: io::Error| OpenError::Io { path: path.into(), source })
    }

    fn text(&self) -> String {
        let mut text = format!("{MAGIC}\n");
        for Member { id, name } in &self.members {
            text.push_str(&format!("cell {id} {name}\n"));
        }
        self.plan.lines().for_each(|line| text.push_str(&format!("{line}\n")));
        let sum = sum(&text);
        text.push_str(&format!("sum {sum}\n"));
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let (body, last) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let body = format!("{body}\n");
        if last.strip_prefix("sum ")? != sum(&body) {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != MAGIC {
            return None;
        }
        let (members, entries): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with("cell "));
        let member = |line: &str| {
            let (id, name) = line.strip_prefix("cell ")?.split_once(' ')?;
            Some(Member { id: id.to_owned(), name: name.to_owned() })
        };
        let members: Vec<_> = members.into_iter().map(member).collect::<Option<_>>()?;
        let plan = CellPlan::from_lines(&entries, members.len())?;
        (1..=CELLS_MAX).contains(&members.len()).then_some(Self { members, plan })
    }
}

fn sum(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::time::UnixMs;

    use super::*;

    fn sample() -> PlanFile {
        let member = |id: &str, name: &str| Member { id: id.to_owned(), name: name.to_owned() };
        let mut plan = CellPlan::new(1);
        plan.grow(UnixMs::from_millis(1_800_000_000_000), 2);
        PlanFile { members: vec![member("a1", "the state directory"), member("b2", "disk 2")], plan }
    }

    #[test]
    fn the_file_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan");
        assert_eq!(PlanFile::load(&path).unwrap(), None);
        sample().save(&path).unwrap();
        assert_eq!(PlanFile::load(&path).unwrap(), Some(sample()));
    }

    #[test]
    fn a_file_with_any_bit_changed_or_without_its_end_is_refused_in_one_line_that_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan");
        let text = sample().text();
        for place in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[place] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(PlanFile::load(&path).is_err(), "byte {place}");
            fs::write(&path, &text.as_bytes()[..place]).unwrap();
            let refusal = PlanFile::load(&path).unwrap_err().to_string();
            assert!(refusal.contains("bring it back from a backup") && !refusal.contains('\n'), "{refusal}");
        }
    }
}
