//! The files of `extras/proxy/`, each with the real program in front of a real service. Only addresses and paths are
//! replaced in them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustls::pki_types::ServerName;
use serde_json::Value;
use support::Listener;
use support::authority::Signed;
use support::clock::Deadline;
use support::desktop::on_path;
use support::foreign::here;
use support::pebble::free_port;
use support::peer::tls_of;
use support::process::Running;
use support::service::doorbell;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The connections of one source that the services behind TCP proxies allow: more than a doctor uses.
const PER_SOURCE_MAX: usize = 12;

/// The agents that one source may create behind proxies for HTTP: more than a doctor needs.
const NEW_AGENTS_MAX: usize = 8;

const SUBSCRIBE: &str =
    "POST /subscribe HTTP/1.1\r\nhost: 127.0.0.1\r\nx-forwarded-for: 192.0.2.1\r\ncontent-length: 0\r\n\r\n";

/// The check-in of a Chromium that is no device yet.
const CHECK_IN: &str =
    "POST /checkin HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 2\r\nconnection: close\r\n\r\n\x70\x03";

/// What both kinds of requests are answered with while the service is away.
const REQUESTS: [&str; 3] = [
    "POST /p/x HTTP/1.1\r\nhost: 127.0.0.1\r\nttl: 60\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi",
    "GET /m/x HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
     sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
];

/// The ports of one proxy and its service, and a folder for both.
struct Place {
    folder: TempDir,
    /// Where clients come to.
    front: u16,
    /// Where the proxy leads to.
    behind: u16,
    /// Chromium's stream next to a proxy for HTTP.
    mcs: u16,
    /// Where the service reports its metrics.
    admin: u16,
    /// What signs the certificate that clients see.
    ca: PathBuf,
}

impl Place {
    fn new(ca: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [front, behind, mcs, admin] = std::array::from_fn(|_| free_port());
        let ca = folder.path().join(ca);
        Self { folder, front, behind, mcs, admin, ca }
    }

