//! The admin listener of a real process: what it prints, and whether it answers when everything else is used up.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use support::clock::Deadline;
use support::process::Running;
use support::service::doorbell;

/// Open files that the process may have: enough to start, and few for connections.
const FILES_MAX: &str = "96";
/// More connections than that, and fewer than wait to be accepted.
const CONNECTIONS: usize = 120;

/// The status line of a GET over the Unix socket.
fn ask(socket: &Path, path: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Deadline::soon().left())).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_process_without_open_files_for_the_public_still_answers_its_operator() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("admin.sock");
    let serve = doorbell("serve");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {FILES_MAX} && exec \"$0\" \"$@\"")]).arg(serve.get_program());
    command.args(["serve", "--plain", "--listen", "127.0.0.1:0", "--connections-per-source-max", "0", "--state-dir"]);
    command.arg(dir.path().join("state")).arg("--admin-listen").arg(format!("unix:{}", socket.display()));
    let process = Running::start(&mut command);
    let line = process.wait_for("origin", |line| line.strip_prefix("listening on http://").map(str::to_owned));
    process.prints("curl --unix-socket");
    let public: Vec<_> = (0..CONNECTIONS).map(|_| TcpStream::connect(&line).unwrap()).collect();
    process.prints("cannot accept a connection");
    for round in 0..20 {
        for path in ["/livez", "/readyz", "/metrics", "/status"] {
            let answer = ask(&socket, path);
            assert!(answer.starts_with("HTTP/1.1 200 "), "round {round}: {path}: {answer}");
        }
    }
    drop(public);
}

#[test]
fn an_admin_listener_that_others_could_reach_stops_the_start_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = doorbell("serve");
    command
        .args(["--plain", "--listen", "127.0.0.1:0", "--admin-listen", "0.0.0.0:9090", "--state-dir"])
        .arg(dir.path());
    let mut process = Running::start(&mut command);
    assert!(!process.exit(|_| {}).success());
    process.prints("admin_listen 0.0.0.0:9090 is not a loopback address");
    process.prints("ssh -L 9090:127.0.0.1:9090");
}
