//! The one port: without ALPN, the first byte decides between MCS and HTTP/1.1.

use std::sync::Arc;

use doorbell_service::config::{Config, Settings};
use doorbell_service::{Clock, Service};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::chromium::{Chromium, first_check_in_on};
use crate::support::raw;
use crate::support::within;

async fn connect(service: &Service, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(service.ca_file().unwrap()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(service.address()).await.unwrap();
    let name = ServerName::from(service.address().ip());
    within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap()
}

#[tokio::test]
async fn without_alpn_the_first_byte_decides_and_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        listen: Some(vec!["127.0.0.1:0".parse().unwrap()]),
        state_dir: Some(dir.path().to_owned()),
        ..Settings::default()
    };
    let service = Service::start(Config::from_settings(settings).unwrap(), Clock::system()).await.unwrap();
    let get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    for alpn in [&[][..], &[&b"http/1.1"[..]]] {
        let mut stream = connect(&service, alpn).await;
        stream.write_all(&get[..1]).await.unwrap();
        stream.flush().await.unwrap();
        let answer = raw::exchange(&mut stream, &get[1..]).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let device = first_check_in_on(connect(&service, &[]).await).await;
    let mut chromium = Chromium::over(connect(&service, &[]).await);
    chromium.write(&[0x29]).await;
    chromium.log_in(device, &[]).await;
    chromium.is_answered().await;
    tokio::join!(chromium.closed(), async { service.stop().await.unwrap() });
}
