//! An `expect` states the invariant that it relies on.

use crate::Violation;
use crate::files::File;

/// Fewer words than these never hold a reason.
const WORDS_MIN: usize = 3;

/// Every `expect("…")` outside tests has a reason of at least [`WORDS_MIN`] words.
pub(crate) fn reasons(file: &File) -> Vec<Violation> {
    let in_tests = ["/tests/", "/benches/", "/examples/", "/tests.rs"].iter().any(|place| file.path.contains(place));
    if !file.is_rust() || in_tests || !(file.path.starts_with("crates/") || file.path.starts_with("xtask/")) {
        return Vec::new();
    }
    let code: Vec<(usize, &str)> = file.code().collect();
    let mut found = Vec::new();
    for (at, (n, line)) in code.iter().enumerate() {
        for (start, call) in line.match_indices(".expect(") {
            // A long reason stands on the next line.
            let rest = line[start + call.len()..].trim_start();
            let argument =
                if rest.is_empty() { code.get(at + 1).map_or("", |(_, next)| next.trim_start()) } else { rest };
            let Some(reason) = argument.strip_prefix('"').and_then(|text| text.split('"').next()) else { continue };
            if reason.split_whitespace().count() < WORDS_MIN {
                found.push(format!(
                    "{}:{n}: expect(\"{reason}\") does not state why it holds, in at least {WORDS_MIN} words",
                    file.path
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expect_without_its_reason_is_caught() {
        let rule = |path: &str, text: &str| reasons(&File::planted(path, text)).len();
        let source = "crates/agent/src/lib.rs";
        assert_eq!(rule(source, "x.expect(\"\").expect(\"a link\")"), 2);
        assert_eq!(rule(source, "x.expect(\n    \"a link\",\n)"), 1);
        assert_eq!(rule(source, "x.expect(\"the link was found above\")"), 0);
        assert_eq!(rule(source, "#[expect(clippy::unwrap_used, reason = \"x\")]"), 0);
        assert_eq!(rule("crates/agent/tests/all.rs", "x.expect(\"x\")"), 0);
        assert_eq!(rule(source, "#[cfg(test)]\nmod tests {\nx.expect(\"x\")\n}"), 0);
    }
}
