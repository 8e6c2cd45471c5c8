//! Looks at a certificate of the configuration as clients will, and returns what will make them refuse it.

use std::time::{Duration, UNIX_EPOCH};

use doorbell_protocol::time::UnixMs;
use rustls::CertificateError;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate with less time left was probably forgotten: renewals are usually due a month before the end.
const WARNED_BEFORE_END: Duration = Duration::from_secs(14 * 24 * 3600);

/// The longest name of a certificate in a warning, in characters.
const NAME_MAX: usize = 200;

/// One warning for each thing that is wrong with `chain` for clients that open `host` at `now`, with what to do.
///
/// `host` is the host of a URL, an IPv6 address in brackets. Keys are not compared: the resolver does that.
pub(super) fn warnings(chain: &[CertificateDer<'static>], host: &str, now: UnixMs) -> Vec<String> {
    let certificates: Result<Vec<_>, _> = chain.iter().map(|der| X509Certificate::from_der(der)).collect();
    let Ok(certificates) = certificates else {
        return vec!["a certificate in tls_cert cannot be read: give a chain in PEM of X.509 certificates".to_owned()];
    };
    let certificates: Vec<_> = certificates.into_iter().map(|(_, certificate)| certificate).collect();
    let times = certificates.iter().filter_map(|certificate| wrong_time(certificate, now));
    wrong_name(&chain[0], host).into_iter().chain(times).chain(wrong_order(&certificates)).collect()
}

fn wrong_name(leaf: &CertificateDer<'_>, host: &str) -> Option<String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let Ok(name) = ServerName::try_from(bare) else {
        return Some(format!(
            "no certificate can name {host}: give a public_url with a host name that clients can reach"
        ));
    };
    let parsed = ParsedCertificate::try_from(leaf).ok()?;
    let why = match verify_server_name(&parsed, &name) {
        Ok(()) => return None,
        Err(rustls::Error::InvalidCertificate(why)) => why,
        Err(other) => return Some(format!("the certificate cannot be checked for {host}: {other}")),
    };
    let names = match why {
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => presented.join(", "),
        _ => "no name that clients look at".to_owned(),
    };
    Some(format!(
        "the certificate does not name {host}, the host of the public URL, but {}: get one that does, or set public_url \
         to a name that it has",
        shown(&names)
    ))
}

fn wrong_time(certificate: &X509Certificate<'_>, now: UnixMs) -> Option<String> {
    let (subject, valid) = (shown(&certificate.subject().to_string()), certificate.validity());
    let (begin, end) = (valid.not_before.timestamp(), valid.not_after.timestamp());
    let soon = now.plus(WARNED_BEFORE_END).as_secs();
    if now.as_secs() < begin {
        let begin = date(begin);
        Some(format!("the certificate of {subject} is not valid before {begin}: set the clock, or get another one"))
    } else if end < now.as_secs() {
        Some(format!("the certificate of {subject} expired on {}: renew it; clients refuse it now", date(end)))
    } else if end < soon {
        Some(format!(
            "the certificate of {subject} expires on {}: renew it now, and find out why it was not renewed by itself",
            date(end)
        ))
    } else {
        None
    }
}

