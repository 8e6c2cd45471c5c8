//! The paths in the documents for contributors.

use std::collections::BTreeSet;

use crate::Violation;
use crate::files::File;

/// The documents that send a reader to files.
const DOCUMENTS: [&str; 2] = ["ARCHITECTURE.md", "CONTRIBUTING.md"];

/// The folders at the top of the tree.
const TOP: [&str; 7] = ["bench/", "crates/", "docs/", "e2e/", "extras/", "fuzz/", "xtask/"];

/// What a path is relative to that begins with a folder of the service.
const SERVICE: &str = "crates/service/src/";

/// Every path in a document exists: from the top of the tree, or in the service.
pub(crate) fn paths(files: &[File]) -> Vec<Violation> {
    let in_service = files.iter().filter_map(|file| file.path.strip_prefix(SERVICE)?.split_once('/'));
    let folders: BTreeSet<&str> = in_service.map(|(folder, _)| folder).collect();
    let full_paths = |word: &str| {
        let is_in_service = word.split_once('/').is_some_and(|(folder, _)| folders.contains(folder));
        match is_in_service {
            _ if TOP.iter().any(|top| word.starts_with(top)) => alternatives(word),
            true => alternatives(&format!("{SERVICE}{word}")),
            false => Vec::new(),
        }
    };
    let mut found = Vec::new();
    for document in files.iter().filter(|file| DOCUMENTS.contains(&file.path.as_str())) {
        let missing = words(&document.text).flat_map(full_paths).filter(|path| !exists(path, files));
        let missing: BTreeSet<String> = missing.collect();
        found.extend(missing.iter().map(|path| format!("{}: there is no {path}; follow the rename", document.path)));
    }
    found
}

/// The words that may be paths, in prose and in backticks, without the punctuation after them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| c.is_whitespace() || "`()[]|".contains(c));
    words.map(|word| word.trim_end_matches(['.', ',', ';', ':']))
}

/// `a/{b,c}/` is `a/b/` and `a/c/`.
fn alternatives(path: &str) -> Vec<String> {
    let parts = path.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    let Some((before, (names, after))) = parts else { return vec![path.to_owned()] };
    names.split(',').map(|name| format!("{before}{name}{after}")).collect()
}

/// Whether it is a file, or a folder with one.
fn exists(path: &str, files: &[File]) -> bool {
    let folder = format!("{}/", path.trim_end_matches('/'));
    files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_does_not_exist_is_caught() {
        let rule = |text: &str| {
            let plant = |path: &str| File::planted(path, "");
            let tree = [plant("crates/service/src/hub/shard.rs"), plant("crates/a/src/b.rs"), plant("docs/a.md")];
            paths(&[&tree[..], &[File::planted("ARCHITECTURE.md", text)]].concat()).len()
        };
        assert_eq!(rule("`crates/a/src/b.rs`, docs/a.md, `crates/{a,service}/src/` (`hub/shard.rs`)."), 0);
        assert_eq!(rule("`crates/a/src/c.rs`, docs/b.md, `crates/{a,b}/src/` (`hub/shards.rs`)."), 4);
        assert_eq!(rule("`web/`, `name/mod.rs`, its/their, and a `listen/` that is no folder of the service"), 0);
    }
}
