//! The push service under systemd: its units, the socket that it is given, and what it reports.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use support::clock::Deadline;
use support::desktop::on_path;
use support::foreign::here;
use support::pebble::free_port;
use support::process::Running;

/// Whether systemd's programs are installed. They need no systemd as the first process.
fn is_here() -> bool {
    here("systemd", ["systemd-analyze", "systemd-socket-activate"].iter().all(|program| on_path(program).is_some()))
}

/// A service manager's end of the reports.
struct Reports(UnixDatagram);

impl Reports {
    fn at(path: &Path) -> Self {
        Self(UnixDatagram::bind(path).unwrap())
    }

    /// Waits for a report with this line.
    fn wait_for(&self, line: &str) -> String {
        let deadline = Deadline::soon();
        loop {
            self.0.set_read_timeout(Some(deadline.left())).unwrap();
            let mut report = [0; 4096];
            let length = self.0.recv(&mut report).unwrap_or_else(|error| panic!("no report {line}: {error}"));
            let report = String::from_utf8(report[..length].to_vec()).unwrap();
            if report.lines().any(|found| found == line) {
                return report;
            }
        }
    }
}

/// The status line of a request of HTTP/1.1.
fn status_at(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Deadline::soon().left())).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_given_socket_is_served_and_systemd_learns_of_start_life_reload_and_stop() {
    if !is_here() {
        return;
    }
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let path = folder.path().join("notify");
    let reports = Reports::at(&path);
    let mut activator = Command::new("systemd-socket-activate");
    activator.args(["-l", &format!("127.0.0.1:{port}")]);
    activator.args(["-E", &format!("NOTIFY_SOCKET={}", path.display()), "-E", "WATCHDOG_USEC=100000"]);
    activator
        .args([env!("CARGO_BIN_EXE_doorbell"), "serve", "--plain", "--listen", "127.0.0.1:1", "--state-dir"])
        .arg(folder.path().join("state"));
    let mut service = Running::start(&mut activator);
    service.prints("Listening on");
    // The first connection starts the program, and waits for it.
    assert_eq!(status_at(port), "HTTP/1.1 200 OK");
    let ready = reports.wait_for("READY=1");
    assert!(ready.contains(&format!("STATUS=serving http://127.0.0.1:{port}")), "{ready}");
    service.prints("--listen is without effect");
    reports.wait_for("WATCHDOG=1");
    let hung_up = Command::new("kill").args(["-HUP", &service.id().to_string()]).status();
    assert!(hung_up.unwrap().success());
    assert!(reports.wait_for("RELOADING=1").contains("MONOTONIC_USEC="));
    reports.wait_for("READY=1");
    assert_eq!(status_at(port), "HTTP/1.1 200 OK", "a reload ends nothing");
    service.terminate();
    reports.wait_for("STOPPING=1");
    assert!(service.exit(|_| {}).success());
}

#[test]
fn an_address_of_the_file_is_named_as_without_effect_and_the_usual_one_of_a_domain_is_not() {
    if !is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let start = |name: &str, settings: &str| {
        let (port, file) = (free_port(), folder.path().join(name));
        std::fs::write(&file, settings).unwrap();
        let mut activator = Command::new("systemd-socket-activate");
        activator.args(["-l", &format!("127.0.0.1:{port}"), env!("CARGO_BIN_EXE_doorbell"), "serve", "--config"]);
        activator.arg(&file).arg("--state-dir").arg(folder.path().join(format!("{name}.state")));
        let service = Running::start(&mut activator);
        service.prints("Listening on");
        drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
        service.prints("listening on");
        service
    };
    // The authority is not there: the service starts, and gets no certificate.
    let domain = start("domain", "domain = 'push.example.org'\nacme_directory = 'https://127.0.0.1:1/directory'\n");
    assert_eq!(domain.count("without effect"), 0);
    let other = start("listen", "listen = '127.0.0.1:1'\n");
    other.prints("--listen is without effect");
}

#[test]
fn plain_http_on_a_given_socket_of_every_address_is_refused_like_on_one_of_its_own() {
    if !is_here() {
        return;
    }
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let mut activator = Command::new("systemd-socket-activate");
    activator.args([
        "-l",
        &format!("0.0.0.0:{port}"),
        env!("CARGO_BIN_EXE_doorbell"),
        "serve",
        "--plain",
        "--state-dir",
    ]);
    let service = Running::start(activator.arg(folder.path()));
    service.prints("Listening on");
    let _starts_it = TcpStream::connect(("127.0.0.1", port)).unwrap();
    service.prints("plain HTTP is served on loopback addresses only");
}

/// `systemd-socket-activate` with a service on two sockets, whose names are `names`.
fn with_two_sockets(names: &[&str], state: &Path) -> (Running, [u16; 2]) {
    let ports = [free_port(), free_port()];
    let mut activator = Command::new("systemd-socket-activate");
    for port in ports {
        activator.args(["-l", &format!("127.0.0.1:{port}")]);
    }
    activator.args(names).args([env!("CARGO_BIN_EXE_doorbell"), "serve", "--state-dir"]).arg(state);
    let service = Running::start(&mut activator);
    for port in ports {
        service.prints(&format!(":{port} as "));
    }
    (service, ports)
}

#[test]
fn of_several_given_sockets_each_serves_what_its_name_says() {
    if !is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (service, [mcs, plain]) = with_two_sockets(&["--fdname=mcs:plain"], folder.path());
    assert_eq!(status_at(plain), "HTTP/1.1 200 OK");
    service.prints(&format!("listening on http://127.0.0.1:{plain}"));
    service.prints(&format!("mcs        127.0.0.1:{mcs}"));
}

#[test]
fn several_given_sockets_without_names_are_refused_with_the_setting_that_names_them() {
    if !is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (service, [port, _]) = with_two_sockets(&[], folder.path());
    let _starts_it = TcpStream::connect(("127.0.0.1", port)).unwrap();
    service.prints("FileDescriptorName=tls");
}

#[test]
fn the_units_are_valid_for_systemd() {
    if !is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../extras/systemd");
    let names = ["doorbell.service", "doorbell.socket", "doorbell-mcs.socket"];
    for unit in names {
        // Where the program is installed there is none on this machine.
        let text = std::fs::read_to_string(units.join(unit)).unwrap();
        let text = text.replace("/usr/local/bin/doorbell", env!("CARGO_BIN_EXE_doorbell"));
        std::fs::write(folder.path().join(unit), text).unwrap();
    }
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["verify", "--man=no", "--recursive-errors=no"]);
    analyze.args(names.map(|unit| folder.path().join(unit)));
    let output = analyze.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
