//! The stream against rustls' own client, through tokio-rustls.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy, duplex, split};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client;

use super::TlsStream;

/// Longer than one record.
const LONG: usize = 100_000;

/// A server's configuration as the listeners have it, and the certificate to trust.
fn server() -> (Arc<ServerConfig>, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = builder.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().unwrap();
    config.send_tls13_tickets = 1;
    (Arc::new(config), made.cert.der().clone())
}

fn client(trusted: CertificateDer<'static>, version: &'static SupportedProtocolVersion, alpn: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(&[version]).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// Both ends after the handshake, over a pipe that holds this many bytes.
async fn connected(
    version: &'static SupportedProtocolVersion,
    pipe: usize,
) -> (TlsStream<DuplexStream>, client::TlsStream<DuplexStream>) {
    let ((config, trusted), (near, far)) = (server(), duplex(pipe));
    let connector = client(trusted, version, &["h2", "http/1.1"]);
    let name = ServerName::try_from("localhost").unwrap();
    let (server, client) = tokio::join!(TlsStream::accept(config, near), connector.connect(name, far));
    (server.unwrap(), client.unwrap())
}

fn long() -> Vec<u8> {
    (0..LONG).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

#[tokio::test]
async fn everything_comes_as_it_was_sent_in_both_versions_however_it_is_cut() {
    for version in [&TLS12, &TLS13] {
        for pipe in [7, 1000, 1 << 20] {
            let ((config, trusted), (near, far)) = (server(), duplex(pipe));
            let echo = async {
                let server = TlsStream::accept(config, near).await.unwrap();
                assert_eq!(server.alpn(), Some(&b"h2"[..]));
                let (mut received, mut sent) = split(server);
                copy(&mut received, &mut sent).await.unwrap();
                sent.shutdown().await.unwrap();
            };
            let send = async {
                let connector = client(trusted, version, &["h2", "http/1.1"]);
                let client = connector.connect(ServerName::try_from("localhost").unwrap(), far).await.unwrap();
                let (mut back, mut forth) = split(client);
                let sending = async {
                    forth.write_all(&long()).await.unwrap();
                    forth.shutdown().await.unwrap();
                };
                let mut all = Vec::new();
                let (_, received) = tokio::join!(sending, back.read_to_end(&mut all));
                received.unwrap();
                assert!(all == long(), "over a pipe of {pipe}");
            };
            tokio::join!(echo, send);
        }
    }
}

#[tokio::test]
async fn pieces_that_are_written_together_come_in_order() {
    let (mut server, mut client) = connected(&TLS13, 1 << 20).await;
    let (first, second) = (vec![1; 9], vec![2; 20_000]);
    let pieces = [IoSlice::new(&[]), IoSlice::new(&first), IoSlice::new(&second)];
    let written = server.write_vectored(&pieces).await.unwrap();
    assert_eq!(written, 16 << 10, "one record");
    server.flush().await.unwrap();
    let mut got = vec![0; written];
    client.read_exact(&mut got).await.unwrap();
    assert!(got.starts_with(&first));
    assert!(got[9..].iter().all(|byte| *byte == 2));
}

#[tokio::test]
async fn the_first_byte_is_seen_and_stays_to_be_read() {
    let (mut server, mut client) = connected(&TLS13, 1000).await;
    client.write_all(b"\x29login").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(server.first_byte().await.unwrap(), Some(0x29));
    let mut all = [0; 6];
    server.read_exact(&mut all).await.unwrap();
    assert_eq!(&all, b"\x29login");
    client.shutdown().await.unwrap();
    assert_eq!(server.first_byte().await.unwrap(), None);
}

#[tokio::test]
async fn keys_may_change_under_way() {
    let (mut server, mut client) = connected(&TLS13, 1 << 20).await;
    for round in 0..3 {
        client.get_mut().1.refresh_traffic_keys().unwrap();
        client.write_all(&[round]).await.unwrap();
        client.flush().await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), round);
        server.write_all(&[round]).await.unwrap();
        server.flush().await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), round);
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_is_no_end_and_one_that_is_closed_is() {
    let (mut server, client) = connected(&TLS13, 1000).await;
    drop(client);
    assert_eq!(server.read_u8().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    let (mut server, mut client) = connected(&TLS13, 1000).await;
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0; 10]).await.unwrap(), 0);
    server.write_all(b"goodbye").await.unwrap();
    server.shutdown().await.unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"goodbye", "the other direction is still open");
}

#[tokio::test]
async fn a_client_that_shares_no_protocol_receives_an_alert() {
    let ((config, trusted), (near, far)) = (server(), duplex(1 << 20));
    let connector = client(trusted, &TLS13, &["spdy/3"]);
    let name = ServerName::try_from("localhost").unwrap();
    let (server, client) = tokio::join!(TlsStream::accept(config, near), connector.connect(name, far));
    assert_eq!(server.err().unwrap().kind(), io::ErrorKind::InvalidData);
    assert!(client.unwrap_err().to_string().contains("NoApplicationProtocol"));
}

/// Bytes that are not TLS, and a ClientHello without end, are rejected within limits.
#[tokio::test]
async fn what_is_no_handshake_ends_and_is_not_kept() {
    let (config, _) = server();
    let endless = [&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff][..], &[0; 0x40_00 - 4]].concat();
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0; 100], [&endless[..]; 8].concat()] {
        let (near, mut far) = duplex(1 << 20);
        far.write_all(&bytes).await.unwrap();
        let accepted = timeout(Duration::from_secs(30), TlsStream::accept(config.clone(), near)).await;
        assert_eq!(accepted.expect("it ends").err().unwrap().kind(), io::ErrorKind::InvalidData);
    }
}

#[tokio::test]
async fn a_connection_on_which_nothing_moves_holds_no_buffer() {
    let (mut server, mut client) = connected(&TLS13, 1 << 20).await;
    client.write_all(&[7; 5000]).await.unwrap();
    client.flush().await.unwrap();
    server.read_exact(&mut [0; 5000]).await.unwrap();
    server.write_all(&[8; 5000]).await.unwrap();
    server.flush().await.unwrap();
    assert_eq!(server.held(), 0);
}
