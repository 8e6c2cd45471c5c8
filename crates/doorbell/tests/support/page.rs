//! The web site: a small HTTP server on localhost for `e2e/page`, which receives reports from the page and its service
//! worker; and for the page that is a sender itself, `e2e/senders/page.html`.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use serde_json::{Value, json};

use super::clock::Deadline;
use super::foreign::tree;

/// Where the libraries are that a page may send with.
const SENDERS: &str = "senders/";

/// A running site. Its address is a secure context for browsers, although it has no TLS, because it is localhost.
pub struct Site {
    port: u16,
    reports: Receiver<Value>,
    /// Reports that were read while waiting for another one.
    passed_over: VecDeque<Value>,
}

impl Site {
    /// Opens it on a free port. It ends with the test's process.
    pub fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the site");
        let port = listener.local_addr().expect("its address").port();
        let (sender, reports) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let reports = sender.clone();
                // A browser opens connections ahead, on which nothing comes for long.
                thread::spawn(move || serve(stream, &reports));
            }
        });
        Self { port, reports, passed_over: VecDeque::new() }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://localhost:{}/", self.port)
    }

    /// The page that sends with libraries from npm.
    pub fn url_of_sender(&self) -> String {
        format!("{}{SENDERS}page.html", self.url())
    }

    /// Waits until the service worker has got `text`: how many pages were open then.
    pub fn waits_for_push(&mut self, text: &str) -> u64 {
        let report = self.wait_for(&format!("push of {text:?}"), |it| it["event"] == "push" && it["text"] == text);
        report["pages"].as_u64().expect("a number of pages")
    }

    /// Waits until service workers have got as many messages that begin with `start`: them, in the order in which they
    /// came to the workers.
    pub fn waits_for_pushes(&mut self, start: &str, count: usize) -> Vec<String> {
        let text = |report: &Value| report["text"].as_str().unwrap_or_default().to_owned();
        let is_one = |it: &Value| it["event"] == "push" && text(it).starts_with(start);
        let mut reports: Vec<Value> = (0..count).map(|_| self.wait_for(&format!("push of {start}"), is_one)).collect();
        reports.sort_by(|a, b| a["turn"].as_f64().expect("a turn").total_cmp(&b["turn"].as_f64().expect("a turn")));
        reports.iter().map(text).collect()
    }

    /// Waits until the worker of a browser (`Firefox`, `Chrome`) has got a message: its text.
    pub fn waits_for_push_to(&mut self, browser: &str) -> String {
        let is_one = |it: &Value| it["event"] == "push" && it["agent"].as_str().unwrap_or_default().contains(browser);
        let report = self.wait_for(&format!("push to {browser}"), is_one);
        report["text"].as_str().expect("a text").to_owned()
    }

    /// The messages that workers have received and the test has not waited for.
    pub fn other_pushes(&mut self) -> Vec<String> {
        self.passed_over.extend(self.reports.try_iter());
        let pushes = self.passed_over.iter().filter(|report| report["event"] == "push");
        pushes.map(|report| report["text"].to_string()).collect()
    }

    /// Waits until the service worker has handled the click on the notification `title`: whether it opened a page.
    pub fn waits_for_click(&mut self, title: &str) -> bool {
        let report = self.wait_for(&format!("click on {title:?}"), |it| it["event"] == "click" && it["title"] == title);
        report["opens"].as_bool().expect("whether it opens a page")
    }

    /// Waits until a browser asks for the page. That is before it is there, and also if its script hangs.
    pub fn waits_for_request(&mut self) {
        self.wait_for("request of the page", |report| report["event"] == "request");
    }

    /// The requests of the page until now are not waited for.
    pub fn forgets_requests(&mut self) {
        self.passed_over.extend(self.reports.try_iter());
        self.passed_over.retain(|report| report["event"] != "request");
    }

    /// Waits until a page is there.
    pub fn waits_for_page(&mut self) {
        self.wait_for("page", |report| report["event"] == "page");
    }

    fn wait_for(&mut self, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(report) = self.passed_over.iter().position(&is_wanted).and_then(|at| self.passed_over.remove(at)) {
            return report;
        }
        let deadline = Deadline::soon();
        loop {
            match self.reports.recv_timeout(deadline.left()) {
                Ok(report) if is_wanted(&report) => return report,
                Ok(report) => self.passed_over.push_back(report),
                Err(why) => panic!("the site receives no {what} ({why}), only {:?}", self.passed_over),
            }
        }
    }
}

/// One request, one answer. A browser that disconnects in between is not a failure.
fn serve(stream: TcpStream, reports: &Sender<Value>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut agent) = (0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        } else if name.eq_ignore_ascii_case("user-agent") {
            value.trim().clone_into(&mut agent);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (status, kind, content) = answer(&method, &target, &agent, &body, reports);
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}", content.len());
    let stream = reader.get_mut();
    stream.write_all(format!("{head}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
    stream.write_all(&content).ok()
}

fn answer(
    method: &str,
    target: &str,
    agent: &str,
    body: &[u8],
    reports: &Sender<Value>,
) -> (&'static str, &'static str, Vec<u8>) {
    if (method, target) == ("POST", "/report") {
        let mut report: Value = serde_json::from_slice(body).expect("a report is JSON");
        report["agent"] = agent.into();
        // The test may be over.
        reports.send(report).ok();
        return ("204 No Content", "text/plain", Vec::new());
    }
    let name = match target.trim_start_matches('/') {
        "" => {
            reports.send(json!({ "event": "request", "agent": agent })).ok();
            "index.html"
        }
        name => name,
    };
    let kind = match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "js" | "mjs")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "png")) => "image/png",
        Some((_, "svg")) => "image/svg+xml",
        _ => "application/octet-stream",
    };
    let file = if name.starts_with(SENDERS) { tree("e2e").join(name) } else { tree("e2e/page").join(name) };
    match std::fs::read(file) {
        Ok(content) => ("200 OK", kind, content),
        Err(_) => ("404 Not Found", "text/plain", Vec::new()),
    }
}