    /// One with a certificate for the proxy, in two files.
    fn with_certificate() -> (Self, PathBuf, PathBuf) {
        let place = Self::new("ca.pem");
        let signed = Signed::until(2099, "127.0.0.1");
        place.write("ca.pem", &signed.ca_pem);
        let (cert, key) = (place.write("cert.pem", &signed.pem), place.write("key.pem", &signed.key.serialize_pem()));
        (place, cert, key)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn origin(&self) -> String {
        format!("https://127.0.0.1:{}", self.front)
    }

    /// A file of `extras/proxy/` with other addresses and paths. Each of these must be in it.
    fn shipped(&self, name: &str, replaced: &[(&str, &str)]) -> PathBuf {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../extras/proxy");
        let mut text = std::fs::read_to_string(folder.join(name)).unwrap();
        for (from, to) in replaced {
            assert!(text.contains(from), "{from:?} is not in {name}");
            text = text.replace(from, to);
        }
        assert!(!text.contains("listen 443") && !text.contains(":443 "), "it would use the real port");
        self.write(name, &text)
    }

    /// A service that gets the client's address in front of each connection.
    fn serve_behind_tcp(&self) -> Running {
        self.serve(&[
            &format!("--listen=127.0.0.1:{}", self.behind),
            "--proxy-protocol-from=127.0.0.1",
            &format!("--connections-per-source-max={PER_SOURCE_MAX}"),
        ])
    }

    /// A service behind a proxy that ends TLS, with the same certificate for Chromium's stream.
    fn serve_behind_http(&self, cert: &Path, key: &Path) -> Running {
        self.serve(&[
            &format!("--listen=plain:127.0.0.1:{}", self.behind),
            &format!("--listen=mcs:127.0.0.1:{}", self.mcs),
            "--trust-proxy",
            "--forwarded-for-from=127.0.0.1",
            &format!("--new-agents-per-source={NEW_AGENTS_MAX}"),
            &format!("--admin-listen=127.0.0.1:{}", self.admin),
            // Nothing is sent to a quiet agent, by which the proxy could see that it has left.
            "--keepalive-secs=3600",
            &format!("--tls-cert={}", cert.display()),
            &format!("--tls-key={}", key.display()),
        ])
    }

    fn serve(&self, flags: &[&str]) -> Running {
        let mut command = doorbell("serve");
        command.args(["--public-url", &self.origin(), "--state-dir"]).arg(self.path("state")).args(flags);
        let service = Running::start(&mut command);
        service.wait_for("line `listening on`", |line| line.starts_with("listening on").then_some(()));
        service
    }

    /// The file of nginx for HTTP, with these replacements too.
    fn nginx_http(&self, cert: &Path, key: &Path, further: &[(&str, &str)]) -> PathBuf {
        let (front, behind) = (format!("listen 127.0.0.1:{} ", self.front), format!("127.0.0.1:{}", self.behind));
        let live = "/etc/letsencrypt/live/push.example.org";
        let (chain, of_chain) = (format!("{live}/fullchain.pem"), format!("{live}/privkey.pem"));
        let (cert, key) = (cert.display().to_string(), key.display().to_string());
        let usual: [(&str, &str); 6] = [
            ("listen 443 ", &front),
            ("listen [::]:443 ssl http2;", ""),
            ("server_name push.example.org;", ""),
            ("127.0.0.1:8080", &behind),
            (&chain, &cert),
            (&of_chain, &key),
        ];
        self.shipped("nginx-http.conf", &[&usual, further].concat())
    }

    fn nginx(&self, file: &Path, module: &str) -> Running {
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {};", self.path(kind).display()))
            .concat();
        let include = format!("include {};", file.display());
        let body = match module {
            "" => format!("http {{ access_log off; {temporary} {include} }}"),
            _ => format!("http {{ access_log off; {temporary} }} {include}"),
        };
        // One process, which ends with the test.
        let main = format!(
            "{module} daemon off; master_process off; pid {}; error_log stderr notice; events {{ }} {body}",
            self.path("nginx.pid").display()
        );
        let mut command = Command::new(program("nginx").unwrap());
        command.arg("-e").arg("stderr").arg("-p").arg(self.folder.path());
        Running::start(command.arg("-c").arg(self.write("nginx.conf", &main)))
    }

    fn haproxy(&self) -> Running {
        let (front, behind) = (format!("bind 127.0.0.1:{}", self.front), format!("127.0.0.1:{}", self.behind));
        let mut replaced =
            vec![("bind :::443 v4v6", front.as_str()), ("127.0.0.1:8443", &behind), ("maxconn 20000", "maxconn 100")];
        if !rustix::process::geteuid().is_root() {
            // Only root has rights to give up.
            replaced.extend([("chroot /var/lib/haproxy", ""), ("user haproxy", ""), ("group haproxy", "")]);
        }
        let file = self.shipped("haproxy.cfg", &replaced);
        Running::start(Command::new(program("haproxy").unwrap()).arg("-db").arg("-f").arg(file))
    }

    /// A connection from an address of loopback, when the proxy listens.
    async fn tcp(&self, last: u8) -> TcpStream {
        let deadline = Deadline::soon();
        loop {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))).unwrap();
            match socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.front))).await {
                Ok(stream) => return stream,
                Err(error) => assert!(!deadline.left().is_zero(), "the proxy does not listen: {error}"),
            }
            tokio::task::yield_now().await;
        }
    }

    async fn tls(&self, last: u8) -> io::Result<TlsStream<TcpStream>> {
        let config = tls_of(&std::fs::read_to_string(&self.ca)?, &[b"http/1.1"]);
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connecting = TlsConnector::from(config).connect(name, self.tcp(last).await);
        timeout(Deadline::soon().left(), connecting).await?
    }

    /// The status of the answer to a request.
    async fn status(&self, request: &str) -> io::Result<u16> {
        self.status_from(1, request).await
    }

    async fn status_from(&self, last: u8, request: &str) -> io::Result<u16> {
        let mut stream = self.tls(last).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut start = [0; 12];
        timeout(Deadline::soon().left(), stream.read_exact(&mut start)).await??;
        let status = std::str::from_utf8(&start).unwrap().strip_prefix("HTTP/1.1 ").unwrap();
        Ok(status.parse().unwrap())
    }

    /// What the doctor finds in this step at `url`, where it finds a failure.
    fn failed_step(&self, url: &str, name: &str) -> Value {
        let mut command = doorbell("doctor");
        command.args([url, "--json", "--idle-secs", "0", "--ca"]).arg(&self.ca);
        command.env("HOME", self.folder.path()).env_remove("XDG_STATE_HOME");
        let (mut process, mut printed) = (Running::start(&mut command), String::new());
        let status = process.exit(|line| printed.push_str(line));
        assert!(!status.success(), "{printed}");
        let report: Value = serde_json::from_str(&printed).unwrap();
        let steps = report["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("{steps:#?}"));
        assert_eq!(step["result"], "failed", "{step}");
        step.clone()
    }

    /// The doctor's steps with this result. It finds no failure.
    fn examined(&self, options: &[&str]) -> Vec<Value> {
        let mut command = doorbell("doctor");
        command.arg(self.origin()).arg("--ca").arg(&self.ca).args(["--json", "--idle-secs", "2"]).args(options);
        command.env("HOME", self.folder.path()).env_remove("XDG_STATE_HOME");
        let (mut process, mut printed) = (Running::start(&mut command), String::new());
        let status = process.exit(|line| printed.push_str(line));
        assert!(status.success(), "{printed}");
        let report: Value = serde_json::from_str(&printed).unwrap();
        let steps = report["steps"].as_array().unwrap();
        let is_served = |name| steps.iter().any(|step| step["step"] == name && step["result"] == "ok");
        for name in ["doorbell", "send", "receipt", "websocket", "idle", "checkin", "mcs"] {
            assert!(is_served(name), "{name}: {steps:#?}");
        }
        steps.iter().filter(|step| step["result"] != "ok").cloned().collect()
    }

    /// `doorbell listen` receives what `doorbell send` sends.
    fn delivers(&self) {
        let listener = Listener::through(&self.origin(), &self.ca);
        let subscription = listener.subscription().to_string();
        let mut command = doorbell("send");
        command.args([&subscription, "through the proxy", "--ca"]).arg(&self.ca);
        command.env("DOORBELL_STATE_DIR", self.path("sender"));
        let mut sending = Running::start(&mut command);
        assert!(sending.exit(|_| {}).success(), "{}", sending.output());
        listener.prints("through the proxy");
    }

    /// Through a proxy that names its clients, each has places of its own.
    async fn counts_clients(&self) {
        let mut held = Vec::new();
        for _ in 0..PER_SOURCE_MAX {
            held.push(self.tls(5).await.expect("one of those that a source may have"));
        }
        assert!(self.tls(5).await.is_err(), "one more than a source may have");
        self.tls(6).await.expect("another source");
    }

    /// Through a proxy for HTTP that names its clients, each may create so many agents, whatever it writes itself.
    async fn counts_agents(&self) {
        for _ in 0..NEW_AGENTS_MAX {
            assert_eq!(self.status_from(5, SUBSCRIBE).await.unwrap(), 201);
        }
        assert_eq!(self.status_from(5, SUBSCRIBE).await.unwrap(), 429);
        assert_eq!(self.status_from(6, SUBSCRIBE).await.unwrap(), 201);
    }

    /// An agent that leaves while it waits for events is seen to leave: until then messages that are not stored would be
    /// sent to it.
    async fn notices_that_a_client_leaves(&self) {
        let mut stream = self.tls(7).await.unwrap();
        stream.write_all(SUBSCRIBE.as_bytes()).await.unwrap();
        let head = head_of(&mut stream).await;
        let location =
            head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap_or_else(|| panic!("{head}"));
        let path = location.strip_prefix(&self.origin()).unwrap();
        let mut events = self.tls(7).await.unwrap();
        let get = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/event-stream\r\n\r\n");
        events.write_all(get.as_bytes()).await.unwrap();
        let head = head_of(&mut events).await;
        assert!(head.starts_with("http/1.1 200 ") && head.contains("text/event-stream"), "{head}");
        self.has_agents(1).await;
        drop(events);
        self.has_agents(0).await;
    }

    /// Waits until so many agents are connected.
    async fn has_agents(&self, count: u64) {
        let deadline = Deadline::soon();
        loop {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.admin)).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            timeout(Deadline::soon().left(), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
            let samples = answer.lines().filter(|line| line.starts_with("doorbell_agents_connected{"));
            let numbers: Vec<u64> = samples.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
            assert!(!numbers.is_empty(), "{answer}");
            if numbers.iter().sum::<u64>() == count {
                return;
            }
            assert!(!deadline.left().is_zero(), "{count} agents are not connected: {numbers:?}");
        }
    }

    /// A Chromium that checks in through the proxy for HTTP learns the port of the second listener.
    async fn names_the_port_of_the_stream(&self) {
        let mut stream = self.tls(1).await.unwrap();
        stream.write_all(CHECK_IN.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Some proxies close without a close_notify of TLS.
        let _ = timeout(Deadline::soon().left(), stream.read_to_end(&mut answer)).await.unwrap();
        let (answer, port) = (String::from_utf8_lossy(&answer).into_owned(), self.mcs.to_string());
        let setting = format!("gcm_secure_port\x12{}{port}", char::from(u8::try_from(port.len()).unwrap()));
        assert!(answer.contains(&setting), "{answer:?}");
    }

    /// While the service is away, the proxy answers in its place, and when it is back it is served again.
    async fn answers_while_away(&self, mut service: Running, serve_again: impl FnOnce() -> Running) {
        service.kill();
        for request in REQUESTS {
            let status = self.status(request).await.expect("an answer");
            assert!([502, 503].contains(&status), "{status}");
        }
        let _service = serve_again();
        self.is_back().await;
    }

    /// While the service is away, the proxy closes connections, and when it is back it is served again.
    async fn closes_while_away(&self, mut service: Running) {
        service.kill();
        for request in REQUESTS {
            let error = self.status(request).await.expect_err("the proxy answers by itself");
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            let is_closed = [BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof].contains(&error.kind());
            assert!(is_closed, "{error}");
        }
        let _service = self.serve_behind_tcp();
        self.is_back().await;
    }

    async fn is_back(&self) {
        let deadline = Deadline::soon();
        while self.status("GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.ok() != Some(200) {
            assert!(!deadline.left().is_zero(), "the service is not reached again");
            tokio::task::yield_now().await;
        }
    }
}

/// The head of an answer, in lower case but for values that are paths.
async fn head_of(stream: &mut TlsStream<TcpStream>) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(Deadline::soon().left(), stream.read_u8()).await.unwrap().unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let line = |line: &str| match line.split_once(": ") {
        Some((name, value)) => format!("{}: {value}\n", name.to_lowercase()),
        None => format!("{}\n", line.to_lowercase()),
    };
    head.lines().map(line).collect()
}

