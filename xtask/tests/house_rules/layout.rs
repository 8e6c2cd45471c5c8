//! One layout of modules and of imports.

use crate::Violation;
use crate::files::File;

/// A module with children is `name/mod.rs`, never `name.rs` beside `name/`. A file right below `tests/` is a test of its
/// own for cargo, and has no children in a folder of its name.
pub(crate) fn modules(files: &[File]) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let folder = file.path.replace(".rs", "/");
        if files.iter().any(|child| child.is_rust() && child.path.starts_with(&folder)) {
            found.push(format!("{}: a module with children is {folder}mod.rs, so that one folder holds it", file.path));
        }
    }
    found
}

/// One `use` for each module path: no `::` inside its braces.
pub(crate) fn uses(file: &File) -> Vec<Violation> {
    if !file.is_rust() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut lines = file.text.lines().enumerate();
    while let Some((n, line)) = lines.next() {
        let words = line.trim_start();
        let is_use = words.starts_with("use ") || (words.starts_with("pub") && words.contains(" use "));
        if !is_use {
            continue;
        }
        let mut item = words.to_owned();
        while !item.contains(';') {
            let Some((_, next)) = lines.next() else { break };
            item.push_str(next.trim());
        }
        let braces = item.split_once('{').map_or("", |(_, inside)| inside);
        if braces.contains("::") {
            found.push(format!("{}:{}: one `use` for each module path, so that a search finds it", file.path, n + 1));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_beside_its_folder_is_caught() {
        let plant = |paths: &[&str]| paths.iter().map(|path| File::planted(path, "")).collect::<Vec<_>>();
        assert_eq!(modules(&plant(&["crates/a/src/hub.rs", "crates/a/src/hub/shard.rs"])).len(), 1);
        assert!(modules(&plant(&["crates/a/src/hub/mod.rs", "crates/a/src/hub/shard.rs"])).is_empty());
        assert!(modules(&plant(&["crates/a/src/hub.rs", "crates/a/src/hubs/shard.rs"])).is_empty());
    }

    #[test]
    fn a_use_of_several_modules_is_caught() {
        let rule = |text: &str| uses(&File::planted("crates/agent/src/lib.rs", text)).len();
        assert_eq!(rule("use std::{fmt, sync::Arc};"), 1);
        assert_eq!(rule("pub(crate) use std::{\n    fmt,\n    sync::Arc,\n};"), 1);
        assert_eq!(rule("use std::sync::{\n    Arc,\n    Mutex,\n};\nuse crate::{a, b};"), 0);
    }
}
