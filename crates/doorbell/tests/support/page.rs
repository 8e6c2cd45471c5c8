//! The web site: a small HTTP server on localhost for `e2e/page`, which hears from the page and its service worker.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use serde_json::Value;

use super::clock::Deadline;
use super::foreign::tree;

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

    /// Waits until the service worker has got `text`: how many pages were open then.
    pub fn hears_of_push(&mut self, text: &str) -> u64 {
        let report = self.hears(&format!("push of {text:?}"), |it| it["event"] == "push" && it["text"] == text);
        report["pages"].as_u64().expect("a number of pages")
    }

    /// Waits until the service worker has handled the click on the notification `title`: whether it opened a page.
    pub fn hears_of_click(&mut self, title: &str) -> bool {
        let report = self.hears(&format!("click on {title:?}"), |it| it["event"] == "click" && it["title"] == title);
        report["opens"].as_bool().expect("whether it opens a page")
    }

    /// Waits until a page is there.
    pub fn hears_of_page(&mut self) {
        self.hears("page", |report| report["event"] == "page");
    }

    fn hears(&mut self, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(report) = self.passed_over.iter().position(&is_wanted).and_then(|at| self.passed_over.remove(at)) {
            return report;
        }
        let deadline = Deadline::soon();
        loop {
            match self.reports.recv_timeout(deadline.left()) {
                Ok(report) if is_wanted(&report) => return report,
                Ok(report) => self.passed_over.push_back(report),
                Err(why) => panic!("the site hears of no {what} ({why}), only of {:?}", self.passed_over),
            }
        }
    }
}

/// One request, one answer. A browser that goes away in between is no failure.
fn serve(stream: TcpStream, reports: &Sender<Value>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (status, kind, content) = answer(&method, &target, &body, reports);
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}", content.len());
    let stream = reader.get_mut();
    stream.write_all(format!("{head}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
    stream.write_all(&content).ok()
}

fn answer(method: &str, target: &str, body: &[u8], reports: &Sender<Value>) -> (&'static str, &'static str, Vec<u8>) {
    if (method, target) == ("POST", "/report") {
        // The test may be over.
        reports.send(serde_json::from_slice(body).expect("a report is JSON")).ok();
        return ("204 No Content", "text/plain", Vec::new());
    }
    let name = match target.trim_start_matches('/') {
        "" => "index.html",
        name => name,
    };
    let kind = match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "png")) => "image/png",
        Some((_, "svg")) => "image/svg+xml",
        _ => "application/octet-stream",
    };
    match std::fs::read(tree("e2e/page").join(name)) {
        Ok(content) => ("200 OK", kind, content),
        Err(_) => ("404 Not Found", "text/plain", Vec::new()),
    }
}
