//! The log of `doorbell serve`: its forms, its filter, the access log, and what clients cannot do to it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::clock::Deadline;
use support::process::Running;
use support::service::doorbell;
use tempfile::TempDir;

/// Requests of one kind in a flood.
const FLOOD: usize = 50;

/// A service without TLS whose stderr is examined.
struct Site {
    process: Running,
    port: u16,
    _state: TempDir,
}

impl Site {
    fn start(settings: &[&str]) -> Self {
        Self::start_by(settings, &[])
    }

    /// The same with variables of the environment.
    fn start_by(settings: &[&str], environment: &[(&str, &str)]) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut command = serve(state.path());
        command.arg("--plain").args(settings);
        // `Running` removes the variables of the developer, not those of the test.
        let process = Running::start(
            Command::new("env")
                .args(environment.iter().map(|(n, v)| format!("{n}={v}")))
                .args(std::iter::once(command.get_program()).chain(command.get_args())),
        );
        // In both forms, on stdout or on stderr.
        let line = process.prints("listening");
        let port = line.rsplit(':').next().unwrap().trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        Self { process, port, _state: state }
    }

    /// Sends bytes, and returns what comes until the service closes.
    fn exchange(&self, bytes: &[u8]) -> String {
        exchange(self.port, bytes)
    }

    /// An answer to a request of HTTP/1.1.
    fn ask(&self, method: &str, path: &str, fields: &str, body: &str) -> String {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n");
        self.exchange(format!("{head}{fields}\r\n{body}").as_bytes())
    }

    /// The lines on stderr so far.
    fn lines(&self) -> Vec<String> {
        self.process.output().lines().filter_map(|line| line.strip_prefix("! ").map(str::to_owned)).collect()
    }

    /// Subscribes, sends a message, removes it and the subscription: everything that must not be in a log.
    fn use_it(&self) -> Vec<String> {
        let subscribed = self.ask("POST", "/subscribe", "", "");
        let mut secrets: Vec<String> = tokens(&subscribed);
        let push = path_with(&subscribed, "/p/");
        let body = "Bq-payload-of-a-message-that-no-other-may-read-Bq";
        let sent = self.ask("POST", &push, "ttl: 60\r\ntopic: a-topic-that-is-private\r\n", body);
        assert!(sent.starts_with("HTTP/1.1 201 "), "{sent}");
        secrets.extend(tokens(&sent));
        secrets.extend([body.to_owned(), "a-topic-that-is-private".to_owned()]);
        self.ask("DELETE", &path_with(&sent, "/m/"), "", "");
        self.ask("DELETE", &path_with(&subscribed, "/s/"), "", "");
        self.ask("POST", &push, "ttl: 60\r\norigin: https://private-site.example\r\n", body);
        secrets.push("private-site".to_owned());
        secrets
    }

    fn hang_up(&self) {
        let sent = Command::new("kill").args(["-HUP", &self.process.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }
}

/// `doorbell serve` on a free port.
fn serve(state: &Path) -> Command {
    let mut command = doorbell("serve");
    command.args(["--listen", "127.0.0.1:0", "--state-dir"]).arg(state);
    command
}

fn exchange(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Deadline::soon().left())).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is an end too.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The first path in an answer that begins with `prefix`.
fn path_with(answer: &str, prefix: &str) -> String {
    let at = answer.find(prefix).unwrap_or_else(|| panic!("no {prefix} in {answer}"));
    answer[at..].split(['>', '"', '\r', '\n']).next().unwrap().to_owned()
}

/// The tokens of the capability URLs in an answer.
fn tokens(answer: &str) -> Vec<String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    answer.split(|c| !is_token(c)).filter(|word| word.len() >= 80).map(str::to_owned).collect()
}

/// A field of an answer's head.
fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn objects(lines: &[String]) -> Vec<Value> {
    lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn with_json_each_line_is_an_object_with_the_fields_of_the_access_log_and_without_a_secret() {
    let mut site = Site::start(&["--log", "trace", "--log-format", "json", "--access-log"]);
    let secrets = site.use_it();
    let refused = site.ask("GET", "/nothing-here", "", "");
    let id = field(&refused, "x-request-id").unwrap().to_owned();
    site.process.terminate();
    assert!(site.process.exit(|line| panic!("{line:?} is on stdout")).success());
    let lines = site.lines();
    let objects = objects(&lines);
    assert!(
        objects.iter().all(|line| ["time", "level", "target", "message"].iter().all(|name| line[name].is_string()))
    );
    let listening = objects.iter().find(|line| line["message"] == "listening").unwrap();
    assert_eq!(listening["origin"], format!("http://127.0.0.1:{}", site.port));
    let requests: Vec<_> = objects.iter().filter(|line| line["target"] == "doorbell_service::access").collect();
    let seen: Vec<_> =
        requests.iter().map(|r| (r["door"].as_str().unwrap(), r["method"].as_str().unwrap(), &r["status"])).collect();
    assert_eq!(
        seen,
        [
            ("subscribe", "POST", &201.into()),
            ("push", "POST", &201.into()),
            ("message", "DELETE", &204.into()),
            ("receive", "DELETE", &204.into()),
            ("push", "POST", &404.into()),
            ("other", "GET", &404.into()),
        ]
    );
    assert!(requests.iter().all(|line| line["level"] == "INFO" && line["duration_ms"].is_u64()));
    let last = requests.last().unwrap();
    assert_eq!((&last["id"], &last["errno"]), (&id.into(), &102.into()), "the client has the same id");
    let ids: std::collections::HashSet<_> = requests.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), requests.len());
    for (secret, line) in secrets.iter().flat_map(|secret| lines.iter().map(move |line| (secret, line))) {
        assert!(!line.contains(&secret[..12]), "{secret} is in {line}");
    }
}

