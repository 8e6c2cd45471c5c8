//! The admin listener of a real process: what it prints, and whether it answers when everything else is used up.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use support::clock::Deadline;
use support::process::Running;
use support::service::doorbell;

/// Files that the process may open in addition to those that it has at rest: fewer than its connections need.
const FILES_LEFT: usize = 4;
/// More connections than that, and fewer than wait to be accepted.
const CONNECTIONS: usize = 40;

/// The status line of a GET over the Unix socket.
fn ask(socket: &Path, path: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Deadline::soon().left())).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

/// Lowers the limit of open files of a process that runs, as other programs of a system would use them up.
fn leave_files(process: u32, count: u64) {
    let id = Pid::from_raw(i32::try_from(process).unwrap());
    let maximum = prlimit(id, Resource::Nofile, Rlimit { current: Some(count), maximum: Some(count) }).unwrap();
    assert!(maximum.current.is_none_or(|before| before > count), "{maximum:?}");
}

#[test]
fn a_limit_of_open_files_that_is_too_small_for_a_service_stops_the_start_with_the_command_that_raises_it() {
    let dir = tempfile::tempdir().unwrap();
    for (limit, starts) in [("143", false), ("144", true)] {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_doorbell")]);
        command.args(["serve", "--plain", "--listen", "127.0.0.1:0", "--state-dir"]).arg(dir.path().join(limit));
        let mut process = Running::start(&mut command);
        if starts {
            let line = process.prints("the limit of open files is below connections_max");
            assert!(line.contains("connections_max=16"), "{line}");
            process.prints("listening on");
            process.terminate();
            assert!(process.exit(|_| {}).success());
        } else {
            let line = process.prints("`ulimit -n 65536`");
            assert!(line.contains("LimitNOFILE=65536"), "{line}");
            assert!(!process.exit(|_| {}).success());
            assert!(!dir.path().join(limit).exists(), "nothing was created");
        }
    }
}

#[test]
fn a_process_without_open_files_for_the_public_still_answers_its_operator() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("admin.sock");
    let mut command = doorbell("serve");
    command.args(["--plain", "--listen", "127.0.0.1:0", "--connections-per-source-max", "0", "--state-dir"]);
    command.arg(dir.path().join("state")).arg("--admin-listen").arg(format!("unix:{}", socket.display()));
    let process = Running::start(&mut command);
    let line = process.wait_for("origin", |line| line.strip_prefix("listening on http://").map(str::to_owned));
    process.prints("curl --unix-socket");
    let open = std::fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap().count();
    leave_files(process.id(), u64::try_from(open + FILES_LEFT).unwrap());
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
        .args(["--plain", "--listen", "127.0.0.1:0", "--admin-listen", "0.0.0.0:9191", "--state-dir"])
        .arg(dir.path());
    let mut process = Running::start(&mut command);
    assert!(!process.exit(|_| {}).success());
    process.prints("admin_listen 0.0.0.0:9191 is not a loopback address");
    process.prints("ssh -L 9191:127.0.0.1:9191");
}
