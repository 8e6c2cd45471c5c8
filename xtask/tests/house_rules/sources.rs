//! The shape of a source file: how it opens, how long it may grow.

use crate::Violation;
use crate::files::File;

/// Past this a file holds more than one idea.
const LINES_MAX: usize = 500;

/// Every Rust file opens with `//!` and a sentence.
pub(crate) fn opening(file: &File) -> Vec<Violation> {
    let first = file.text.lines().next().unwrap_or_default();
    if !file.is_rust() || first.strip_prefix("//! ").is_some_and(|purpose| purpose.len() > 10) {
        return Vec::new();
    }
    vec![format!("{}: opens without `//!` and its purpose, so that a reader has to guess it", file.path)]
}

/// No Rust file outside tests is longer than [`LINES_MAX`]; unit tests at its end do not count.
pub(crate) fn length(file: &File) -> Vec<Violation> {
    let lines = file.code().count();
    if !file.is_rust() || file.path.contains("/tests/") || lines <= LINES_MAX {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines hold more than one idea; split it by idea (at most {LINES_MAX})", file.path)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_purpose_is_caught() {
        let rule = |text: &str| opening(&File::planted("crates/agent/src/lib.rs", text)).len();
        assert_eq!(rule("use std::fmt;\n"), 1);
        assert_eq!(rule("//!\n"), 1);
        assert_eq!(rule("//! What the agent is for.\n"), 0);
    }

    #[test]
    fn a_file_of_two_ideas_is_caught_and_its_tests_do_not_count() {
        let rule = |path: &str, text: &str| length(&File::planted(path, text)).len();
        let long = "let x = 1;\n".repeat(LINES_MAX + 1);
        assert_eq!(rule("crates/agent/src/lib.rs", &long), 1);
        assert_eq!(rule("crates/agent/tests/all.rs", &long), 0);
        assert_eq!(rule("crates/agent/src/lib.rs", &format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{long}}}\n")), 0);
    }
}
