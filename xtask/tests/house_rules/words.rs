//! Rules that a search for words can check: what a part of the tree must never name.

use crate::Violation;
use crate::files::File;

const IO_AND_CLOCKS: &[&str] = &["std::fs", "std::net", "std::process", "tokio", "SystemTime", "Instant"];

// Split, so that this file does not break its own rules.
const NOTES: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const PLACES: &[&str] = &[
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("registry.", "npmjs.org"),
    concat!("files.", "pythonhosted.org"),
    concat!("pypi", ".org"),
    concat!("deb.", "debian.org"),
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
];

/// protocol, mailbox and cluster do no IO and read no clock (invariant 3).
pub(crate) fn pure(file: &File) -> Vec<Violation> {
    if !["protocol", "mailbox", "cluster"].into_iter().any(|pure| file.is_source_of(pure)) {
        return Vec::new();
    }
    named(
        file,
        IO_AND_CLOCKS,
        "time and IO are the caller's (invariant 3): the rules must run the same in a simulation",
    )
}

/// The service never names the module that opens messages (invariant 2).
pub(crate) fn sealed(file: &File) -> Vec<Violation> {
    if !file.is_source_of("service") {
        return Vec::new();
    }
    named(file, &["ece"], "the service cannot open a message (invariant 2): it must not even name the code that could")
}

/// Doors reach the store and the mailbox through the hub only (invariant 5).
pub(crate) fn doors(file: &File) -> Vec<Violation> {
    if !file.path.starts_with("crates/service/src/doors/") {
        return Vec::new();
    }
    let behind = ["doorbell_store", "doorbell_mailbox"];
    named(file, &behind, "doors talk to the hub and to nothing else (invariant 5): a new door must not need new rules")
}

/// A note to oneself has its reason in parentheses.
pub(crate) fn notes(file: &File) -> Vec<Violation> {
    if file.path.ends_with(".lock") || file.path.ends_with("-lock.json") || file.path.starts_with("fuzz/seeds/") {
        return Vec::new();
    }
    let bare = |line: &str, note: &str| occurrences(line, note).any(|at| !line[at + note.len()..].starts_with('('));
    let lines = file.text.lines().enumerate().filter(|(_, line)| NOTES.iter().any(|note| bare(line, note)));
    lines
        .map(|(n, _)| {
            format!("{}:{}: a note without a reason in parentheses is never taken up again", file.path, n + 1)
        })
        .collect()
}

/// No registry's host and no path of one machine.
pub(crate) fn places(file: &File) -> Vec<Violation> {
    let why = "the tree must build on any machine, from whichever registry that machine is set up for";
    let mut found = Vec::new();
    for (n, line) in file.text.lines().enumerate() {
        for place in PLACES.iter().filter(|place| starts(line, place)) {
            found.push(format!("{}:{}: names {place}; {why}", file.path, n + 1));
        }
    }
    found
}

/// Whether `place` stands in the line, not as the end of a longer path or host.
fn starts(line: &str, place: &str) -> bool {
    let before = |at: usize| line[..at].chars().next_back();
    line.match_indices(place).any(|(at, _)| !before(at).is_some_and(|c| c.is_alphanumeric() || "_-.~}".contains(c)))
}

fn named(file: &File, words: &[&str], why: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    for (n, line) in file.code() {
        for word in words.iter().filter(|word| occurrences(line, word).next().is_some()) {
            found.push(format!("{}:{n}: names {word}; {why}", file.path));
        }
    }
    found
}

/// Where `word` stands in the line as a word of its own.
fn occurrences<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    let whole = move |at: &usize| !line[..*at].ends_with(inside) && !line[at + word.len()..].starts_with(inside);
    line.match_indices(word).map(|(at, _)| at).filter(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_in_the_rules_is_caught_but_not_in_a_comment_a_test_or_another_crate() {
        let rule = |path: &str, text: &str| pure(&File::planted(path, text)).len();
        assert_eq!(rule("crates/mailbox/src/deliver.rs", "let now = SystemTime::now();"), 1);
        assert_eq!(rule("crates/protocol/src/time.rs", "use tokio::time::Duration;"), 1);
        assert_eq!(rule("crates/mailbox/src/deliver.rs", "// SystemTime is the driver's"), 0);
        assert_eq!(rule("crates/mailbox/src/deliver.rs", "struct Instantly;"), 0);
        assert_eq!(rule("crates/mailbox/src/deliver.rs", "#[cfg(test)]\nmod tests {\nuse std::fs;\n}"), 0);
        assert_eq!(rule("crates/service/src/clock.rs", "SystemTime::now()"), 0);
    }

    #[test]
    fn a_service_that_names_the_opener_is_caught() {
        let rule = |path: &str, text: &str| sealed(&File::planted(path, text)).len();
        assert_eq!(rule("crates/service/src/doors/app/push.rs", "use doorbell_protocol::ece::aes128gcm;"), 1);
        assert_eq!(rule("crates/service/src/doors/app/push.rs", "let piece = receipt;"), 0);
        assert_eq!(rule("crates/agent/src/open.rs", "use doorbell_protocol::ece::keys;"), 0);
    }

    #[test]
    fn a_door_that_knows_the_store_is_caught() {
        let planted = File::planted("crates/service/src/doors/app/push.rs", "use doorbell_store::Store;");
        assert_eq!(doors(&planted).len(), 1);
    }

    #[test]
    fn a_note_without_a_reason_is_caught() {
        let rule = |text: String| notes(&File::planted("crates/agent/src/lib.rs", &text)).len();
        assert_eq!(rule(format!("// {} later", NOTES[0])), 1);
        assert_eq!(rule(format!("// {}: later", NOTES[1])), 1);
        assert_eq!(rule(format!("// {}(needs h2 0.5): drop this", NOTES[0])), 0);
    }

    #[test]
    fn a_host_or_a_machine_path_is_caught() {
        let rule = |text: &str| places(&File::planted("docs/operating.md", text)).len();
        assert_eq!(rule(&format!("see {}main", PLACES[6])), 1);
        assert_eq!(rule(&format!("\"resolved\": \"https://{}/x\"", PLACES[2])), 1);
        assert_eq!(rule(&format!("a frame{}shop", PLACES[6])), 0);
        assert_eq!(rule("source = \"registry+https://github.com/rust-lang/crates.io-index\""), 0);
    }
}
