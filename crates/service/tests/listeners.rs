//! Several listeners of one service, and proxies that name their clients by the PROXY protocol.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use doorbell_service::config::{Config, Served, Settings};
use doorbell_service::{Clock, Service, StartError};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use support::chromium::{Chromium, first_check_in_on};
use support::{START, raw, within};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const SUBSCRIBE: &[u8] = b"POST /subscribe HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

struct Running {
    service: Service,
    _state: TempDir,
}

impl Running {
    async fn start(listen: &[&str], settings: Settings) -> Self {
        let state = tempfile::tempdir().unwrap();
        let service = try_start(&state, listen, settings).await.unwrap();
        Self { service, _state: state }
    }

    /// Without TLS, on one address, with 127.0.0.2 and 127.0.0.3 declared as proxies.
    async fn behind_proxies(settings: Settings) -> Self {
        let proxies = Some(vec!["127.0.0.2/31".to_owned()]);
        let settings = Settings { proxy_protocol_from: proxies, ..settings };
        Self::start(&["plain:127.0.0.1:0"], settings).await
    }

    fn at(&self, served: Served) -> SocketAddr {
        self.service.addresses().iter().find(|listen| listen.served == served).unwrap().address
    }

    /// A connection from an address of loopback, with its first bytes.
    async fn from(&self, last: u8, first: impl AsRef<[u8]>) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))).unwrap();
        let mut stream = socket.connect(self.service.address()).await.unwrap();
        stream.write_all(first.as_ref()).await.unwrap();
        stream
    }

    async fn tls(&self, address: SocketAddr, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
        self.tls_over(TcpStream::connect(address).await.unwrap(), alpn).await
    }

    async fn tls_over(&self, stream: TcpStream, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.service.ca_file().unwrap()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::from(stream.peer_addr().unwrap().ip());
        within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap()
    }
}

async fn try_start(state: &TempDir, listen: &[&str], settings: Settings) -> Result<Service, StartError> {
    let listen = Some(listen.iter().map(|address| address.parse().unwrap()).collect());
    let settings = Settings { listen, state_dir: Some(state.path().to_owned()), ..settings };
    Service::start(Config::from_settings(settings).unwrap(), Clock::manual(START)).await
}

/// The header of version 2 for a client of IPv4.
fn v2(client: [u8; 4]) -> Vec<u8> {
    [SIGNATURE, &[0x21, 0x11, 0, 12], &client, &[127, 0, 0, 1, 0x12, 0x34, 1, 0xbb]].concat()
}

/// Waits until the service has closed the connection without an answer.
async fn is_closed(mut stream: TcpStream) {
    // A reset is an end too.
    let read = within(stream.read(&mut [0; 16])).await.unwrap_or(0);
    assert_eq!(read, 0, "bytes instead of the end");
}

