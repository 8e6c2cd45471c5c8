//! Which certificates the doctor trusts, and what is wrong with the others.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use doorbell_sender::clock;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, RootCertStore};

use super::report::Finding;
use super::target::Target;

/// Verifies certificates as every client does.
pub(super) type Verifier = Arc<WebPkiServerVerifier>;

/// A certificate with less time left was probably forgotten: renewals are usually due a month before the end.
const DAYS_LEFT_MIN: u32 = 14;

const DAY: Duration = Duration::from_secs(86_400);

/// A verifier with the system's authorities and those in `ca_files`.
pub(super) fn verifier(ca_files: &[PathBuf]) -> Result<Verifier> {
    let mut roots = RootCertStore::empty();
    // Some systems have malformed certificates among their roots: they are not trusted.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for file in ca_files {
        let unusable = || format!("the certificate authorities in {} cannot be used", file.display());
        let before = roots.len();
        for certificate in CertificateDer::pem_file_iter(file).with_context(unusable)? {
            roots.add(certificate.with_context(unusable)?).with_context(unusable)?;
        }
        ensure!(roots.len() > before, "there is no certificate in {}", file.display());
    }
    ensure!(!roots.is_empty(), "this system has no trusted certificates: install them, or name a file with --ca");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?)
}

/// A chain that was accepted: until when, with a warning if that is soon.
pub(super) fn accepted(verifier: &Verifier, chain: &[CertificateDer<'_>], name: &ServerName<'_>) -> Finding {
    let now = Duration::from_millis(clock::now().as_millis().unsigned_abs());
    // A verification in the far future fails with the time at which the certificate ends.
    let judged_at = |time: Duration| {
        let (leaf, rest) = chain.split_first()?;
        verifier.verify_server_cert(leaf, rest, name, &[], UnixTime::since_unix_epoch(time)).err()
    };
    let end = [now + DAY * DAYS_LEFT_MIN, Duration::from_secs(u32::MAX.into()) * 4];
    let end = end.into_iter().find_map(|time| match judged_at(time)? {
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            Some(Duration::from_secs(not_after.as_secs()))
        }
        _ => None,
    });
    let Some(end) = end else { return Finding::ok("the certificate is trusted and for this name") };
    let days = end.saturating_sub(now).as_secs() / DAY.as_secs();
    let text = format!("the certificate is trusted, for this name, and good for {days} more days");
    if days < DAYS_LEFT_MIN.into() {
        Finding::warning(text, "renew it now, and find out why it was not renewed by itself")
    } else {
        Finding::ok(text)
    }
}

/// Why the handshake failed.
pub(super) fn refused(error: &io::Error, target: &Target) -> Finding {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => certificate_refused(why, target),
        Some(rustls::Error::InvalidMessage(_)) => Finding::failed(
            "the answer there is not TLS",
            "give `doorbell serve` a certificate instead of --plain, or let the proxy end TLS on this port",
        ),
        // What the service sends to bytes that are not TLS, such as a header of the PROXY protocol before it.
        Some(rustls::Error::AlertReceived(AlertDescription::DecodeError | AlertDescription::UnexpectedMessage)) => {
            Finding::failed(
                "the server does not receive TLS as it was sent: something in between changes it",
                "if a proxy passes TCP through and sends a PROXY protocol header (nginx: proxy_protocol on; HAProxy: \
                 send-proxy), name its address to the service with --proxy-protocol-from, or let it send none; the \
                 service's log has a line about such headers",
            )
        }
        Some(other) => {
            Finding::failed(format!("TLS failed: {other}"), "the server that ends TLS there must offer TLS 1.2 or 1.3")
        }
        None if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            Finding::failed(
                "the connection is closed during the TLS handshake",
                "look for a firewall or a proxy that does not know this name (SNI), and read its log. If the service's log has \
             a line about connections without a PROXY protocol header, it expects one from this address: let the proxy \
             send it (nginx: proxy_protocol on; HAProxy: send-proxy-v2), or remove the address from \
             --proxy-protocol-from",
            )
        }
        None => Finding::failed(format!("TLS failed: {error}"), "look for a firewall or a proxy in between"),
    }
}

fn certificate_refused(why: &CertificateError, target: &Target) -> Finding {
    use CertificateError as E;
    let host = &target.host;
    match why {
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            let names = match why {
                E::NotValidForNameContext { presented, .. } if !presented.is_empty() => names(presented),
                _ => "another name".to_owned(),
            };
            Finding::failed(
                format!("the certificate is for {names}, not for {host}"),
                format!(
                    "get one that names {host} for the server that ends TLS, or use a name that the certificate has"
                ),
            )
        }
        // A bad signature: an authority of the same name was made anew.
        E::UnknownIssuer | E::BadSignature => Finding::failed(
            "the certificate is signed by no authority that this machine trusts",
            "name the file of its authority with --ca, and let the users' machines trust it; with a public authority \
             serve the whole chain (fullchain.pem, not cert.pem)",
        ),
        E::Expired | E::ExpiredContext { .. } => {
            let when = match why {
                E::ExpiredContext { not_after, .. } => format!(" on {}", date(*not_after)),
                _ => String::new(),
            };
            Finding::failed(
                format!("the certificate expired{when}"),
                "renew it, and reload the server that ends TLS; if that day is still to come, set this machine's clock",
            )
        }
        E::NotValidYet | E::NotValidYetContext { .. } => {
            let when = match why {
                E::NotValidYetContext { not_before, .. } => format!(" before {}", date(*not_before)),
                _ => String::new(),
            };
            Finding::failed(
                format!("the certificate is not valid{when}"),
                "set this machine's clock, or that of the machine that made the certificate",
            )
        }
        other => Finding::failed(format!("the certificate cannot be used: {other}"), "get another certificate"),
    }
}

/// The names in `DnsName("a.example")` and the like. They come from a stranger: no control characters.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, inner)| inner.trim_end_matches(')'));
        inner.chars().filter(|c| !c.is_control() && *c != '"').take(100).collect::<String>()
    };
    presented.iter().take(5).map(bare).collect::<Vec<_>>().join(", ")
}

fn date(time: UnixTime) -> String {
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(time.as_secs()))
}
