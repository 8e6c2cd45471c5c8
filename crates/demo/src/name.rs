//! The name that a person signs in with, and by which everybody else knows who calls.

use crate::error::DemoError;

/// What fits into the title of a notification beside "is calling".
const CHARACTERS_MAX: usize = 24;

/// A name that reads as what it is. Two names that differ only in case or spaces are one person's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// Reads what a person typed.
    pub(crate) fn parse(text: &str) -> Result<Self, DemoError> {
        let name = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if name.is_empty() || name.chars().count() > CHARACTERS_MAX {
            return Err(DemoError::Malformed("a name has 1 to 24 characters"));
        }
        let is_fit = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '\'' | '.');
        if !name.chars().all(is_fit) || !name.starts_with(char::is_alphanumeric) {
            return Err(DemoError::Malformed(
                "a name has letters, digits, spaces, hyphens, apostrophes and full stops",
            ));
        }
        if mixes_scripts(&name) {
            return Err(DemoError::Malformed(
                "a name is written in one script, so that it cannot pass for another name",
            ));
        }
        Ok(Self(name))
    }

    /// As it is shown.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// As it is looked up.
    pub(crate) fn key(&self) -> String {
        self.0.to_lowercase()
    }
}

/// Latin letters beside others: the letters of "Mom" have twins in Greek and Cyrillic, and a notification shows no
/// difference. A name wholly in another script stays possible.
fn mixes_scripts(name: &str) -> bool {
    let is_latin = |c: char| c < '\u{250}';
    let (mut latin, mut other) = (false, false);
    for c in name.chars().filter(|c| c.is_alphabetic()) {
        if is_latin(c) { latin = true } else { other = true }
    }
    latin && other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_tidied_and_is_the_same_in_any_case() {
        let name = Name::parse("  Mary  Ann O'Neil-2 ").unwrap();
        assert_eq!((name.as_str(), name.key().as_str()), ("Mary Ann O'Neil-2", "mary ann o'neil-2"));
        assert_eq!(Name::parse("Mom\u{2028}\n2").unwrap().as_str(), "Mom 2");
        assert_eq!(Name::parse("MOM").unwrap().key(), Name::parse("mom").unwrap().key());
        assert!(Name::parse("Мама").is_ok() && Name::parse("Zoë").is_ok() && Name::parse("李雷").is_ok());
    }

    #[test]
    fn a_name_that_would_deceive_or_break_a_notification_is_refused() {
        let long = "x".repeat(25);
        // The second letter of the first one is Cyrillic; the second one changes the direction of what follows.
        for wrong in ["M\u{43e}m", "\u{202e}moM", "", " ", "-", "Mom <b>", "a\0b", long.as_str()] {
            assert!(Name::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