async fn is_served(stream: &mut TcpStream) {
    let answer = raw::exchange(stream, GET).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn http_and_chromium_s_stream_have_listeners_of_their_own_and_the_rest_is_refused_there() {
    let listen = ["mcs:127.0.0.1:0", "plain:127.0.0.1:0", "tls:127.0.0.1:0"];
    let running = Running::start(&listen, Settings::default()).await;
    let (mcs, plain, tls) = (running.at(Served::Mcs), running.at(Served::Plain), running.at(Served::Tls));
    assert_eq!(running.service.address(), plain, "the first one with HTTP");
    is_served(&mut TcpStream::connect(plain).await.unwrap()).await;
    let mut over_tls = running.tls(tls, &[b"http/1.1"]).await;
    assert!(raw::exchange(&mut over_tls, GET).await.starts_with("HTTP/1.1 200 "));

    let device = first_check_in_on(TcpStream::connect(plain).await.unwrap()).await;
    let mut chromium = Chromium::over(running.tls(mcs, &[]).await);
    chromium.write(&[0x29]).await;
    chromium.log_in(device, &[]).await;
    for alpn in [&[][..], &[&b"http/1.1"[..]], &[&b"h2"[..]]] {
        let mut stream = running.tls(mcs, alpn).await;
        let mut answer = Vec::new();
        // A reset is an end too.
        let _ = stream.write_all(GET).await;
        let _ = within(stream.read_to_end(&mut answer)).await;
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    tokio::join!(chromium.closed(), async { running.service.stop().await.unwrap() });
    for address in [mcs, plain, tls] {
        assert!(TcpStream::connect(address).await.is_err(), "{address} is closed");
    }
}

#[tokio::test]
async fn the_places_of_a_source_count_over_all_listeners() {
    let settings = Settings { connections_per_source_max: Some(2), ..Settings::default() };
    let running = Running::start(&["plain:127.0.0.1:0", "plain:127.0.0.1:0"], settings).await;
    let [one, other] = running.service.addresses() else { panic!("two addresses") };
    let mut held = Vec::new();
    for listen in [one, other] {
        let mut stream = TcpStream::connect(listen.address).await.unwrap();
        is_served(&mut stream).await;
        held.push(stream);
    }
    for listen in [one, other] {
        is_closed(TcpStream::connect(listen.address).await.unwrap()).await;
    }
}

#[tokio::test]
async fn behind_a_proxy_that_is_not_named_connections_to_other_listeners_still_count() {
    let settings = Settings {
        connections_per_source_max: Some(1),
        trust_proxy: Some(true),
        public_url: Some("https://push.example.org".to_owned()),
        ..Settings::default()
    };
    let running = Running::start(&["plain:127.0.0.1:0", "mcs:127.0.0.1:0"], settings).await;
    let (mut first, mut second) = (running.from(1, b"").await, running.from(1, b"").await);
    is_served(&mut first).await;
    is_served(&mut second).await;
    let mcs = running.at(Served::Mcs);
    let _held = running.tls(mcs, &[]).await;
    is_closed(TcpStream::connect(mcs).await.unwrap()).await;
}

#[tokio::test]
async fn either_all_addresses_are_bound_or_none_and_the_error_names_the_one() {
    let free_address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let held = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let held_address = held.local_addr().unwrap();
    let state = tempfile::tempdir().unwrap();
    let listen = [format!("plain:{free_address}"), format!("tls:{held_address}")];
    let error = try_start(&state, &[&listen[0], &listen[1]], Settings::default()).await.err().unwrap();
    assert!(error.to_string().starts_with(&format!("cannot listen on {held_address}: ")), "{error}");
    TcpListener::bind(free_address).await.expect("the other one is free again");
}

#[tokio::test]
async fn connections_of_a_proxy_count_for_the_client_that_their_header_names() {
    let running =
        Running::behind_proxies(Settings { connections_per_source_max: Some(1), ..Settings::default() }).await;
    let mut held = Vec::new();
    for header in [
        v2([192, 0, 2, 1]),
        b"PROXY TCP4 192.0.2.2 198.51.100.1 4660 443\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::1 ::1 4660 443\r\n".to_vec(),
    ] {
        let mut stream = running.from(2, &header).await;
        is_served(&mut stream).await;
        held.push(stream);
        is_closed(running.from(3, &header).await).await;
    }
    // The form of a socket for both versions, and an address of the same IPv6 network.
    is_closed(running.from(2, b"PROXY TCP6 ::ffff:192.0.2.1 ::1 4660 443\r\n").await).await;
    is_closed(running.from(2, b"PROXY TCP6 2001:db8::2 ::1 4660 443\r\n").await).await;
    // A connection of the proxy's own counts for no client.
    let local = [SIGNATURE, &[0x20, 0, 0, 0]].concat();
    let unknown = b"PROXY UNKNOWN\r\n".to_vec();
    let unix = [SIGNATURE, &[0x21, 0x31, 0, 216], &[b'x'; 216]].concat();
    for header in [&local, &local, &unknown, &unknown, &unix, &unix] {
        let mut stream = running.from(2, header).await;
        is_served(&mut stream).await;
        held.push(stream);
    }
    let mut other = running.from(4, b"").await;
    is_served(&mut other).await;
    drop(held);
}

#[tokio::test]
async fn what_one_source_may_create_counts_for_the_client_that_a_header_names() {
    let running = Running::behind_proxies(Settings { new_agents_per_source: Some(1), ..Settings::default() }).await;
    for client in [1, 2] {
        let mut stream = running.from(2, v2([192, 0, 2, client])).await;
        assert!(raw::exchange(&mut stream, SUBSCRIBE).await.starts_with("HTTP/1.1 201 "));
        assert!(raw::exchange(&mut stream, SUBSCRIBE).await.starts_with("HTTP/1.1 429 "));
    }
}

#[tokio::test]
async fn a_connection_of_a_proxy_without_a_header_is_closed_and_logged() {
    support::log::Log::collect();
    let running = Running::behind_proxies(Settings::default()).await;
    let long = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
    let version_3 = [SIGNATURE, &[0x31, 0x11, 0, 12]].concat();
    let local_only = [SIGNATURE, &[0x21, 0x11, 0, 4], &[0; 4]].concat();
    for first in [GET, b"PROXY TCP4 1.2.3.4\r\n", b"\x16\x03\x01\x02", &long, &version_3, &local_only, &[b'x'; 600]] {
        is_closed(running.from(2, first).await).await;
    }
    assert_eq!(support::log::Log::count("WARN", "must begin with a PROXY protocol header"), 1, "one line a minute");
    is_served(&mut running.from(4, b"").await).await;
}

#[tokio::test]
async fn half_a_header_is_waited_for_and_the_end_of_the_connection_ends_it() {
    let running = Running::behind_proxies(Settings::default()).await;
    let whole = [&v2([192, 0, 2, 1])[..], GET].concat();
    let mut slow = running.from(2, b"").await;
    for byte in &whole {
        slow.write_all(&[*byte]).await.unwrap();
        slow.flush().await.unwrap();
    }
    assert!(raw::read_answer(&mut slow).await.starts_with("HTTP/1.1 200 "));
    let mut half = running.from(2, &whole[..14]).await;
    half.shutdown().await.unwrap();
    is_closed(half).await;
    // Extensions that do not fit into one look.
    let extended = [SIGNATURE, &[0x21, 0x11, 0x0f, 0xff], &v2([192, 0, 2, 1])[16..], &[0; 0x0fff - 12]].concat();
    is_served(&mut running.from(2, extended).await).await;
}

#[tokio::test]
async fn a_header_that_does_not_end_is_waited_for_as_long_as_a_request() {
    let running = Running::behind_proxies(Settings::default()).await;
    tokio::join!(
        async { is_closed(running.from(2, b"").await).await },
        async { is_closed(running.from(2, &SIGNATURE[..7]).await).await },
        async { is_closed(running.from(2, b"PROXY TCP4 192.0.2.1 ").await).await },
        async { is_served(&mut running.from(2, [&v2([192, 0, 2, 1])[..], b""].concat()).await).await },
    );
}

#[tokio::test]
async fn a_header_from_elsewhere_names_no_client_and_is_logged() {
    support::log::Log::collect();
    let running = Running::behind_proxies(Settings::default()).await;
    for header in [v2([192, 0, 2, 1]), b"PROXY TCP4 192.0.2.1 198.51.100.1 4660 443\r\n".to_vec()] {
        let mut stream = running.from(4, [&header[..], GET].concat()).await;
        let answer = String::from_utf8(raw::until_closed(&mut stream).await).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert_eq!(support::log::Log::count("WARN", "are not from addresses of proxy_protocol_from"), 1);
}

#[tokio::test]
async fn a_header_comes_before_tls() {
    let settings = Settings {
        proxy_protocol_from: Some(vec!["127.0.0.1".to_owned()]),
        connections_per_source_max: Some(1),
        ..Settings::default()
    };
    let running = Running::start(&["tls:127.0.0.1:0"], settings).await;
    let stream = running.from(1, v2([192, 0, 2, 1])).await;
    let mut tls = running.tls_over(stream, &[b"http/1.1"]).await;
    assert!(raw::exchange(&mut tls, GET).await.starts_with("HTTP/1.1 200 "));
    is_closed(running.from(1, v2([192, 0, 2, 1])).await).await;
    running.tls_over(running.from(1, v2([192, 0, 2, 2])).await, &[]).await;
}

#[tokio::test]
async fn what_one_source_may_create_counts_for_the_client_that_a_proxy_for_http_names() {
    let settings = Settings {
        // Also where a proxy in front is declared: it is the one that is named.
        trust_proxy: Some(true),
        public_url: Some("https://push.example.org".to_owned()),
        forwarded_for_from: Some(vec!["127.0.0.2".to_owned()]),
        connections_per_source_max: Some(1),
        new_agents_per_source: Some(1),
        ..Settings::default()
    };
    let running = Running::start(&["plain:127.0.0.1:0"], settings).await;
    let subscribe = |named: &str| {
        format!("POST /subscribe HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {named}\r\ncontent-length: 0\r\n\r\n")
    };
    // Connections of the proxy carry requests of all its clients, and do not count.
    let (mut proxy, mut second) = (running.from(2, b"").await, running.from(2, b"").await);
    for (named, status) in [
        ("192.0.2.1", "201"),
        ("192.0.2.1", "429"),
        ("192.0.2.2", "201"),
        ("192.0.2.9, 192.0.2.1", "429"),
        ("192.0.2.1, 192.0.2.3", "201"),
    ] {
        let answer = raw::exchange(&mut proxy, subscribe(named).as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{named}: {answer}");
    }
    let answer = raw::exchange(&mut second, subscribe("192.0.2.3").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    // A client that is no declared proxy names none.
    let mut client = running.from(4, b"").await;
    for (named, status) in [("192.0.2.4", "201"), ("192.0.2.5", "429")] {
        let answer = raw::exchange(&mut client, subscribe(named).as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{named}: {answer}");
    }
}
