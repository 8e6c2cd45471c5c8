//! What is counted in one file.

use super::lexer::{self, Language, Line};
use super::lists::{EIGHT_BITS, FAMILIES, PEOPLE, PHRASES, SPEECH};

/// The counts of some files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Words of comments.
    pub(super) words: usize,
    /// Words of each family.
    pub(super) families: [usize; FAMILIES.len()],
    pub(super) phrases: usize,
    /// Lines of code with a name that has the old word for a byte.
    pub(super) old_names: usize,
    /// Lines of code outside tests.
    pub(super) lines: usize,
    /// `assert!`, `debug_assert!` and their kin, `expect` with its reason.
    pub(super) assertions: usize,
    /// `unwrap_or`, `unwrap_or_default`, `unwrap_or_else`.
    pub(super) fallbacks: usize,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.words += other.words;
        self.families.iter_mut().zip(other.families).for_each(|(sum, count)| *sum += count);
        self.phrases += other.phrases;
        self.old_names += other.old_names;
        self.lines += other.lines;
        self.assertions += other.assertions;
        self.fallbacks += other.fallbacks;
    }

    /// How many of 10,000 comment words are of a family.
    pub(super) fn share(&self, family: usize) -> f64 {
        ratio(self.families[family], self.words, 10_000.0)
    }

    /// How often something stands in 1,000 lines of code.
    pub(super) fn per_line(&self, count: usize) -> f64 {
        ratio(count, self.lines, 1_000.0)
    }
}

fn ratio(count: usize, of: usize, per: f64) -> f64 {
    if of == 0 { 0.0 } else { count as f64 * per / of as f64 }
}

/// What a file adds to the counts.
pub(super) fn counts(path: &str, text: &str) -> Counts {
    let Some(language) = Language::of(path) else { return Counts::default() };
    let lines = lexer::lines(language, text);
    let mut counts = Counts::default();
    for (_, comment) in prose(&lines) {
        let words = words(&comment);
        counts.words += words.len();
        for (count, family) in counts.families.iter_mut().zip(FAMILIES) {
            *count += number(&words, |word| family.words.contains(&word.as_str()));
        }
        counts.phrases += phrases(&words).count();
    }
    counts.old_names = number(&lines, has_old_name);
    if language == Language::Rust && is_source(path) {
        for line in outside_tests(text, &lines).filter(|line| !line.code.trim().is_empty()) {
            counts.lines += 1;
            counts.assertions += assertions(&line.code);
            counts.fallbacks += occurrences(&line.code, ".unwrap_or");
        }
    }
    counts
}

/// The lines with words or fallbacks that have a budget, and why.
pub(super) fn findings(path: &str, text: &str) -> Vec<(usize, String)> {
    let Some(language) = Language::of(path) else { return Vec::new() };
    let lines = lexer::lines(language, text);
    let mut findings = Vec::new();
    for (n, comment) in prose(&lines) {
        let words = words(&comment);
        let listed =
            |word: &&String| [&SPEECH, &PEOPLE, &EIGHT_BITS].iter().any(|family| family.words.contains(&word.as_str()));
        findings.extend(words.iter().filter(listed).map(|word| (n, format!("{word}: {}", comment.trim()))));
        let phrase = |(phrase, instead): &(&str, &str)| (n, format!("{phrase} ({instead}): {}", comment.trim()));
        findings.extend(phrases(&words).map(phrase));
    }
    let named = lines.iter().enumerate().filter(|(_, line)| has_old_name(line));
    findings.extend(named.map(|(n, line)| (n + 1, format!("octet in code: {}", line.code.trim()))));
    if language == Language::Rust && is_source(path) {
        let sources = outside_tests(text, &lines).enumerate().filter(|(_, line)| line.code.contains(".unwrap_or"));
        findings.extend(sources.map(|(n, line)| (n + 1, format!("fallback: {}", line.code.trim()))));
    }
    findings.sort();
    findings
}

