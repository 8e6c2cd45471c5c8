//! The time before which a wall clock counts as wrong.

use crate::Violation;
use crate::files::File;

const WALL: &str = "crates/service/src/wall.rs";
const CHANGELOG: &str = "CHANGELOG.md";

/// The constant's comment names its date, and no release is newer: a wall clock from before the release is wrong.
pub(crate) fn is_fresh(files: &[File]) -> Vec<Violation> {
    let text = |path: &str| files.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str());
    let constant =
        text(WALL).lines().find_map(|line| line.strip_prefix("/// A wall clock that shows an earlier time is wrong: "));
    let Some(known) = constant.and_then(date) else {
        return vec![format!("{WALL}: the comment of RELEASED names no date")];
    };
    let releases = text(CHANGELOG).lines().filter(|line| line.starts_with("## "));
    let newer = releases.filter_map(date).filter(|release| *release > known);
    newer
        .map(|release| format!("{WALL}: RELEASED is older than the release of {release}; set it to that day"))
        .collect()
}

/// The first date of the form 2026-09-01. Dates of this form are ordered like their texts.
fn date(text: &str) -> Option<&str> {
    let is_date = |part: &&str| {
        part.len() == 10
            && part
                .bytes()
                .enumerate()
                .all(|(n, byte)| if n == 4 || n == 7 { byte == b'-' } else { byte.is_ascii_digit() })
    };
    text.split(|c: char| !c.is_ascii_digit() && c != '-').find(is_date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_after_the_known_time_is_found() {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let clock = file(WALL, "/// A wall clock that shows an earlier time is wrong: 2026-09-01. A rule\n");
        let released = |day: &str| [clock.clone(), file(CHANGELOG, &format!("## Unreleased\n## 0.2.0 - {day}\n"))];
        assert_eq!(is_fresh(&released("2026-09-01")), [""; 0]);
        assert_eq!(is_fresh(&released("2026-12-24")).len(), 1);
        assert_eq!(is_fresh(&[file(WALL, "const RELEASED"), file(CHANGELOG, "")]).len(), 1);
    }
}
