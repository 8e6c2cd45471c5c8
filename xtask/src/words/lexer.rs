//! Takes a source file apart into what the compiler reads and what people read.

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Rust,
    JavaScript,
    /// All of it is for people.
    Markdown,
}

/// One line of a file. Strings are emptied: what they hold is data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) code: String,
    pub(super) comment: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    LineComment,
    /// With the depth: Rust's nest.
    BlockComment(u32),
    /// Until this character.
    Text(char),
    /// Until a quotation mark and so many `#`.
    Raw(usize),
}

impl Language {
    /// By the file's name; none for files that are not counted.
    pub(super) fn of(path: &str) -> Option<Self> {
        match path.rsplit_once('.')?.1 {
            "rs" => Some(Self::Rust),
            "js" | "mjs" => Some(Self::JavaScript),
            "md" => Some(Self::Markdown),
            _ => None,
        }
    }
}

/// The lines of a file.
pub(super) fn lines(language: Language, text: &str) -> Vec<Line> {
    if language == Language::Markdown {
        return text.lines().map(|line| Line { code: String::new(), comment: line.to_owned() }).collect();
    }
    let mut state = State::Code;
    text.lines().map(|line| read_line(language, line, &mut state)).collect()
}

fn read_line(language: Language, line: &str, state: &mut State) -> Line {
    let (mut read, mut rest) = (Line::default(), line);
    while let Some(c) = rest.chars().next() {
        let used = match *state {
            State::Code => read_code(language, rest, &mut read, state),
            State::LineComment => {
                read.comment.push_str(rest);
                rest.len()
            }
            State::BlockComment(depth) if rest.starts_with("*/") => {
                *state = if depth > 1 { State::BlockComment(depth - 1) } else { State::Code };
                2
            }
            State::BlockComment(depth) if rest.starts_with("/*") && language == Language::Rust => {
                *state = State::BlockComment(depth + 1);
                2
            }
            State::BlockComment(_) => {
                read.comment.push(c);
                c.len_utf8()
            }
            State::Text(_) if c == '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            State::Text(end) => {
                if c == end {
                    read.code.push(end);
                    *state = State::Code;
                }
                c.len_utf8()
            }
            State::Raw(marks) => {
                let closes = c == '"' && rest[1..].bytes().take_while(|b| *b == b'#').count() >= marks;
                if closes {
                    read.code.push('"');
                    *state = State::Code;
                }
                if closes { 1 + marks } else { c.len_utf8() }
            }
        };
        rest = &rest[used..];
    }
    let is_over = *state == State::LineComment
        || matches!(*state, State::Text(end) if end != '`' && language == Language::JavaScript);
    if is_over {
        *state = State::Code;
    }
    read
}

/// Reads one token's beginning in code: how many bytes it has.
fn read_code(language: Language, rest: &str, read: &mut Line, state: &mut State) -> usize {
    if rest.starts_with("//") {
        *state = State::LineComment;
        return rest.len() - rest.trim_start_matches(['/', '!']).len();
    }
    if rest.starts_with("/*") {
        *state = State::BlockComment(1);
        return 2;
    }
    let mut chars = rest.chars();
    let c = chars.next().expect("the caller has seen a character");
    match (language, c) {
        (Language::Rust, 'r') if !read.code.ends_with(|c: char| c.is_alphanumeric() || c == '_') => {
            let marks = rest[1..].bytes().take_while(|b| *b == b'#').count();
            if rest[1 + marks..].starts_with('"') {
                read.code.push('"');
                *state = State::Raw(marks);
                return 2 + marks;
            }
        }
        (_, '"') | (Language::JavaScript, '\'' | '`') => *state = State::Text(c),
        // A character, not a lifetime.
        (Language::Rust, '\'') => {
            let (first, second) = (chars.next(), chars.next());
            if first == Some('\\') {
                let end = rest[3..].find('\'').map_or(rest.len(), |at| at + 4);
                return end;
            }
            if second == Some('\'') {
                return 2 + first.map_or(0, char::len_utf8);
            }
        }
        _ => {}
    }
    read.code.push(c);
    c.len_utf8()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rust(text: &str) -> Vec<(String, String)> {
        lines(Language::Rust, text).into_iter().map(|line| (line.code, line.comment)).collect()
    }

    fn one(code: &str, comment: &str) -> Vec<(String, String)> {
        vec![(code.to_owned(), comment.to_owned())]
    }

    #[test]
    fn comments_are_distinguished_from_strings_that_look_like_them() {
        assert_eq!(rust("let a = 1; // why"), one("let a = 1; ", " why"));
        assert_eq!(rust("/// A doc."), one("", " A doc."));
        assert_eq!(rust("//! A file."), one("", " A file."));
        assert_eq!(rust(r#"f("https://x", '"'); // y"#), one(r#"f("", ); "#, " y"));
        assert_eq!(rust(r##"f(r#"a "//" b"#) // y"##), one(r#"f("") "#, " y"));
        assert_eq!(rust(r#"f("\"//", '\'', 'a') // y"#), one(r#"f("", , ) "#, " y"));
        assert_eq!(rust("fn f<'a>(x: &'a str) {} // y"), one("fn f<'a>(x: &'a str) {} ", " y"));
    }

    #[test]
    fn what_goes_on_over_lines_is_followed() {
        let expected = [("a ", " one"), ("", " * two /* three  "), (" b", "")];
        let read = rust("a /* one\n * two /* three */ \n*/ b");
        assert_eq!(read[0], (expected[0].0.to_owned(), expected[0].1.to_owned()));
        assert_eq!(read[2], (expected[2].0.to_owned(), expected[2].1.to_owned()));
        assert_eq!(rust("f(\"a // b\n// c\") // d")[1], (r#"")"#.to_owned() + " ", " d".to_owned()));
        let script = lines(Language::JavaScript, "f('//', `a\n// b`); // c");
        assert_eq!(script[1].comment, " c");
        assert_eq!(script[0].comment, "");
    }

    #[test]
    fn a_language_is_known_by_the_name() {
        assert_eq!(Language::of("crates/demo/web/app.js"), Some(Language::JavaScript));
        assert_eq!(Language::of("e2e/a.mjs"), Some(Language::JavaScript));
        assert_eq!(Language::of("README.md"), Some(Language::Markdown));
        assert_eq!(Language::of("Cargo.lock"), None);
    }
}