/// The comments, numbered, without examples in code fences and without quotations: lines that begin with `>`.
fn prose(lines: &[Line]) -> Vec<(usize, String)> {
    let (mut prose, mut in_fence) = (Vec::new(), false);
    for (n, line) in lines.iter().enumerate() {
        let comment = line.comment.trim();
        if comment.is_empty() && !line.code.trim().is_empty() {
            in_fence = false;
        }
        if comment.starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence && !comment.starts_with('>') && !comment.is_empty() {
            prose.push((n + 1, line.comment.clone()));
        }
    }
    prose
}

/// The words of a comment, in small letters.
fn words(comment: &str) -> Vec<String> {
    let words = comment.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect()
}

fn phrases(words: &[String]) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let text = format!(" {} ", words.join(" "));
    PHRASES.iter().filter(move |(phrase, _)| text.contains(&format!(" {phrase} ")))
}

fn number<T>(of: &[T], which: impl Fn(&T) -> bool) -> usize {
    of.iter().filter(|item| which(item)).count()
}

fn has_old_name(line: &Line) -> bool {
    line.code.to_ascii_lowercase().contains("octet")
}

/// Whether a file is compiled into the product, the task runner or a library; a module `tests` in a file of its own is not.
fn is_source(path: &str) -> bool {
    if path.ends_with("/tests.rs") {
        return false;
    }
    path.starts_with("xtask/src/") || (path.starts_with("crates/") && path.split('/').nth(2) == Some("src"))
}

/// The lines before the module of unit tests at the file's end.
fn outside_tests<'a>(text: &str, lines: &'a [Line]) -> impl Iterator<Item = &'a Line> {
    let opens = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
    let all: Vec<&str> = text.lines().collect();
    let end = all.windows(2).position(opens).unwrap_or(lines.len());
    lines.iter().take(end)
}

fn assertions(code: &str) -> usize {
    let macros = ["assert!(", "assert_eq!(", "assert_ne!("].iter().map(|name| occurrences(code, name)).sum::<usize>();
    macros + occurrences(code, ".expect(\"")
}

fn occurrences(code: &str, what: &str) -> usize {
    code.matches(what).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "crates/agent/src/lib.rs";

    #[test]
    fn every_form_of_a_word_is_counted_in_comments_and_nowhere_else() {
        let text =
            "// It says what it HEARD: 8 octets.\n// > The octets of the RFC.\nfn hear() { tell(\"say\") } // said\n";
        let counts = counts(PATH, text);
        assert_eq!((counts.words, counts.families), (7, [3, 0, 1, 0, 0]));
    }

    #[test]
    fn examples_in_comments_are_code() {
        let text = "/// One.\n/// ```\n/// say(octets)\n/// ```\n/// Two.\nfn f() {}\n";
        assert_eq!(counts(PATH, text).words, 2);
    }

    #[test]
    fn phrases_and_names_are_found_with_their_lines() {
        let text = "// It waits for ever.\nconst OCTETS_MAX: u8 = 1;\n// for everything\n";
        let counts = counts(PATH, text);
        assert_eq!((counts.phrases, counts.old_names), (1, 1));
        let lines: Vec<usize> = findings(PATH, text).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [1, 2]);
    }

    #[test]
    fn assertions_and_fallbacks_are_counted_outside_tests() {
        let text = "fn f() {\n  debug_assert!(x, \"\");\n  a.expect(\"why\").unwrap_or_default();\n}\n\n\
            #[cfg(test)]\nmod tests {\n  assert!(true);\n}\n";
        let source = counts(PATH, text);
        assert_eq!((source.lines, source.assertions, source.fallbacks), (4, 2, 1));
        assert_eq!(counts("crates/agent/tests/all.rs", text).lines, 0);
        assert_eq!(counts("crates/agent/src/inbox/tests.rs", text).lines, 0);
    }
}
