//! Commit subjects: they are read in lists, where a long one is cut off.

use std::path::Path;
use std::process::Command;

use crate::Violation;

const SUBJECT_MAX: usize = 72;

/// The last commit before the rule; those up to it may have longer subjects.
const SINCE: &str = include_str!("subjects_since.txt");

/// The subjects of the commits that the rule is for, with their ids; none if this clone does not reach back to
/// [`SINCE`], as a shallow one does not.
pub(crate) fn subjects() -> Option<Vec<(String, String)>> {
    let since = SINCE.trim();
    git(&["merge-base", "--is-ancestor", since, "HEAD"])?;
    let log = git(&["log", "--no-merges", "--format=%h %s", &format!("{since}..HEAD")])?;
    let split = |line: &str| line.split_once(' ').map(|(id, subject)| (id.to_owned(), subject.to_owned()));
    Some(log.lines().filter_map(split).collect())
}

/// Subjects have at most [`SUBJECT_MAX`] characters.
pub(crate) fn short(commits: &[(String, String)]) -> Vec<Violation> {
    let too_long = commits.iter().filter(|(_, subject)| subject.chars().count() > SUBJECT_MAX);
    too_long
        .map(|(id, subject)| {
            format!(
                "commit {id}: a subject has at most {SUBJECT_MAX} characters, the why goes into the body: {subject}"
            )
        })
        .collect()
}

/// What git prints, if it succeeds.
fn git(args: &[&str]) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let output = Command::new("git").args(args).current_dir(root).output().expect("git runs");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_that_is_too_long_is_caught() {
        let commit = |subject: &str| ("1234567".to_owned(), subject.to_owned());
        assert_eq!(short(&[commit(&"é".repeat(SUBJECT_MAX)), commit(&"x".repeat(SUBJECT_MAX + 1))]).len(), 1);
    }
}
