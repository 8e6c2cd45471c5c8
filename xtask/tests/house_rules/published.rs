//! What the documentation of the publishable libraries may not cite: only this repository can resolve it.

use crate::Violation;
use crate::files::File;

/// Libraries that others can add to their programs; their pages are read without the repository.
const PUBLISHED: &[&str] = &["protocol", "sender", "agent", "private-file"];

/// Citations of documents and lists of this repository.
const INTERNAL: &[&str] = &["invariant ", "ARCHITECTURE", "CONTRIBUTING", "docs/", "spec-map"];

/// The beginnings of our requirement IDs, such as `AS-8291-4-4`.
const ROLES: &[&str] = &["PS-", "AS-", "UA-", "CR-"];

/// Doc comments of published libraries cite RFC sections, and nothing that their readers cannot open.
pub(crate) fn stands_alone(file: &File) -> Vec<Violation> {
    if !PUBLISHED.iter().any(|krate| file.is_source_of(krate)) {
        return Vec::new();
    }
    let is_doc = |line: &str| line.trim_start().starts_with("///") || line.trim_start().starts_with("//!");
    let documentation = file.text.lines().enumerate().filter(|(_, line)| is_doc(line));
    documentation
        .filter(|(_, line)| INTERNAL.iter().any(|word| line.contains(word)) || cites_a_requirement(line))
        .map(|(n, _)| {
            format!("{}:{}: cites what only this repository can resolve; cite the RFC's section", file.path, n + 1)
        })
        .collect()
}

fn cites_a_requirement(line: &str) -> bool {
    let is_id = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit()) || rest.starts_with("SSRF");
    ROLES.iter().any(|role| line.match_indices(role).any(|(at, _)| is_id(&line[at + role.len()..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_citation_that_only_the_repository_resolves_is_caught() {
        let rule = |path: &str, text: &str| stands_alone(&File::planted(path, text)).len();
        for text in ["/// Refused (PS-8030-5.4-1).", "//! As docs/errors.md has it.", "    /// See invariant 8."] {
            assert_eq!(rule("crates/protocol/src/key.rs", text), 1, "{text}");
        }
        assert_eq!(rule("crates/sender/src/guard.rs", "/// Checks addresses (AS-SSRF-1)."), 1);
        assert_eq!(rule("crates/sender/src/guard.rs", "// AS-SSRF-1\n/// RFC 8030 s8.4, AES-128, CR-LF"), 0);
        assert_eq!(rule("crates/service/src/lib.rs", "/// See invariant 8."), 0);
    }
}
