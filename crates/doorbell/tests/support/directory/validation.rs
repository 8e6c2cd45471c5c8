//! The validation of a domain by a TLS handshake (TLS-ALPN-01, RFC 8737), written from the RFC.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The token of every challenge.
pub const TOKEN: &str = "DGyRejmCefe7v4NfDGDKfA-a-token-of-the-tests";

/// id-pe-acmeIdentifier as a critical extension, up to the digest (RFC 8737 s3).
const EXTENSION: [u8; 17] = [0x06, 8, 0x2b, 6, 1, 5, 5, 7, 1, 0x1f, 0x01, 1, 0xff, 0x04, 0x22, 0x04, 0x20];

/// Whether `port` proves that it belongs to the domain.
pub async fn validates(domain: &str, port: u16, key_authorization: &str) -> bool {
    handshake(domain, port, key_authorization).await.unwrap_or(false)
}

async fn handshake(domain: &str, port: u16, key_authorization: &str) -> std::io::Result<bool> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let any = Arc::new(Any(provider.signature_verification_algorithms.supported_schemes()));
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("versions").dangerous();
    let mut config = builder.with_custom_certificate_verifier(any).with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let name = ServerName::try_from(domain.to_owned()).expect("a name");
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.to_vec());
    let proof = [EXTENSION.as_slice(), digest(&SHA256, key_authorization.as_bytes()).as_ref()].concat();
    let is_proved = leaf.is_some_and(|leaf| leaf.windows(proof.len()).any(|window| window == proof));
    Ok(is_proved && session.alpn_protocol() == Some(b"acme-tls/1"))
}

/// Takes any certificate: the extension is what counts. It is critical and unknown to webpki, which therefore cannot read
/// the certificate, not even for the handshake's signature.
#[derive(Debug)]
struct Any(Vec<SignatureScheme>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
