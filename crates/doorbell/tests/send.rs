//! `doorbell send` and `doorbell keys` as a person or a script meets them: words, exit statuses, files.
//!
//! The push service is a socket with prepared answers, so that every answer can be had; the real one has the last word.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use doorbell_protocol::ece::aes128gcm;
use doorbell_protocol::ece::keys::AgentKeys;
use tempfile::TempDir;

/// A push service that gives these answers, each on a connection of its own, and hands out what it was sent.
struct Service {
    url: String,
    thread: JoinHandle<Vec<(String, Vec<u8>)>>,
}

impl Service {
    fn answering(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/p/x", listener.local_addr().unwrap());
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let thread = std::thread::spawn(move || answers.iter().map(|answer| exchange(&listener, answer)).collect());
        Self { url, thread }
    }

    /// The heads and bodies of the requests, once all answers were given.
    fn received(self) -> Vec<(String, Vec<u8>)> {
        self.thread.join().unwrap()
    }
}

fn exchange(listener: &TcpListener, answer: &str) -> (String, Vec<u8>) {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "the request broke off");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let (status, content) = answer.split_once("\n\n").unwrap_or((answer, ""));
    let fields = format!("connection: close\r\ncontent-length: {}", content.len());
    let status = status.replace('\n', "\r\n");
    reader.get_mut().write_all(format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\n{content}").as_bytes()).unwrap();
    (head, body)
}

/// A user at a terminal, with a state directory of their own and a subscription.
struct Person {
    state: TempDir,
    agent: AgentKeys,
}

impl Person {
    fn new() -> Self {
        Self { state: tempfile::tempdir().unwrap(), agent: AgentKeys::generate().unwrap() }
    }