#[test]
fn the_access_log_is_off_unless_it_is_asked_for_and_then_every_answer_has_an_id() {
    for filter in ["info", "trace"] {
        let site = Site::start(&["--log", filter]);
        assert!(field(&site.ask("GET", "/", "", ""), "x-request-id").is_none());
        let refused = site.ask("GET", "/nothing-here", "", "");
        assert_eq!(field(&refused, "x-request-id").unwrap().len(), 16, "{refused}");
        assert!(!site.lines().iter().any(|line| line.contains("door=")), "{:?}", site.lines());
    }
    let by_flag = (&["--access-log"][..], &[][..]);
    let by_variable = (&["--log", "warn"][..], &[("DOORBELL_ACCESS_LOG", "true")][..]);
    let by_filter = (&["--log", "off,doorbell_service::access=info"][..], &[][..]);
    for (settings, environment) in [by_flag, by_variable, by_filter] {
        let site = Site::start_by(settings, environment);
        let answer = site.ask("GET", "/", "", "");
        let line = site.process.prints(" INFO request id=");
        let id = field(&answer, "x-request-id").unwrap();
        assert!(line.contains(&format!("id={id} door=\"other\" method=\"GET\" status=200 duration_ms=")), "{line}");
    }
}

#[test]
fn a_websocket_has_a_line_when_it_opens_and_when_it_closes() {
    let site = Site::start(&["--access-log"]);
    let mut socket = TcpStream::connect(("127.0.0.1", site.port)).unwrap();
    let handshake = "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                     sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(handshake.as_bytes()).unwrap();
    let opened = site.process.prints("socket opened");
    let id = opened.split("id=").nth(1).unwrap().split(' ').next().unwrap();
    assert!(opened.contains("door=\"firefox\""), "{opened}");
    drop(socket);
    let closed = site.process.prints("socket closed");
    assert!(closed.contains(&format!("id={id} door=\"firefox\" duration_ms=")), "{closed}");
    assert!(closed.ends_with("sent=0 acknowledged=0 reason=\"the client left\""), "{closed}");
    site.process.prints("door=\"firefox\" method=\"GET\" status=101");
}

/// A process whose stderr is a socket, as journald's is.
struct Journal {
    child: Child,
    lines: std::io::Lines<BufReader<UnixStream>>,
    _state: TempDir,
}

impl Journal {
    /// `JOURNAL_STREAM` is what `stream` makes of the device and the inode of stderr.
    fn start(settings: &[&str], stream: impl FnOnce(u64, u64) -> String) -> Self {
        let state = tempfile::tempdir().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Deadline::soon().left())).unwrap();
        let found = rustix::fs::fstat(&theirs).unwrap();
        let mut command = serve(state.path());
        command.arg("--plain").args(settings).env("JOURNAL_STREAM", stream(found.st_dev, found.st_ino));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(OwnedFd::from(theirs));
        let child = command.spawn().unwrap();
        Self { child, lines: BufReader::new(ours).lines(), _state: state }
    }

    /// Everything until a line has `words`.
    fn until(&mut self, words: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.contains(words)) {
            let line = self.lines.next();
            lines.push(line.unwrap_or_else(|| panic!("no {words} in {lines:?}")).unwrap());
        }
        lines
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn on_journalds_stream_lines_begin_with_their_priority_and_have_no_time() {
    let mut journal = Journal::start(&[], |device, inode| format!("{device}:{inode}"));
    let lines = journal.until("serving address=");
    assert!(lines.iter().all(|line| line.starts_with("<6>")), "{lines:?}");
    assert!(lines.last().unwrap().starts_with("<6>serving address=127.0.0.1:"), "{lines:?}");
    // The program inherited the variable, and its stderr goes to another place.
    let mut other = Journal::start(&[], |device, inode| format!("{device}:{}", inode + 1));
    let lines = other.until("serving address=");
    assert!(lines.iter().all(|line| line.contains("Z  INFO ")), "{lines:?}");
    // What ends the program is an error to journald too.
    let mut refused = Journal::start(&["--body-max", "1"], |device, inode| format!("{device}:{inode}"));
    assert!(refused.until("4096").last().unwrap().starts_with("<3>"));
}

