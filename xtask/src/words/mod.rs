//! Counts the words of the comments, and the assertions of the code: `cargo xtask words`.
//!
//! A reader of the field knows *send, receive, bytes, error*; CONTRIBUTING.md has the list. Counted are the words of
//! comments in Rust and JavaScript (`lexer`), and, outside tests, the assertions and the fallbacks of the code.

mod count;
mod lexer;
mod lists;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::tree;
use count::Counts;
use lists::{BUDGETS, COLUMNS};

/// The part that prose files count for; they are no comments, and are left out of the sum.
const PROSE: &str = "*.md";

/// Prints the counts of each part and of all.
pub(crate) fn table() -> Result<ExitCode> {
    let parts = parts()?;
    print!("{:<18}", "");
    COLUMNS.iter().for_each(|column| print!(" {:>9}", column.name));
    println!();
    for (part, counts) in parts.iter().chain([(&"all".to_owned(), &sum(&parts))]) {
        print!("{part:<18}");
        COLUMNS.iter().for_each(|column| print!(" {:>9}", (column.shown)(counts)));
        println!();
    }
    println!(
        "\nwords of a family per 10,000 comment words; assertions and fallbacks per 1,000 lines of code outside tests"
    );
    Ok(ExitCode::SUCCESS)
}

/// Fails if a budget is exceeded.
pub(crate) fn check() -> Result<ExitCode> {
    let all = sum(&parts()?);
    let broken = BUDGETS.iter().filter(|budget| !(budget.kept)(&all));
    let broken: Vec<&str> = broken.map(|budget| budget.rule).collect();
    broken.iter().for_each(|rule| eprintln!("words: {rule}; `cargo xtask words --list` shows where"));
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints where each word and each fallback stands that has a budget.
pub(crate) fn list() -> Result<ExitCode> {
    for (path, text) in tracked()? {
        for (line, why) in count::findings(&path, &text) {
            println!("{path}:{line}: {why}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn parts() -> Result<BTreeMap<String, Counts>> {
    let mut parts: BTreeMap<String, Counts> = BTreeMap::new();
    for (path, text) in tracked()? {
        parts.entry(part_of(&path)).or_default().add(&count::counts(&path, &text));
    }
    Ok(parts)
}

fn sum(parts: &BTreeMap<String, Counts>) -> Counts {
    let mut all = Counts::default();
    parts.iter().filter(|(part, _)| *part != PROSE).for_each(|(_, counts)| all.add(counts));
    all
}

/// The crate, or the folder at the top, that a file belongs to.
fn part_of(path: &str) -> String {
    if path.ends_with(".md") {
        return PROSE.to_owned();
    }
    let folders: Vec<&str> = path.split('/').collect();
    let length = if folders[0] == "crates" { 2 } else { 1 };
    folders[..length.min(folders.len())].join("/")
}

/// The files that git tracks and whose words count.
fn tracked() -> Result<Vec<(String, String)>> {
    let listing = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(tree::root())
        .output()
        .context("git lists the files")?;
    ensure!(listing.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listing.stderr));
    let names = String::from_utf8(listing.stdout).context("paths are UTF-8")?;
    let counted = names.split('\0').filter(|path| lexer::Language::of(path).is_some());
    // A file may have been deleted since it was tracked.
    let read = |path: &str| fs::read_to_string(tree::root().join(path)).ok().map(|text| (path.to_owned(), text));
    Ok(counted.filter_map(read).collect())
}