    fn subscription(&self, endpoint: &str) -> String {
        let (auth, p256dh) = (self.agent.auth_secret().to_base64url(), self.agent.public_key().to_base64url());
        format!(r#"{{"endpoint":"{endpoint}","expirationTime":null,"keys":{{"auth":"{auth}","p256dh":"{p256dh}"}}}}"#)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorbell"));
        command.args(words).env("DOORBELL_STATE_DIR", self.state.path()).stdin(Stdio::null());
        for name in ["DOORBELL_KEY", "DOORBELL_SUBJECT", "DOORBELL_CA", "DOORBELL_MAP_ORIGIN"] {
            command.env_remove(name);
        }
        for name in ["HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command
    }

    fn runs(&self, words: &[&str]) -> Printed {
        Printed::from(self.command(words).output().unwrap())
    }

    fn sends(&self, endpoint: &str, words: &[&str]) -> Printed {
        let subscription = self.subscription(endpoint);
        self.runs(&[&["send", subscription.as_str()], words].concat())
    }

    fn key_file(&self) -> PathBuf {
        self.state.path().join("vapid.pem")
    }
}

/// The output of a command, and its exit status.
#[derive(Debug)]
struct Printed {
    out: String,
    err: String,
    exit: i32,
}

impl From<Output> for Printed {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { out: text(output.stdout), err: text(output.stderr), exit: output.status.code().unwrap() }
    }
}

#[test]
fn an_acceptance_is_printed_with_its_ttl_and_the_message() {
    let person = Person::new();
    let service = Service::answering(&["201 Created\nlocation: /m/1\nttl: 60"]);
    let printed = person.sends(&service.url, &["Grüße"]);
    assert_eq!(printed.exit, 0, "{printed:?}");
    assert!(printed.out.starts_with("accepted by the push service (201); delivery is not confirmed\n"), "{printed:?}");
    assert!(printed.out.contains("ttl      60 s, shortened from 3600 s\n"), "{printed:?}");
    assert!(printed.out.contains("message  http://127.0.0.1:") && printed.out.ends_with("/m/1\n"), "{printed:?}");
    assert!(printed.err.contains("TTL 3600 s, urgency normal"), "the defaults are printed: {printed:?}");
    let (head, body) = service.received().remove(0);
    assert!(head.contains("\r\nttl: 3600\r\n") && !head.contains("urgency"), "{head}");
    assert_eq!(aes128gcm::decrypt(&person.agent, &body).unwrap(), "Grüße".as_bytes());
}

#[test]
fn ttl_urgency_and_topic_are_sent_as_asked() {
    let person = Person::new();
    let service = Service::answering(&["201 Created"]);
    let words = ["ding", "--ttl", "2h", "--urgency", "high", "--topic", "score"];
    assert_eq!(person.sends(&service.url, &words).exit, 0);
    let (head, _) = service.received().remove(0);
    for field in ["ttl: 7200", "urgency: high", "topic: score"] {
        assert!(head.contains(&format!("\r\n{field}\r\n")), "{head}");
    }
}

#[test]
fn each_kind_of_answer_has_its_exit_status_and_its_words() {
    let person = Person::new();
    for (answer, exit, words) in [
        (
            "404 Not Found\n\n{\"code\":404,\"errno\":102,\"message\":\"Unknown.\"}",
            3,
            "the subscription is gone for good",
        ),
        ("404 Not Found", 3, "or a proxy answered in its place"),
        ("410 Gone", 3, "the subscription is gone for good"),
        ("410 Gone\n\n<html>", 3, "(the answer is a web page)"),
        ("413 Content Too Large", 4, "too long for this push service"),
        ("400 Bad Request", 4, "would do so again"),
        (
            "403 Forbidden\n\n{\"code\":403,\"errno\":109,\"message\":\"bad \\u001btoken\",\"hint\":\"Sign.\"}",
            4,
            "the push service reports: bad token",
        ),
        ("307 Temporary Redirect\nlocation: /elsewhere", 4, "points elsewhere"),
    ] {
        let service = Service::answering(&[answer]);
        let printed = person.sends(&service.url, &["ding"]);
        assert_eq!(printed.exit, exit, "{answer}: {printed:?}");
        assert!(printed.err.contains(words) && printed.out.is_empty(), "{answer}: {printed:?}");
    }
}

#[test]
fn a_proxy_whose_service_is_away_does_not_end_a_subscription() {
    let person = Person::new();
    for answer in [
        "404 Not Found\ncontent-type: text/html\n\n<html>nginx</html>",
        "404 Not Found\n\n404 page not found",
        "404 Not Found\n\n{\"kind\":\"Status\",\"reason\":\"NotFound\",\"code\":404}",
    ] {
        let service = Service::answering(&[answer, "201 Created"]);
        let printed = person.sends(&service.url, &["ding"]);
        assert_eq!(printed.exit, 0, "{printed:?}");
        assert!(printed.err.contains("404 Not Found, and the answer is not in the form of a push"), "{printed:?}");
        let service = Service::answering(&[answer]);
        let printed = person.sends(&service.url, &["ding", "--attempts", "1"]);
        assert_eq!(printed.exit, 5, "{printed:?}");
        assert!(printed.err.contains("keep the subscription") && !printed.err.contains("delete"), "{printed:?}");
    }
}

#[test]
fn what_cannot_be_printed_does_not_change_the_outcome_of_a_message() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let person = Person::new();
    for more in [&[][..], &["--json"]] {
        let service = Service::answering(&["201 Created\nttl: 30"]);
        let subscription = person.subscription(&service.url);
        let words = [&["send", &subscription, "ding"], more].concat();
        let exit = person.command(&words).stdout(full()).stderr(full()).status().unwrap();
        assert_eq!(exit.code(), Some(0), "it was accepted: {more:?}");
        assert_eq!(service.received().len(), 1);
    }
    let subscription = person.subscription("https://push.example.net/p/x");
    let curl = ["send", &subscription, "ding", "--curl"];
    for words in [&curl[..], &["keys", "show"]] {
        let output = person.command(words).stdout(full()).output().unwrap();
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && printed.contains("cannot write to standard output"), "{printed}");
    }
}

#[test]
fn a_busy_service_is_asked_again_with_progress_until_patience_ends() {
    let person = Person::new();
    let busy = "429 Too Many Requests\nretry-after: 0";
    let service = Service::answering(&[busy, "201 Created"]);
    let printed = person.sends(&service.url, &["ding"]);
    assert_eq!(printed.exit, 0, "{printed:?}");
    assert!(
        printed.err.contains("429 Too Many Requests; trying again in 0.0 s (attempt 1 of 6 failed)"),
        "{printed:?}"
    );
    let service = Service::answering(&[busy, busy]);
    let printed = person.sends(&service.url, &["ding", "--attempts", "2"]);
    assert_eq!(printed.exit, 5, "{printed:?}");
    assert!(printed.err.contains("gave up after 2 attempts at a busy push service"), "{printed:?}");
    let service = Service::answering(&["503 Service Unavailable\nretry-after: 600"]);
    let printed = person.sends(&service.url, &["ding"]);
    assert_eq!(printed.exit, 5, "a wait of ten minutes is beyond five: {printed:?}");
    assert!(printed.err.contains("which asks to wait 600 s"), "{printed:?}");
}

