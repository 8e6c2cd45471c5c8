//! The first minute of a new user: the commands that `doorbell serve` prints are run as they are printed.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::path::Path;
use std::process::Command;

use support::Service;
use support::process::Running;

#[test]
fn the_commands_that_serve_prints_deliver_a_message() {
    let service = Service::start();
    let home = tempfile::tempdir().unwrap();
    let listen = service.suggests("listen");
    let send = service.suggests("send");

    let listener = typed(&listen, home.path());
    listener.prints("listening");
    let mut sender = typed(&send, home.path());
    let status = sender.exit(|_| {});
    assert!(status.success(), "{}", sender.output());
    listener.wait_for("the text of the message", |line| (line == "Hello, it is me").then_some(()));
}

/// A command line in a user's shell, in an empty home directory, with the binary on the PATH.
fn typed(line: &str, home: &Path) -> Running {
    let binary = Path::new(env!("CARGO_BIN_EXE_doorbell")).parent().expect("a folder");
    let path = std::env::join_paths([binary, Path::new("/usr/bin"), Path::new("/bin")]).expect("a PATH");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {line}")]).current_dir(home);
    shell.env("PATH", path).env("HOME", home).env_remove("XDG_STATE_HOME").env_remove("XDG_CONFIG_HOME");
    Running::start(&mut shell)
}
