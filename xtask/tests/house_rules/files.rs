//! The files that the rules read: what git tracks, and what it would track after `git add`.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A text file of the tree.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Relative to the workspace, with forward slashes.
    pub(crate) path: String,
    /// Its content; empty for files that are not text.
    pub(crate) text: String,
}

impl File {
    /// A file that exists only in a test of the rules.
    pub(crate) fn planted(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The crate's folder name, for a file below `crates/`.
    pub(crate) fn krate(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// Whether it is Rust source.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it is production source of a crate, not a test.
    pub(crate) fn is_source_of(&self, krate: &str) -> bool {
        self.is_rust() && self.path.starts_with(&format!("crates/{krate}/src/"))
    }

    /// Its lines without `//` comments, numbered from 1, and without the module of unit tests at its end.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let opens_tests =
            |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
        let end = lines.windows(2).position(opens_tests).unwrap_or(lines.len());
        let production = lines.into_iter().take(end).enumerate();
        production.map(|(n, line)| (n + 1, line.split("//").next().unwrap_or_default()))
    }
}

/// Every file that git tracks or would track.
pub(crate) fn tracked() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let listing = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .expect("git lists the files");
    assert!(listing.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listing.stderr));
    let names = String::from_utf8(listing.stdout).expect("paths are UTF-8");
    let paths = names.split('\0').filter(|path| !path.is_empty());
    // A file may have been deleted since it was tracked.
    paths.filter_map(|path| fs::read(root.join(path)).ok().map(|bytes| (path, bytes))).map(read).collect()
}

fn read((path, bytes): (&str, Vec<u8>)) -> File {
    File { path: path.to_owned(), text: String::from_utf8(bytes).unwrap_or_default() }
}