#[test]
fn json_has_the_same_for_a_script() {
    let person = Person::new();
    let service =
        Service::answering(&["201 Created\nlocation: /m/1\nttl: 60", "410 Gone\n\n{\"code\":410,\"errno\":106}"]);
    let json = |printed: &Printed| serde_json::from_str::<serde_json::Value>(&printed.out).unwrap();
    let accepted = person.sends(&service.url, &["ding", "--json"]);
    assert_eq!((accepted.exit, accepted.err.lines().count()), (0, 1), "only the new key is mentioned: {accepted:?}");
    assert_eq!(json(&accepted)["outcome"], "accepted");
    assert_eq!(json(&accepted)["ttl"], 60);
    let gone = person.sends(&service.url, &["ding", "--json"]);
    assert_eq!(
        (gone.exit, json(&gone)["outcome"].as_str(), json(&gone)["source"].as_str(), json(&gone)["errno"].as_i64()),
        (3, Some("gone"), Some("push-service"), Some(106))
    );
}

const PROMISE: &str = "202 Accepted\nlocation: /m/1\nttl: 60\nlink: </r/1>;rel=\"urn:ietf:params:push:receipt\"";

/// A stream with the receipt of another message, and that of ours.
fn receipt(status: u16, outcome: &str) -> String {
    let event = |message: &str, status: u16, outcome: &str| {
        let data = format!(r#"{{"message":"{message}","status":{status},"outcome":"{outcome}","at":1800000000000}}"#);
        format!("event: receipt\ndata: {data}\n\n")
    };
    let events = event("/m/0", 410, "unsubscribed") + &event("/m/1", status, outcome);
    format!("200 OK\ncontent-type: text/event-stream\n\n{events}")
}

#[test]
fn a_receipt_is_requested_received_and_its_subscription_deleted_as_8030_5_1_2() {
    let person = Person::new();
    let service = Service::answering(&[PROMISE, &receipt(204, "delivered"), "204 No Content"]);
    let printed = person.sends(&service.url, &["ding", "--receipt"]);
    assert_eq!(printed.exit, 0, "{printed:?}");
    assert!(printed.out.contains("\nmessage  http://127.0.0.1:") && printed.out.contains("/m/1\n"), "{printed:?}");
    assert!(printed.out.ends_with("\nreceipt  delivered to the user agent\n"), "{printed:?}");
    assert!(printed.err.contains("waiting up to 75 s for the receipt"), "{printed:?}");
    let heads: Vec<_> = service.received().into_iter().map(|(head, _)| head).collect();
    assert!(heads[0].contains("\r\nprefer: respond-async\r\n"), "{heads:?}");
    assert!(heads[1].starts_with("GET /r/1 ") && heads[1].contains("\r\naccept: text/event-stream\r\n"), "{heads:?}");
    assert!(heads[2].starts_with("DELETE /r/1 "), "{heads:?}");
}

#[test]
fn a_receipt_that_is_bad_news_has_its_own_words_and_exit_status_as_8030_5_1_2() {
    let person = Person::new();
    for (outcome, ttl, words) in [
        ("expired", "60", "expired: the user agent did not come within the TTL"),
        ("undecryptable", "60", "the user agent could not decrypt it"),
        ("unsubscribed", "60", "the subscription was removed"),
        ("dropped", "0", "dropped: TTL 0, and the user agent was not connected"),
        ("dropped", "60", "dropped: the push service gave it up"),
    ] {
        let service = Service::answering(&[PROMISE, &receipt(410, outcome), "204 No Content"]);
        let printed = person.sends(&service.url, &["ding", "--receipt", "--ttl", ttl]);
        assert_eq!(printed.exit, 6, "{printed:?}");
        assert!(printed.out.ends_with(&format!("\nreceipt  {words}\n")), "{printed:?}");
    }
}

#[test]
fn a_receipt_that_does_not_come_differs_from_bad_news_as_8030_5_1_2() {
    let person = Person::new();
    let quiet = "200 OK\ncontent-type: text/event-stream\n\n: nothing yet\n\n";
    for (answers, words) in [
        (&["201 Created\nlocation: /m/1"][..], "this push service has no receipts"),
        (&[PROMISE, quiet], "none within 1 s; the message may still arrive"),
        (&[PROMISE, "404 Not Found\n\n{\"code\":404,\"errno\":102}"], "the receipt subscription is gone"),
        (&[PROMISE, "200 OK\ncontent-type: text/html\n\nhi"], "does not send receipts as text/event-stream"),
    ] {
        let service = Service::answering(answers);
        let printed = person.sends(&service.url, &["ding", "--receipt", "--receipt-timeout", "1s"]);
        assert_eq!(printed.exit, 7, "{printed:?}");
        assert!(printed.out.contains("/m/1\n") && printed.out.contains(words), "{printed:?}");
        assert_eq!(printed.out.contains("/r/1\n"), answers.len() > 1, "where to ask later: {printed:?}");
    }
    let refused = person.sends(&Service::answering(&["410 Gone"]).url, &["ding", "--receipt"]);
    assert_eq!(refused.exit, 3, "there is nothing to wait for: {refused:?}");
}

#[test]
fn the_real_push_service_reports_the_end_of_a_message_as_8030_5_1_2() {
    let (person, service) = (Person::new(), support::Service::start());
    let mut listener = support::Listener::of(&service);
    let (subscription, ca) = (listener.subscription().to_string(), service.ca());
    let sends = |text, ttl| {
        person.runs(&["send", &subscription, text, "--ttl", ttl, "--receipt", "--ca", ca.to_str().unwrap()])
    };
    let delivered = sends("ding", "1h");
    assert_eq!(delivered.exit, 0, "{delivered:?}");
    assert!(delivered.out.starts_with("accepted by the push service (202)\n"), "{delivered:?}");
    assert!(delivered.out.ends_with("\nreceipt  delivered to the user agent\n"), "{delivered:?}");
    listener.goes_away();
    let expired = sends("dong", "1");
    assert_eq!(expired.exit, 6, "{expired:?}");
    assert!(expired.out.ends_with("\nreceipt  expired: the user agent did not come within the TTL\n"), "{expired:?}");
}

#[test]
fn json_has_the_receipt_too() {
    let person = Person::new();
    let service = Service::answering(&[PROMISE, &receipt(410, "expired"), "204 No Content", "201 Created"]);
    let printed = person.sends(&service.url, &["ding", "--receipt", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&printed.out).unwrap();
    assert_eq!((printed.exit, json["outcome"].as_str(), json["status"].as_u64()), (6, Some("accepted"), Some(202)));
    assert!(json["messageUrl"].as_str().unwrap().ends_with("/m/1"), "{json}");
    let receipt = &json["receipt"];
    assert_eq!((receipt["outcome"].as_str(), receipt["status"].as_u64()), (Some("expired"), Some(410)));
    assert_eq!(receipt["at"].as_u64(), Some(1_800_000_000_000));
    let printed = person.sends(&service.url, &["ding", "--receipt", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&printed.out).unwrap();
    assert_eq!((printed.exit, json["receipt"]["outcome"].as_str()), (7, Some("unsupported")));
}

#[test]
fn text_and_subscription_come_from_files_and_standard_input() {
    let person = Person::new();
    let service = Service::answering(&["201 Created"; 2]);
    let file = person.state.path().join("sub.json");
    fs::write(&file, person.subscription(&service.url)).unwrap();
    let piped = |words: &[&str], input: &str| {
        let mut child = person.command(words).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    };
    piped(&["send", file.to_str().unwrap(), "-"], "from a pipe");
    piped(&["send", "-", "a word"], &person.subscription(&service.url));
    let texts: Vec<_> =
        service.received().iter().map(|(_, body)| aes128gcm::decrypt(&person.agent, body).unwrap()).collect();
    assert_eq!(texts, [&b"from a pipe"[..], b"a word"]);
}

#[test]
fn what_cannot_be_used_is_refused_before_anything_is_sent() {
    let person = Person::new();
    let private = person.subscription("https://10.0.0.1/p/x");
    let plain = person.subscription("http://push.example.net/p/x");
    let good = person.subscription("https://push.example.net/p/x");
    let long = "x".repeat(3994);
    let mistyped = person.state.path().join("sate/vapid.pem").display().to_string();
    for (words, printed) in [
        (&["{}", "ding"][..], "missing field `endpoint`"),
        (&["/nowhere/sub.json", "ding"], "cannot read the subscription: /nowhere/sub.json"),
        (&[&private, "ding"], "--allow-private"),
        (&[&plain, "ding"], "not an https URL"),
        (&[&good, &long], "3994 bytes, and at most 3993 fit"),
        (&[&good, "ding", "--topic", "a.b"], "Topic has a character"),
        (&[&good, "ding", "--ttl", "soon"], "not a time"),
        (&[&good, "ding", "--subject", "me"], "not a mailto: or https: URI"),
        (&[&good, "ding", "--key", &mistyped], "there is no key in /"),
        (&[&good], "required"),
        (&[&good, "ding", "--receipt-timeout", "1s"], "--receipt"),
        (&["-", "-"], "cannot both come from standard input"),
    ] {
        let result = person.runs(&[&["send"], words].concat());
        assert_eq!(result.exit, 2, "{words:?}: {result:?}");
        assert!(result.err.contains(printed), "{words:?}: {result:?}");
    }
}

/// The shell gets a `curl` that keeps what it was given, so that the command is judged and not curl.
#[test]
fn the_printed_curl_command_works_in_a_posix_shell() {
    let person = Person::new();
    let bin = person.state.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let script =
        format!("#!/bin/sh\ncat >'{0}/body'\nprintf '%s\\n' \"$@\" >'{0}/words'\n", person.state.path().display());
    fs::write(bin.join("curl"), script).unwrap();
    fs::set_permissions(bin.join("curl"), PermissionsExt::from_mode(0o755)).unwrap();
    let printed = person.sends("https://push.example.net/p/it's", &["it's me", "--curl", "--topic", "t"]);
    assert_eq!(printed.exit, 0, "{printed:?}");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    assert!(Command::new("sh").arg("-c").arg(&printed.out).env("PATH", path).status().unwrap().success());
    let body = fs::read(person.state.path().join("body")).unwrap();
    assert_eq!(aes128gcm::decrypt(&person.agent, &body).unwrap(), b"it's me");
    let words = fs::read_to_string(person.state.path().join("words")).unwrap();
    for word in ["ttl: 3600", "topic: t", "content-encoding: aes128gcm", "@-", "https://push.example.net/p/it's"] {
        assert!(words.lines().any(|line| line == word), "{words}");
    }
    assert!(words.contains("authorization: vapid t="), "{words}");
}

const CHROMIUM: &str = "https://jmt17.google.com/fcm/send/secret";

#[test]
fn a_chromium_s_endpoint_is_reached_at_the_origin_that_it_is_mapped_to() {
    let person = Person::new();
    let service = Service::answering(&["201 Created"]);
    let ours = service.url.strip_suffix("/p/x").unwrap().to_owned();
    let entry = format!("https://jmt17.google.com={ours}");
    let printed = person
        .sends(CHROMIUM, &["ding", "--map-origin", "https://other.example=https://b.example", "--map-origin", &entry]);
    assert_eq!(printed.exit, 0, "{printed:?}");
    assert!(printed.err.contains(&format!("to {ours}")) && !printed.err.contains("jmt17"), "{printed:?}");
    let (head, _) = service.received().remove(0);
    assert!(head.starts_with("POST /fcm/send/secret HTTP/1.1\r\n"), "{head}");
    let token = head.split_once("vapid t=").unwrap().1.split('.').nth(1).unwrap();
    let claims = String::from_utf8(doorbell_protocol::base64url::decode(token).unwrap()).unwrap();
    assert!(claims.contains(&format!(r#""aud":"{ours}""#)), "{claims}");
}

#[test]
fn the_table_of_origins_also_comes_from_the_environment_and_shows_in_curl() {
    let person = Person::new();
    let subscription = person.subscription(CHROMIUM);
    let mut command = person.command(&["send", &subscription, "ding", "--curl"]);
    command
        .env("DOORBELL_MAP_ORIGIN", "https://a.example=https://b.example,https://jmt17.google.com=https://c.example");
    let printed = Printed::from(command.output().unwrap());
    assert!(
        printed.out.contains(" https://c.example/fcm/send/secret") && !printed.out.contains("google"),
        "{printed:?}"
    );
}

#[test]
fn an_endpoint_that_every_chromium_has_is_named_once_with_the_flag_and_sent_to_all_the_same() {
    let person = Person::new();
    let printed = person.sends(CHROMIUM, &["ding", "--curl"]);
    assert_eq!(printed.exit, 0, "{printed:?}");
    assert!(printed.out.contains(&format!(" {CHROMIUM}")), "{printed:?}");
    assert_eq!(
        printed.err.matches("--map-origin https://jmt17.google.com=https://YOUR.PUSH.SERVICE").count(),
        1,
        "{printed:?}"
    );
    assert!(!printed.err.contains("secret"), "{printed:?}");
}

#[test]
fn at_google_s_own_host_the_advice_is_for_google() {
    let person = Person::new();
    let google = "https://fcm.googleapis.com/fcm/send/secret";
    let printed = person.sends(google, &["ding", "--curl"]);
    assert_eq!(printed.exit, 0, "{printed:?}");
    assert!(!printed.err.contains("--map-origin") && !printed.err.contains("--subject"), "{printed:?}");
    let apple = person.sends("https://web.push.apple.com/secret", &["ding", "--curl"]);
    assert!(apple.err.contains("there is no --subject"), "{apple:?}");
}

#[test]
fn a_subscription_that_ended_and_a_subject_that_a_tool_doubled_are_named() {
    let person = Person::new();
    let service = Service::answering(&["201 Created"; 2]);
    let subscription = person.subscription(&service.url).replace("null", "1577836800000");
    let printed = person.runs(&["send", &subscription, "ding", "--subject", "mailto:mailto:ops@doorbell.dev"]);
    assert!(printed.err.contains("by its expirationTime (Wed, 01 Jan 2020 00:00:00 GMT)"), "{printed:?}");
    assert!(printed.err.contains("the subject is sent as mailto:ops@doorbell.dev: Apple rejects"), "{printed:?}");
    let good = person.sends(&service.url, &["ding", "--subject", "mailto:ops@doorbell.dev"]);
    assert!(!good.err.contains("expirationTime") && !good.err.contains("subject is sent"), "{good:?}");
}

#[test]
fn a_table_of_origins_that_is_none_and_one_that_leads_inside_are_usage_errors_as_ssrf_1() {
    let person = Person::new();
    for (entries, words) in [
        (&["jmt17.google.com"][..], "not FROM=TO"),
        (&["https://jmt17.google.com=https://b.example/path"], "is not an origin"),
        (&["https://jmt17.google.com=https://b.example", "https://jmt17.google.com=https://c.example"], "two origins"),
        (&["https://jmt17.google.com=https://10.0.0.1"], "--allow-private"),
    ] {
        let flags = entries.iter().flat_map(|entry| ["--map-origin", entry]);
        let printed = person.sends(CHROMIUM, &["ding"].into_iter().chain(flags).collect::<Vec<_>>());
        assert!(printed.exit == 2 && printed.err.contains(words), "{entries:?}: {printed:?}");
    }
}

#[test]
fn the_key_is_made_once_for_its_owner_and_shown_to_scripts() {
    let person = Person::new();
    let made = person.runs(&["keys", "new"]);
    assert_eq!((made.exit, made.out.trim().len()), (0, 87), "{made:?}");
    assert!(made.err.contains(person.key_file().to_str().unwrap()), "{made:?}");
    assert_eq!(fs::metadata(person.key_file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(person.runs(&["keys", "show"]).out, made.out);
    let again = person.runs(&["keys", "new"]);
    assert!(again.exit == 1 && again.err.contains("exists already"), "{again:?}");
    let service = Service::answering(&["201 Created"]);
    assert_eq!(person.sends(&service.url, &["ding"]).exit, 0);
    let (head, _) = service.received().remove(0);
    assert!(head.contains(&format!("k={}", made.out.trim())), "send signs with it: {head}");
}

#[test]
fn a_key_moves_to_and_from_other_tools() {
    let person = Person::new();
    let made = person.runs(&["keys", "new"]).out;
    let private = person.runs(&["keys", "show", "--private"]).out;
    let other = person.state.path().join("other.key");
    fs::write(&other, private).unwrap();
    fs::set_permissions(&other, PermissionsExt::from_mode(0o644)).unwrap();
    let shown = person.runs(&["keys", "show", other.to_str().unwrap()]);
    assert_eq!(shown.out, made);
    assert!(shown.err.contains("others can read the private key"), "{shown:?}");
    let missing = person.runs(&["keys", "show", "/nowhere/key"]);
    assert!(missing.exit == 1 && missing.err.contains("doorbell keys new"), "{missing:?}");
}