/// Each certificate is signed by the one after it, and the last one by an authority that clients have.
fn wrong_order(certificates: &[X509Certificate<'_>]) -> Option<String> {
    let follows = |pair: &[X509Certificate<'_>]| pair[0].issuer().as_raw() == pair[1].subject().as_raw();
    if let Some(place) = certificates.windows(2).position(|pair| !follows(pair)) {
        return Some(format!(
            "certificate {} in tls_cert is not the issuer of the one before it: put the service's own first, then its \
             issuer, and so on (fullchain.pem)",
            place + 2
        ));
    }
    match certificates {
        [alone] if alone.issuer().as_raw() != alone.subject().as_raw() => Some(format!(
            "tls_cert has the service's certificate and not its issuer {}: give the whole chain (fullchain.pem, not \
             cert.pem), unless every client has that issuer",
            shown(&alone.issuer().to_string())
        )),
        _ => None,
    }
}

/// A name of a certificate, short and without characters that change how a terminal shows the rest.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect()
}

fn date(secs: i64) -> String {
    // A date before 1970 is as wrong as the first day of 1970.
    let since = Duration::from_secs(secs.try_into().unwrap_or(0));
    UNIX_EPOCH.checked_add(since).map_or_else(|| "a day after every calendar".to_owned(), httpdate::fmt_http_date)
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    use time::macros::datetime;
    use time::{Duration, OffsetDateTime};

    use super::*;

    const BEGIN: OffsetDateTime = datetime!(2026-09-01 00:00 UTC);
    const END: OffsetDateTime = datetime!(2026-12-01 00:00 UTC);

    fn at(time: OffsetDateTime) -> UnixMs {
        UnixMs::from_secs(time.unix_timestamp())
    }

    fn middle() -> UnixMs {
        at(BEGIN + Duration::days(30))
    }

    /// A certificate for these names, the one that signed it, and that one's root.
    fn chain(names: &[&str]) -> [CertificateDer<'static>; 3] {
        let authority = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            (params, KeyPair::generate().unwrap())
        };
        let ((root, root_key), (middle, middle_key)) = (authority("root"), authority("middle"));
        let root_certificate = root.self_signed(&root_key).unwrap();
        let middle_certificate = middle.signed_by(&middle_key, &Issuer::from_params(&root, &root_key)).unwrap();
        let mut leaf = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        (leaf.not_before, leaf.not_after) = (BEGIN, END);
        leaf.distinguished_name.push(DnType::CommonName, "leaf\u{1b}[2J");
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &Issuer::from_params(&middle, &middle_key)).unwrap();
        [leaf, middle_certificate, root_certificate].map(|made| made.der().clone())
    }

    /// The only warning, or nothing.
    fn warning(chain: &[CertificateDer<'static>], host: &str, now: UnixMs) -> String {
        let mut all = warnings(chain, host, now);
        assert!(all.len() <= 1, "{all:?}");
        all.pop().unwrap_or_default()
    }

    #[test]
    fn a_certificate_for_the_host_now_with_its_chain_is_not_warned_about() {
        let chain = chain(&["push.example.org", "*.example.net", "192.0.2.1", "2001:db8::1"]);
        for host in ["push.example.org", "PUSH.example.org", "a.example.net", "192.0.2.1", "[2001:db8::1]"] {
            for given in [&chain[..2], &chain] {
                assert_eq!(warning(given, host, middle()), "", "{host}");
            }
        }
    }

    #[test]
    fn another_name_is_a_warning_that_names_both() {
        let chain = chain(&["push.example.org", "192.0.2.1"]);
        for host in ["example.org", "b.push.example.org", "192.0.2.2", "[2001:db8::1]"] {
            let text = warning(&chain[..2], host, middle());
            assert!(text.contains(&format!("does not name {host}")) && text.contains("push.example.org"), "{text}");
        }
    }

    #[test]
    fn a_time_outside_of_its_validity_or_near_its_end_is_a_warning_with_the_date() {
        let chain = chain(&["push.example.org"]);
        let (second, days) = (Duration::seconds(1), Duration::days(14));
        for (now, parts) in [
            (BEGIN - second, ["not valid before Tue, 01 Sep 2026 00:00:00 GMT", "set the clock"]),
            (END - days + second, ["expires on Tue, 01 Dec 2026 00:00:00 GMT", "renew it now"]),
            (END + second, ["expired on Tue, 01 Dec 2026 00:00:00 GMT", "renew it"]),
        ] {
            let text = warning(&chain[..2], "push.example.org", at(now));
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
            assert!(!text.contains('\u{1b}'), "{text}");
        }
        assert_eq!(warning(&chain[..2], "push.example.org", at(END - days)), "");
    }

    #[test]
    fn a_chain_that_is_missing_or_in_another_order_is_a_warning() {
        let [leaf, middle_of, root] = chain(&["push.example.org"]);
        let alone = warning(std::slice::from_ref(&leaf), "push.example.org", middle());
        assert!(alone.contains("CN=middle") && alone.contains("fullchain.pem"), "{alone}");
        for wrong in [[leaf.clone(), root.clone(), middle_of], [leaf, root.clone(), root]] {
            let text = warning(&wrong, "push.example.org", middle());
            assert!(text.contains("certificate 2 in tls_cert is not the issuer"), "{text}");
        }
        let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        assert_eq!(warning(&[own.cert.der().clone()], "localhost", middle()), "", "its own issuer is not missing");
    }

    #[test]
    fn what_is_not_a_certificate_is_a_warning_and_not_a_panic() {
        let text = warning(&[CertificateDer::from(b"no certificate".to_vec())], "localhost", middle());
        assert!(text.contains("cannot be read"), "{text}");
    }
}
