//! The first minute of a new user: the commands that `doorbell serve` prints are run as they are printed.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use support::Service;
use support::process::Running;
use support::service::doorbell;

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

#[test]
fn without_tls_serve_prints_no_command_that_refuses_http() {
    let service = Service::start_with(&["--plain"]);
    let firefox = service.suggests("firefox");
    assert!(firefox.ends_with(&format!("doorbell firefox {}", service.origin().replace("https", "http"))), "{firefox}");
    for verb in ["doorbell listen", "doorbell send", "doorbell chromium"] {
        assert!(!service.output().contains(verb), "{}", service.output());
    }
}

#[test]
fn a_service_that_cannot_start_prints_its_reason_once_and_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let broken = home.path().join("broken.toml");
    std::fs::write(&broken, "listen = 3\n").unwrap();
    for (words, reason, fix) in [
        (["--listen", &address], "Address already in use (os error 98)", "ss -ltnp 'sport = :"),
        (["--listen", "192.0.2.1:8443"], "Cannot assign requested address", "ip address"),
        (["--listen", "localhost:8443"], "an IP address and a port", "such as 127.0.0.1:8443"),
        (["--config", "/nowhere/doorbell.toml"], "No such file or directory", "cannot read the configuration file"),
        (["--config", broken.to_str().unwrap()], "invalid type: integer `3`", "line 1, column 10"),
    ] {
        let mut command = doorbell("serve");
        command.args(words).arg("--state-dir").arg(home.path().join("state")).args(["--log", "off"]);
        let printed = String::from_utf8(command.output().unwrap().stderr).unwrap();
        assert!(printed.contains(fix), "{printed}");
        assert_eq!(printed.matches(reason).count(), 1, "{printed}");
    }
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
