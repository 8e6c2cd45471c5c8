//! Attributes that allow what no lint forbids are dead, and hide which ones matter.

use crate::Violation;
use crate::files::File;

/// Lints that this workspace leaves off: to allow them does nothing.
const OFF: &[&str] =
    &["clippy::expect_used", "clippy::cast_", "clippy::needless_pass_by_value", "clippy::too_many_lines"];

/// No `allow` and no `expect` names a lint that is off.
pub(crate) fn dead(file: &File) -> Vec<Violation> {
    if !file.is_rust() {
        return Vec::new();
    }
    let (mut found, mut in_attribute) = (Vec::new(), false);
    for (n, line) in file.text.lines().enumerate() {
        let words = line.trim_start();
        in_attribute |= ["#[allow(", "#![allow(", "#[expect(", "#![expect("].iter().any(|open| words.starts_with(open));
        if in_attribute && OFF.iter().any(|lint| words.contains(lint)) {
            found.push(format!("{}:{}: allows a lint that is off, which does nothing", file.path, n + 1));
        }
        in_attribute &= !words.contains(")]");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_attribute_is_caught_on_one_line_and_on_several() {
        let rule = |text: &str| dead(&File::planted("crates/agent/src/lib.rs", text)).len();
        assert_eq!(rule("#![allow(clippy::unwrap_used, clippy::expect_used, reason = \"x\")]"), 1);
        assert_eq!(rule("#[expect(\n    clippy::cast_sign_loss,\n    reason = \"x\"\n)]\nfn f() {}"), 1);
        assert_eq!(rule("#[expect(clippy::disallowed_methods, reason = \"x\")]\nlet a = \"clippy::cast_\";"), 0);
    }
}