#[test]
fn the_filter_of_a_running_service_changes_with_its_file_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("doorbell.toml");
    let set = |text: &str| std::fs::write(&file, text).unwrap();
    set("log = \"info\"\naccess_log = true");
    let site = Site::start(&["--config", file.to_str().unwrap()]);
    site.ask("GET", "/", "", "");
    site.process.prints("status=200");
    set("log = \"info\"\naccess_log = false");
    site.hang_up();
    let (deadline, has_id) = (Deadline::soon(), || field(&site.ask("GET", "/", "", ""), "x-request-id").is_some());
    while has_id() {
        assert!(!deadline.left().is_zero(), "the access log stays on: {}", site.process.output());
    }
    let logged = site.process.count("status=200");
    set("log = \"loud\"\naccess_log = true");
    site.hang_up();
    site.process.prints("\"loud\" is not a level");
    assert!(!has_id());
    assert_eq!(site.process.count("status=200"), logged, "{}", site.process.output());
}

#[test]
fn a_filter_is_read_from_flag_then_variable_then_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("doorbell.toml");
    std::fs::write(&file, "log = \"error\"\nlog_format = \"json\"").unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let serving = |settings: &[&str], environment: &[(&str, &str)]| {
        let mut site = Site::start_by(&[&config[..], &["--log-format", "text"], settings].concat(), environment);
        site.process.terminate();
        assert!(site.process.exit(|_| {}).success());
        site.lines().iter().any(|line| line.contains("serving address="))
    };
    assert!(!serving(&[], &[]), "the file wins over the default");
    assert!(serving(&[], &[("DOORBELL_LOG", "info")]));
    assert!(!serving(&["--log", "error"], &[("DOORBELL_LOG", "info")]));
    // Before the verb too, where it is every command's.
    let error = doorbell("--log").args(["loud", "serve"]).output().unwrap();
    assert_eq!(error.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&error.stderr).contains("is not a level"));
}

#[test]
fn hostile_bytes_reach_no_line_at_any_level() {
    const MARK: &str = "FORGED";
    for form in ["text", "json"] {
        let site = Site::start(&["--log", "trace", "--log-format", form, "--access-log"]);
        for bytes in ["\u{1b}[2J", "\n", "\r\n<3>", "\u{9b}", "%1b%0a", "\u{202e}", "\0", "\",\"x\":\"", " "] {
            let hostile = format!("{bytes}{MARK}");
            for request in [
                format!("GET /{hostile} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
                format!("GET /p/{hostile} HTTP/1.1\r\nhost: {hostile}\r\nconnection: close\r\n\r\n"),
                format!("{hostile} / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
                format!("{MARK} / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
                format!(
                    "GET / HTTP/1.1\r\nhost: x\r\nx-request-id: {hostile}\r\nuser-agent: {hostile}\r\nconnection: close\r\n\r\n"
                ),
                format!(
                    "POST /subscribe HTTP/1.1\r\nhost: x\r\ncontent-type: {hostile}\r\nlink: {hostile}\r\n\
                         connection: close\r\ncontent-length: 8\r\n\r\n{{{hostile}"
                ),
            ] {
                let answer = site.exchange(request.as_bytes());
                assert!(!field(&answer, "x-request-id").is_some_and(|id| id.contains(MARK)), "{answer}");
            }
        }
        assert!(site.process.count("request") > 20, "{}", site.process.output());
        for line in site.lines() {
            assert!(!line.contains(MARK) && !line.contains(char::is_control), "{form}: {line:?}");
        }
    }
}

/// A message of a TLS handshake that no client sends first: rustls warns of each.
const FINISHED: [u8; 9] = [22, 3, 3, 0, 4, 20, 0, 0, 0];

#[test]
fn a_flood_of_broken_handshakes_and_requests_adds_no_line() {
    let flooded = |filter: &str, lines: usize| {
        let state = tempfile::tempdir().unwrap();
        let process = Running::start(serve(state.path()).args(["--log", filter]));
        let line = process.prints("listening");
        let port = line.rsplit(':').next().unwrap().parse().unwrap();
        for _ in 0..FLOOD {
            exchange(port, &FINISHED);
            exchange(port, b"\x16\x03\x01\xff\xffnot TLS");
        }
        process.prints_times(" WARN ", lines);
        process.terminate();
        process.prints("stopped");
        process.output().lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR ")).count()
    };
    // Without these lines the test has lost its flood.
    assert!(flooded("info,rustls=warn", FLOOD) >= FLOOD);
    assert_eq!(flooded("info", 0), 0);
    let site = Site::start(&[]);
    site.process.prints("serving address=");
    let before = site.lines().len();
    for _ in 0..FLOOD {
        site.exchange(b"nonsense\r\n\r\n");
        site.ask("POST", "/p/none", "ttl: x\r\n", "");
        site.ask("POST", "/subscribe", "", "not json");
        site.ask("GET", "/wake", "accept: text/event-stream\r\nauthorization: Bearer x\r\n", "");
    }
    assert_eq!(site.lines().len(), before, "{}", site.process.output());
}
