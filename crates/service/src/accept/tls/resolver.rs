//! The certificate of a listener. It can be replaced while connections stay open. For a moment there is also one that
//! proves to a certificate authority that the domain leads here (RFC 8737).

use std::sync::Arc;

use doorbell_protocol::time::UnixMs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::acme::{ACME_TLS, Waits};
use super::self_signed::Validity;
use super::{Identity, TlsError, provider};
use crate::counts::Counter;
use crate::locked::Locked;

/// Presents one certificate to every client. Each handshake uses the current certificate at its start, and an open
/// connection never reads it again.
#[derive(Debug)]
pub(crate) struct CertificateResolver {
    /// `None` until the first certificate is there: handshakes are refused until then.
    current: Locked<Option<Arc<CertifiedKey>>>,
    /// The domain that is being validated, and the certificate that proves it.
    challenge: Locked<Option<(String, Arc<CertifiedKey>)>>,
    attempts: Attempts,
    /// Why the next certificate cannot be used, if the last look has found one.
    problem: Locked<Option<String>>,
    /// The wait before the next attempt, after one that failed.
    next_attempt: Locked<Option<Waits>>,
}

/// Attempts to get another certificate: an order at the authority, files that have changed, or one of our own.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    pub(crate) succeeded: Counter,
    pub(crate) failed: Counter,
}

/// While it exists, the validation of a domain is answered.
#[derive(Debug)]
pub(super) struct ChallengeGuard<'a>(&'a CertificateResolver);

impl CertificateResolver {
    /// A resolver that presents no certificate yet.
    pub(crate) fn empty() -> Self {
        Self {
            current: Locked::default(),
            challenge: Locked::default(),
            attempts: Attempts::default(),
            problem: Locked::default(),
            next_attempt: Locked::default(),
        }
    }

    /// Answers the validation of `domain` with this certificate, until the guard is dropped.
    pub(super) fn answer_challenge(&self, domain: &str, answer: Arc<CertifiedKey>) -> ChallengeGuard<'_> {
        *self.challenge.lock() = Some((domain.to_owned(), answer));
        ChallengeGuard(self)
    }

    /// Presents `identity` from the next handshake on.
    ///
    /// # Errors
    /// [`TlsError::Unusable`] if the key is of no supported kind, the certificate cannot be read, or the two do not match.
    /// Then the old certificate stays.
    pub(crate) fn replace(&self, identity: Identity) -> Result<(), TlsError> {
        let key = provider().key_provider.load_private_key(identity.key)?;
        let certified = CertifiedKey::new(identity.chain, key);
        // This is stricter than rustls' own constructors, which accept a pair that cannot be compared
        // (`InconsistentKeys::Unknown`). Each key of this provider can be compared, and a pair that does not match
        // fails every handshake.
        certified.keys_match()?;
        *self.current.lock() = Some(Arc::new(certified));
        Ok(())
    }

    /// When the certificate that is presented begins to be valid, if there is one.
    pub(crate) fn valid_from(&self) -> Option<UnixMs> {
        self.validity().map(|validity| UnixMs::from_secs(validity.not_before.unix_timestamp()))
    }

    /// When it ends.
    pub(crate) fn valid_until(&self) -> Option<UnixMs> {
        self.validity().map(|validity| UnixMs::from_secs(validity.not_after.unix_timestamp()))
    }

    fn validity(&self) -> Option<Validity> {
        let current = self.current.lock().clone()?;
        // rustls has read it: one that is not X.509 is not presented.
        let (_, leaf) = X509Certificate::from_der(current.cert.first()?).ok()?;
        Some(Validity::of(&leaf))
    }

    /// An attempt to get the next certificate ended.
    pub(super) fn note_attempt(&self, succeeded: bool) {
        if succeeded { self.attempts.succeeded.add() } else { self.attempts.failed.add() }
    }

    /// Why the next certificate cannot be used; `None` after one that can.
    pub(super) fn note_problem(&self, problem: Option<String>) {
        *self.problem.lock() = problem;
    }

    /// Why the certificate that should follow cannot be used: the one that is presented stays.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }

    pub(super) fn set_next_attempt(&self, waits: Option<Waits>) {
        *self.next_attempt.lock() = waits;
    }

    /// The wait before the next attempt by ACME, if the last one failed.
    pub(crate) fn next_attempt(&self) -> Option<Waits> {
        *self.next_attempt.lock()
    }

    /// The attempts to get another certificate, since the start.
    pub(crate) fn attempts(&self) -> &Attempts {
        &self.attempts
    }
}

impl ResolvesServerCert for CertificateResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if is_validation(&hello) {
            let challenge = self.challenge.lock();
            let (domain, answer) = challenge.as_ref()?;
            let is_named = hello.server_name().is_some_and(|name| name.eq_ignore_ascii_case(domain));
            return is_named.then(|| answer.clone());
        }
        self.current.lock().clone()
    }
}

impl Drop for ChallengeGuard<'_> {
    fn drop(&mut self) {
        *self.0.challenge.lock() = None;
    }
}

