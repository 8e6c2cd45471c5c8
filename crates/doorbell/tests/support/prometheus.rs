//! Prometheus, as Debian has it: it scrapes a service by the configuration of `extras/observability/`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::clock::Deadline;
use super::desktop::on_path;
use super::foreign::{here, tree};
use super::pebble::free_port;
use super::process::Running;

/// The target of the example's configuration.
const EXAMPLE: &str = "127.0.0.1:9191";
/// How often it scrapes there, and here: a test does not wait a quarter of a minute.
const INTERVALS: [&str; 2] = ["15s", "200ms"];

/// A running Prometheus.
pub struct Prometheus {
    address: String,
    _folder: TempDir,
    _process: Running,
}

impl Prometheus {
    /// Whether it and promtool are installed.
    pub fn is_here() -> bool {
        here("prometheus", ["prometheus", "promtool"].iter().all(|program| on_path(program).is_some()))
    }

    /// Starts one that scrapes the admin listener at `target`.
    pub fn of(target: &str) -> Self {
        let (folder, address) = (tempfile::tempdir().expect("a folder"), format!("127.0.0.1:{}", free_port()));
        let example = std::fs::read_to_string(observability("prometheus.yml")).expect("the example");
        assert!(example.contains(&format!("\"{EXAMPLE}\"")) && example.contains(INTERVALS[0]), "{example}");
        let config = example.replace(EXAMPLE, target).replace(INTERVALS[0], INTERVALS[1]);
        std::fs::write(folder.path().join("prometheus.yml"), config).expect("a file");
        std::fs::copy(observability("alerts.yml"), folder.path().join("alerts.yml")).expect("a file");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        let process = Running::start(command.arg(format!("--web.listen-address={address}")));
        process.prints("Server is ready to receive web requests");
        Self { address, _folder: folder, _process: process }
    }

    /// The result of a query now.
    pub fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.api(&format!("query?query={escaped}"));
        let samples = answer["result"].as_array().expect("a vector").iter();
        let value = |sample: &Value| sample["value"][1].as_str().expect("a number").parse().expect("a number");
        samples.map(|sample| (sample["metric"].clone(), value(sample))).collect()
    }

    /// Asks until the query has this one value.
    pub fn waits_for(&self, query: &str, value: f64) {
        let deadline = Deadline::soon();
        loop {
            let found = self.query(query);
            if found.iter().map(|(_, value)| *value).eq([value]) {
                return;
            }
            assert!(!deadline.left().is_zero(), "{query} is {found:?}, not {value}");
        }
    }

    /// The data of an answer of its API.
    pub fn api(&self, what: &str) -> Value {
        let (head, body) = get(&self.address, &format!("/api/v1/{what}"), "application/json");
        assert!(head.contains(" 200 "), "{head}{body}");
        serde_json::from_str::<Value>(&body).expect("JSON")["data"].take()
    }
}

/// A file of `extras/observability/`.
pub fn observability(file: &str) -> PathBuf {
    tree("extras/observability").join(file)
}

/// What promtool says to these arguments, in the folder of the rules, with `input`.
pub fn promtool(args: &[&str], input: &str) -> Output {
    let mut command = Command::new("promtool");
    command.args(args).current_dir(tree("extras/observability"));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("promtool runs");
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("promtool reads");
    child.wait_with_output().expect("promtool ends")
}

/// The head and the body of the answer to a GET over HTTP/1.0, which is never in chunks.
pub fn get(address: &str, path: &str, accept: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Deadline::soon().left())).expect("a time-out");
    let request = format!("GET {path} HTTP/1.0\r\nhost: 127.0.0.1\r\naccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}
