//! The page's own tests, of what needs no browser: `tests/page/`, run by Node's test runner.

use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn the_pages_functions_pass_their_own_tests() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let version = Command::new("node").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        assert!(!in_ci, "node is missing, and in CI it must not be: `cargo xtask setup` installs it");
        eprintln!("!! SKIPPED: node is missing; `cargo xtask setup` installs it");
        return;
    }
    let tests = ["arrival", "events", "media", "next", "patience", "problem", "push", "sign-in", "worker"]
        .map(|name| here.join(format!("tests/page/{name}.test.js")));
    let output = Command::new("node").arg("--test").args(tests).output().expect("node runs");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}");
    assert!(report.contains("pass 39"), "every test ran: {report}");
}
