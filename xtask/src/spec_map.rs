//! Fills docs/spec-map.md: each requirement's row gets the tests that cite it. Rows that no test cites stay as they are.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::citations::citations;
use crate::tree;

const MAP: &str = "docs/spec-map.md";

/// A test that cites an ID, and its file.
struct Proof {
    id: String,
    file: String,
    test: String,
}

/// Rewrites the map.
pub(crate) fn fill() -> Result<()> {
    let file = tree::root().join(MAP);
    let map = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let ids: Vec<String> = map.lines().filter_map(|line| cells(line).map(|[id, ..]| id.to_owned())).collect();
    let proofs = proofs(&ids)?;
    let filled: String = map.lines().map(|line| fill_row(line, &proofs) + "\n").collect();
    fs::write(&file, filled)?;
    let proved: BTreeSet<&str> = proofs.iter().map(|proof| proof.id.as_str()).collect();
    println!("{MAP}: {} of {} requirements are cited by a test", proved.len(), ids.len());
    Ok(())
}

fn proofs(ids: &[String]) -> Result<Vec<Proof>> {
    let listing = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "crates/*.rs"])
        .current_dir(tree::root())
        .output()
        .context("git lists the sources")?;
    let mut proofs = Vec::new();
    for file in String::from_utf8_lossy(&listing.stdout).lines() {
        // git still lists a file that was deleted and is not committed.
        let Ok(source) = fs::read_to_string(tree::root().join(file)) else { continue };
        for citation in citations(&source, ids) {
            let (file, test) = (file.to_owned(), citation.test);
            proofs.extend(citation.ids.into_iter().map(|id| Proof { id, file: file.clone(), test: test.clone() }));
        }
    }
    Ok(proofs)
}

fn fill_row(line: &str, proofs: &[Proof]) -> String {
    let Some([id, what, ..]) = cells(line) else { return line.to_owned() };
    let of_row = || proofs.iter().filter(|proof| proof.id == id);
    if of_row().next().is_none() {
        return line.to_owned();
    }
    let files: BTreeSet<&str> = of_row().map(|proof| proof.file.as_str()).collect();
    let tests: Vec<&str> = of_row().map(|proof| proof.test.as_str()).collect();
    format!("| {id} | {what} | {} | {} |", quoted(files), quoted(tests))
}

/// The four cells of a row about a requirement.
fn cells(line: &str) -> Option<[&str; 4]> {
    let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix('|')?.split('|').map(str::trim).collect();
    cells.try_into().ok().filter(|[id, ..]: &[&str; 4]| *id != "ID")
}

fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}