/// Whether the client offers the protocol of validations and no other one (RFC 8737 s3).
fn is_validation(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut offered| offered.next() == Some(ACME_TLS) && offered.next().is_none())
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, InconsistentKeys, RootCertStore};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client;

    use super::*;
    use crate::accept::tls::server_config;
    use crate::transport::tls::TlsStream;

    /// A certificate for localhost with its key, and a copy of the certificate.
    fn identity() -> (Identity, CertificateDer<'static>) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        (Identity { chain: vec![made.cert.der().clone()], key }, made.cert.der().clone())
    }

    /// A resolver, and the certificate that it presents.
    fn resolver() -> (Arc<CertificateResolver>, CertificateDer<'static>) {
        let (identity, certificate) = identity();
        let resolver = CertificateResolver::empty();
        resolver.replace(identity).unwrap();
        (Arc::new(resolver), certificate)
    }

    /// A client that trusts both certificates and has no ticket.
    fn client(trusted: [&CertificateDer<'static>; 2]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        trusted.into_iter().for_each(|certificate| roots.add(certificate.clone()).unwrap());
        let builder = ClientConfig::builder_with_provider(Arc::new(provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }

    /// Both ends of a new connection.
    async fn connect(
        config: &Arc<rustls::ServerConfig>,
        connector: TlsConnector,
    ) -> (TlsStream<DuplexStream>, client::TlsStream<DuplexStream>) {
        let (near, far) = duplex(1 << 20);
        let name = ServerName::try_from("localhost").unwrap();
        let (server, client) = tokio::join!(TlsStream::accept(config.clone(), near), connector.connect(name, far));
        (server.unwrap(), client.unwrap())
    }

    fn presented(client: &client::TlsStream<DuplexStream>) -> &CertificateDer<'static> {
        &client.get_ref().1.peer_certificates().unwrap()[0]
    }

    async fn echo(server: &mut TlsStream<DuplexStream>, client: &mut client::TlsStream<DuplexStream>) {
        client.write_all(b"ping").await.unwrap();
        client.flush().await.unwrap();
        let mut received = [0; 4];
        server.read_exact(&mut received).await.unwrap();
        server.write_all(&received).await.unwrap();
        server.flush().await.unwrap();
        client.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"ping");
    }

    #[tokio::test]
    async fn a_new_handshake_gets_the_new_certificate_and_an_open_connection_goes_on() {
        let ((resolver, old), (next, new)) = (resolver(), identity());
        let config = server_config(resolver.clone()).unwrap();
        let (mut server, mut open) = connect(&config, client([&old, &new])).await;
        assert_eq!(presented(&open), &old);
        resolver.replace(next).unwrap();
        echo(&mut server, &mut open).await;
        let (mut server, mut later) = connect(&config, client([&old, &new])).await;
        assert_eq!(presented(&later), &new);
        echo(&mut server, &mut later).await;
    }

    #[tokio::test]
    async fn a_pair_that_does_not_match_is_refused_and_the_old_certificate_stays() {
        let (resolver, old) = resolver();
        let ((first, new), (second, _)) = (identity(), identity());
        let mismatch = Identity { chain: first.chain, key: second.key };
        let refused = resolver.replace(mismatch).unwrap_err();
        let expected = rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch);
        assert!(matches!(refused, TlsError::Unusable(error) if error == expected));
        let config = server_config(resolver.clone()).unwrap();
        assert_eq!(presented(&connect(&config, client([&old, &new])).await.1), &old);
    }

    #[tokio::test]
    async fn a_validation_is_answered_for_its_domain_alone_and_while_it_lasts_rfc_8737() {
        let ((resolver, own), (challenge, proof)) = (resolver(), identity());
        let config = server_config(resolver.clone()).unwrap();
        let key = provider().key_provider.load_private_key(challenge.key).unwrap();
        let answer = Arc::new(CertifiedKey::new(challenge.chain, key));
        let presented_to = async |protocols: &[&[u8]]| {
            let connector = client([&own, &proof]);
            let mut offers = ClientConfig::clone(connector.config());
            offers.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            let (near, far) = duplex(1 << 20);
            let name = ServerName::try_from("localhost").unwrap();
            let connector = TlsConnector::from(Arc::new(offers));
            let (_, client) = tokio::join!(TlsStream::accept(config.clone(), near), connector.connect(name, far));
            client.ok().map(|client| presented(&client).clone())
        };
        assert_eq!(presented_to(&[ACME_TLS]).await, None, "no domain is validated");
        let guard = resolver.answer_challenge("LOCALHOST", answer.clone());
        assert_eq!(presented_to(&[ACME_TLS]).await.as_ref(), Some(&proof));
        assert_eq!(presented_to(&[b"h2", ACME_TLS]).await.as_ref(), Some(&own), "a validation offers nothing else");
        assert_eq!(presented_to(&[]).await.as_ref(), Some(&own));
        drop(guard);
        assert_eq!(presented_to(&[ACME_TLS]).await, None);
        let _guard = resolver.answer_challenge("other.example", answer);
        assert_eq!(presented_to(&[ACME_TLS]).await, None, "another domain");
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let resolver = CertificateResolver::empty();
        let (no_chain, _) = identity();
        assert!(resolver.replace(Identity { chain: Vec::new(), ..no_chain }).is_err());
        let (no_certificate, _) = identity();
        let chain = vec![CertificateDer::from(b"no certificate".to_vec())];
        assert!(resolver.replace(Identity { chain, ..no_certificate }).is_err());
        let (no_key, _) = identity();
        let key = PrivateKeyDer::Pkcs8(b"no key".to_vec().into());
        assert!(resolver.replace(Identity { key, ..no_key }).is_err());
    }
}
