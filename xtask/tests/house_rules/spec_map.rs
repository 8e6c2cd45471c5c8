//! docs/spec-map.md: every requirement has a row, and every test that a row names exists in the file that it names.

use crate::Violation;
use crate::files::File;

/// The IDs of the inventory: push service, application server, user agent, encryption.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// Names the requirements without a row.
pub(crate) fn check_complete(map: &File) -> Vec<Violation> {
    let has_row = |id: &&str| map.text.lines().any(|line| line.starts_with(&format!("| {id} |")));
    let missing = REQUIREMENTS.lines().filter(|id| !has_row(id));
    missing
        .map(|id| format!("{}: there is no row for {id}; say which test proves it, or why none does", map.path))
        .collect()
}

/// Checks the rows `| ID | what | file | test |`. Files and tests are in backticks; a row without a test has the reason in
/// plain words.
pub(crate) fn check(map: &File, files: &[File]) -> Vec<Violation> {
    let rows = map.text.lines().enumerate().filter(|(_, line)| line.starts_with("| "));
    rows.flat_map(|(n, line)| row(line, files).into_iter().map(move |what| (n, what)))
        .map(|(n, what)| format!("{}:{}: {what}; a map that points nowhere proves nothing", map.path, n + 1))
        .collect()
}

fn row(line: &str, files: &[File]) -> Vec<String> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [_, _, places, tests] = cells.as_slice() else {
        return vec!["a row has four cells".to_owned()];
    };
    let (places, tests) = (quoted(places), quoted(tests));
    let mut wrong = Vec::new();
    let mut found = Vec::new();
    for place in &places {
        match files.iter().find(|file| file.path == *place) {
            Some(file) => found.push(file),
            None => wrong.push(format!("there is no file {place}")),
        }
    }
    for test in tests {
        if !found.iter().any(|file| file.text.contains(&format!("fn {test}("))) {
            wrong.push(format!("there is no test {test} in {}", places.join(", ")));
        }
    }
    wrong
}

fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_without_a_row_is_caught() {
        let all: String = REQUIREMENTS.lines().map(|id| format!("| {id} | what | | why |\n")).collect();
        assert_eq!(check_complete(&File::planted("docs/spec-map.md", &all)).len(), 0);
        let one_less = all.split_once('\n').unwrap().1;
        assert_eq!(check_complete(&File::planted("docs/spec-map.md", one_less)).len(), 1);
    }

    #[test]
    fn a_row_that_names_a_missing_test_or_file_is_caught() {
        let files = [File::planted("crates/a/src/ttl.rs", "#[test]\nfn a_missing_ttl_is_refused() {}\n")];
        let rule = |row: &str| check(&File::planted("docs/spec-map.md", row), &files).len();
        assert_eq!(rule("| PS-1 | TTL | `crates/a/src/ttl.rs` | `a_missing_ttl_is_refused` |"), 0);
        assert_eq!(rule("| PS-1 | TTL | `crates/a/src/ttl.rs` | `a_missing_ttl` |"), 1);
        assert_eq!(rule("| PS-1 | TTL | `crates/a/src/gone.rs` | `a_missing_ttl_is_refused` |"), 2);
        assert_eq!(rule("| PS-1 | TTL |"), 1);
        assert_eq!(rule("| PS-1 | TTL | | not yet: it needs receipts |"), 0);
    }
}
