//! Quoting for a POSIX shell.

/// `word` as one word for the shell, whatever it contains; in quotes only where it needs them.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_comes_out_of_the_shell_unchanged() {
        for word in ["plain", "-/a+b@c:1", "", "a=b", "~", "two words", "it's", "$HOME `id` \"x\" \\", "new\nline", "ü"]
        {
            let printed =
                std::process::Command::new("sh").arg("-c").arg(format!("printf %s {}", quoted(word))).output();
            assert_eq!(String::from_utf8(printed.unwrap().stdout).unwrap(), word);
        }
    }
}
