//! The name under which a Firefox is known to its push service: the credential of the wake door.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// The file in the profile in which Firefox keeps its settings.
pub(crate) const PREFS: &str = "prefs.js";
/// More than this no Firefox writes.
const PREFS_BYTES_MAX: u64 = 16 << 20;
const LINE: &str = "user_pref(\"dom.push.userAgentID\", \"";
/// A sealed token of ours has 91 characters, and other services use 32 hexadecimal digits.
const UAID_CHARS_MAX: usize = 256;

/// The uaid of the Firefox with the profile in `folder`; `None` if it has not connected to a push service yet.
pub(crate) fn uaid(folder: &Path) -> io::Result<Option<String>> {
    let mut text = Vec::new();
    match File::open(folder.join(PREFS)) {
        Ok(file) => file.take(PREFS_BYTES_MAX).read_to_end(&mut text)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Other lines may hold any bytes.
    Ok(find(&String::from_utf8_lossy(&text)))
}

fn find(prefs: &str) -> Option<String> {
    let value = prefs.lines().find_map(|line| line.strip_prefix(LINE)?.strip_suffix("\");"))?;
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let fits = !value.is_empty() && value.len() <= UAID_CHARS_MAX && value.chars().all(is_token);
    fits.then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uaid_is_found_among_other_settings() {
        let prefs = "// Mozilla\nuser_pref(\"a\", 1);\nuser_pref(\"dom.push.userAgentID\", \"h4-_x\");\n";
        assert_eq!(find(prefs).as_deref(), Some("h4-_x"));
    }

    #[test]
    fn what_could_not_stand_in_a_header_field_is_not_a_uaid() {
        for value in ["", "a b", "a\\\"b", &"x".repeat(257)] {
            assert_eq!(find(&format!("{LINE}{value}\");\n")), None, "{value}");
        }
        assert_eq!(find("user_pref(\"dom.push.userAgentID\", 1);\n"), None);
    }

    #[test]
    fn a_profile_that_was_never_started_has_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(uaid(folder.path()).unwrap(), None);
    }
}