/// Where a program is; those for administrators are often not on the PATH.
fn program(name: &str) -> Option<PathBuf> {
    on_path(name).or_else(|| Some(Path::new("/usr/sbin").join(name)).filter(|file| file.is_file()))
}

/// What remains is the warning that server pushes do not pass, with what to do.
fn is_about_pushes_only(steps: &[Value]) {
    let [step] = steps else { panic!("{steps:#?}") };
    assert_eq!((&step["step"], &step["result"]), (&"receive".into(), &"warning".into()), "{step}");
    assert!(step["advice"].as_str().unwrap().contains("pass TCP through"), "{step}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_passes_tcp_through_with_the_client_s_address() {
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    if !here("nginx with its stream module", program("nginx").is_some() && Path::new(module).is_file()) {
        return;
    }
    let place = Place::new("state/ca.pem");
    let service = place.serve_behind_tcp();
    let (front, behind) = (format!("listen 127.0.0.1:{};", place.front), format!("127.0.0.1:{}", place.behind));
    let replaced = [("listen 443;", front.as_str()), ("listen [::]:443;", ""), ("127.0.0.1:8443", &behind)];
    let _proxy = place.nginx(&place.shipped("nginx-stream.conf", &replaced), &format!("load_module {module};"));
    place.counts_clients().await;
    assert_eq!(place.examined(&[]), Vec::<Value>::new());
    place.delivers();
    place.closes_while_away(service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_passes_tcp_through_with_the_client_s_address() {
    if !here("haproxy", program("haproxy").is_some()) {
        return;
    }
    let place = Place::new("state/ca.pem");
    let service = place.serve_behind_tcp();
    let _proxy = place.haproxy();
    place.counts_clients().await;
    assert_eq!(place.examined(&[]), Vec::<Value>::new());
    place.delivers();
    place.closes_while_away(service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_ends_tls_and_passes_all_but_server_pushes() {
    if !here("nginx", program("nginx").is_some()) {
        return;
    }
    let (place, cert, key) = Place::with_certificate();
    let service = place.serve_behind_http(&cert, &key);
    let file = place.nginx_http(&cert, &key, &[]);
    let _proxy = place.nginx(&file, "");
    drop(place.tcp(1).await);
    is_about_pushes_only(&place.examined(&["--mcs", &format!("https://127.0.0.1:{}", place.mcs)]));
    place.delivers();
    place.counts_agents().await;
    place.names_the_port_of_the_stream().await;
    place.notices_that_a_client_leaves().await;
    place.answers_while_away(service, || place.serve_behind_http(&cert, &key)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_ends_tls_and_passes_all_but_server_pushes() {
    if !here("caddy", program("caddy").is_some()) {
        return;
    }
    let place = Place::new("data/caddy/pki/authorities/local/root.crt");
    let (front, behind) = (format!("{} {{", place.origin()), format!("127.0.0.1:{}", place.behind));
    let file = place.shipped("Caddyfile", &[("push.example.org {", &front), ("127.0.0.1:8080", &behind)]);
    let options = "{\nadmin off\nskip_install_trust\nauto_https disable_redirects\ndefault_bind 127.0.0.1\n}\n";
    let main = place.write("main.caddy", &format!("{options}import {}\n", file.display()));
    let mut command = Command::new(program("caddy").unwrap());
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(main).env("HOME", place.folder.path());
    command.env("XDG_DATA_HOME", place.path("data")).env("XDG_CONFIG_HOME", place.path("config"));
    let proxy = Running::start(&mut command);
    // For an address Caddy signs the certificate itself. A service without TLS files does not start.
    proxy.prints("serving initial configuration");
    let of_caddy = place.path("data/caddy/certificates/local/127.0.0.1");
    let (cert, key) = (of_caddy.join("127.0.0.1.crt"), of_caddy.join("127.0.0.1.key"));
    let deadline = Deadline::soon();
    while !(cert.is_file() && key.is_file()) {
        assert!(!deadline.left().is_zero(), "Caddy has no certificate:\n{}", proxy.output());
        std::thread::yield_now();
    }
    let service = place.serve_behind_http(&cert, &key);
    let mut found = place.examined(&["--mcs", &format!("https://127.0.0.1:{}", place.mcs)]);
    // Such a certificate of Caddy's lasts half a day.
    found.retain(|step| !(step["step"] == "tls" && step["finding"].as_str().unwrap().contains("good for 0 more days")));
    is_about_pushes_only(&found);
    place.delivers();
    place.counts_agents().await;
    place.names_the_port_of_the_stream().await;
    place.notices_that_a_client_leaves().await;
    place.answers_while_away(service, || place.serve_behind_http(&cert, &key)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_without_http2_is_named_with_what_to_do_by_the_doctor_and_by_an_agent() {
    if !here("nginx", program("nginx").is_some()) {
        return;
    }
    let (place, cert, key) = Place::with_certificate();
    let _service = place.serve_behind_http(&cert, &key);
    let _proxy = place.nginx(&place.nginx_http(&cert, &key, &[(" ssl http2;", " ssl;")]), "");
    drop(place.tcp(1).await);
    let step = place.failed_step(&place.origin(), "http2");
    assert!(step["advice"].as_str().unwrap().contains("listen 443 ssl http2"), "{step}");
    let mut command = doorbell("listen");
    command.arg(place.origin()).arg("--ca").arg(&place.ca).env("DOORBELL_STATE_DIR", place.path("agent"));
    let listener = Running::start(&mut command);
    let line = listener.prints("offers HTTP/1.1 only");
    assert!(line.contains("listen 443 ssl http2") && line.contains("pass TCP"), "{line}");
}

#[test]
fn a_service_that_expects_a_header_of_the_proxy_protocol_in_vain_is_named_by_the_doctor() {
    let place = Place::new("state/ca.pem");
    let service = place.serve_behind_tcp();
    let step = place.failed_step(&format!("https://127.0.0.1:{}", place.behind), "tls");
    assert!(step["advice"].as_str().unwrap().contains("remove the address from --proxy-protocol-from"), "{step}");
    service.prints("must begin with a PROXY protocol header");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_of_the_proxy_protocol_that_the_service_does_not_expect_is_named_by_the_doctor() {
    if !here("haproxy", program("haproxy").is_some()) {
        return;
    }
    let place = Place::new("state/ca.pem");
    let service = place.serve(&[&format!("--listen=127.0.0.1:{}", place.behind)]);
    let _proxy = place.haproxy();
    drop(place.tcp(1).await);
    let step = place.failed_step(&place.origin(), "tls");
    let advice = step["advice"].as_str().unwrap();
    assert!(advice.contains("name its address to the service with --proxy-protocol-from"), "{step}");
    service.prints("are not from addresses of proxy_protocol_from");
}
