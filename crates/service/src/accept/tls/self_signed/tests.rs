//! Which CA and which certificate there is, at which time.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tempfile::TempDir;

use super::*;
use crate::accept::tls::{Certificates, Source};
use crate::clock::Clock;

/// 21 September 2026.
const NOON: UnixMs = UnixMs::from_secs(1_790_000_000);
const DAY: Duration = Duration::from_secs(86_400);
const HOST: &str = "push.example.org";

fn open(dir: &TempDir, host: &str) -> SelfSigned {
    SelfSigned::open(dir.path(), vec![Name::of_host(host)], false).unwrap()
}

fn next(own: &mut SelfSigned, now: UnixMs) -> Option<CertificateDer<'static>> {
    own.renew(now).unwrap().map(|identity| identity.chain[0].clone())
}

fn ca(dir: &TempDir) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(ca_file(dir.path())).unwrap()
}

/// Whether a client that trusts `ca` accepts `leaf` for `host`.
fn is_accepted(ca: &CertificateDer<'static>, leaf: &CertificateDer<'static>, host: &str, now: UnixMs) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).unwrap();
    let provider = std::sync::Arc::new(crate::accept::tls::provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().try_into().unwrap()));
    verifier.verify_server_cert(leaf, &[], &name, &[], now).is_ok()
}

fn kept(dir: &TempDir) -> Vec<String> {
    let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut kept: Vec<_> = names.filter(|name| name != "ca.pem" && name != "ca.key").collect();
    kept.sort();
    kept
}

/// A CA as earlier versions made it: without constraints, for ten years from its day.
fn earlier_ca(dir: &TempDir, made: UnixMs) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Doorbell throw-away CA");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    let made = time::OffsetDateTime::from_unix_timestamp(made.as_secs()).unwrap();
    (params.not_before, params.not_after) = (made - time::Duration::DAY, made + time::Duration::days(3650));
    let (key, pem) = (key.serialize_pem(), params.self_signed(&key).unwrap().pem());
    fs::write(key_file(dir.path()), &key).unwrap();
    fs::write(ca_file(dir.path()), &pem).unwrap();
    (key, pem)
}

#[test]
fn a_certificate_is_for_this_machine_and_the_configured_names() {
    for (host, further) in
        [(HOST, "localhost"), ("192.0.2.7", "127.0.0.1"), ("[2001:db8::7]", "::1"), ("LOCALHOST", "::1")]
    {
        let dir = tempfile::tempdir().unwrap();
        let leaf = next(&mut open(&dir, host), NOON).unwrap();
        for name in [host.trim_matches(['[', ']']), further] {
            assert!(is_accepted(&ca(&dir), &leaf, name, NOON), "{name}");
        }
        assert!(!is_accepted(&ca(&dir), &leaf, "bank.example", NOON));
    }
}

#[test]
fn a_ca_that_a_user_trusts_cannot_sign_for_another_site() {
    let dir = tempfile::tempdir().unwrap();
    next(&mut open(&dir, HOST), NOON).unwrap();
    let authority = Authority::open(dir.path(), &[], plausible(NOON)).unwrap();
    assert!(!authority.is_unconstrained());
    let valid = Validity::of_leaf(plausible(NOON), authority.valid);
    let signed = |name: &str| sign(&authority, &[Name::of_host(name)], valid).unwrap().chain[0].clone();
    for (name, is_ours) in [
        (HOST, true),
        ("a.push.example.org", true),
        ("app.localhost", true),
        ("127.9.9.9", true),
        ("bank.example", false),
        ("example.org", false),
        ("evilpush.example.org", false),
        ("localhost.evil.example", false),
        ("192.0.2.7", false),
        ("2001:db8::7", false),
    ] {
        assert_eq!(is_accepted(&ca(&dir), &signed(name), name, NOON), is_ours, "{name}");
        assert_eq!(authority.permits(&Name::of_host(name)), is_ours, "our own reading of the constraints: {name}");
    }
}

#[test]
fn a_certificate_is_made_again_well_before_its_end_and_stays_until_then() {
    let dir = tempfile::tempdir().unwrap();
    let mut own = open(&dir, HOST);
    let first = next(&mut own, NOON).unwrap();
    assert!(next(&mut own, NOON.plus(DAY * 300)).is_none());
    let late = NOON.plus(DAY * 340);
    let second = next(&mut own, late).unwrap();
    assert!(is_accepted(&ca(&dir), &first, HOST, late) && is_accepted(&ca(&dir), &second, HOST, late.plus(DAY * 390)));
    assert!(next(&mut own, late).is_none());
}

#[test]
fn what_was_made_while_the_clock_was_wrong_is_made_again_when_it_is_right() {
    for wrong in [UnixMs::from_secs(0), NOON.minus(DAY * 100), NOON.plus(DAY * 100), NOON.plus(DAY * 9000)] {
        let dir = tempfile::tempdir().unwrap();
        let mut own = open(&dir, HOST);
        let early = next(&mut own, wrong).unwrap();
        let trusted = ca(&dir);
        let right = next(&mut own, NOON).unwrap_or(early);
        assert!(is_accepted(&trusted, &right, HOST, NOON), "by a client that trusts the first CA: {wrong:?}");
        assert!(is_accepted(&ca(&dir), &right, HOST, NOON), "{wrong:?}");
    }
}

#[test]
fn a_clock_that_jumps_ahead_for_a_moment_takes_no_trust_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut own = open(&dir, HOST);
    next(&mut own, NOON).unwrap();
    let trusted = ca(&dir);
    next(&mut own, NOON.plus(DAY * 5000)).unwrap();
    let after = next(&mut own, NOON).unwrap();
    assert!(is_accepted(&trusted, &after, HOST, NOON) && is_accepted(&ca(&dir), &after, HOST, NOON));
}

#[test]
fn an_earlier_ca_is_kept_and_found_to_be_unconstrained() {
    let dir = tempfile::tempdir().unwrap();
    let before = earlier_ca(&dir, NOON);
    let leaf = next(&mut open(&dir, HOST), NOON.plus(DAY)).unwrap();
    let read = |file: PathBuf| fs::read_to_string(file).unwrap();
    assert_eq!((read(key_file(dir.path())), read(ca_file(dir.path()))), before);
    assert!(is_accepted(&ca(&dir), &leaf, HOST, NOON));
    assert!(Authority::open(dir.path(), &[], plausible(NOON)).unwrap().is_unconstrained());
    assert!(kept(&dir).is_empty());
}

#[test]
fn an_earlier_ca_of_a_wrong_clock_is_made_again_for_its_key_and_the_old_one_is_kept() {
    for made in [UnixMs::from_secs(86_400), NOON.plus(DAY * 400), NOON.minus(DAY * 3600)] {
        let dir = tempfile::tempdir().unwrap();
        let (key, old) = earlier_ca(&dir, made);
        let leaf = next(&mut open(&dir, HOST), NOON).unwrap();
        assert_eq!(fs::read_to_string(key_file(dir.path())).unwrap(), key);
        assert_eq!(fs::read_to_string(dir.path().join("ca.pem.1")).unwrap(), old, "{made:?}");
        assert!(is_accepted(&ca(&dir), &leaf, HOST, NOON), "{made:?}");
        let old = CertificateDer::from_pem_slice(old.as_bytes()).unwrap();
        assert!(is_accepted(&old, &leaf, HOST, NOON), "a client that does not look at the CA's end accepts it still");
        assert!(!Authority::open(dir.path(), &[], plausible(NOON)).unwrap().is_unconstrained());
    }
}

#[test]
fn a_new_ca_takes_the_place_of_the_old_one_which_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (key, old) = earlier_ca(&dir, NOON);
    let mut own = SelfSigned::open(dir.path(), vec![Name::of_host(HOST)], true).unwrap();
    let leaf = next(&mut own, NOON).unwrap();
    assert!(is_accepted(&ca(&dir), &leaf, HOST, NOON));
    let old_ca = CertificateDer::from_pem_slice(old.as_bytes()).unwrap();
    assert!(!is_accepted(&old_ca, &leaf, HOST, NOON));
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!((read("ca.key.1"), read("ca.pem.1")), (key, old));
    next(&mut SelfSigned::open(dir.path(), vec![Name::of_host(HOST)], true).unwrap(), NOON).unwrap();
    assert_eq!(kept(&dir), ["ca.key.1", "ca.key.2", "ca.pem.1", "ca.pem.2"]);
}

#[test]
fn names_that_a_constrained_ca_was_not_made_for_do_not_spoil_the_others() {
    let dir = tempfile::tempdir().unwrap();
    next(&mut open(&dir, HOST), NOON).unwrap();
    let leaf = next(&mut open(&dir, "other.example.org"), NOON).unwrap();
    assert!(is_accepted(&ca(&dir), &leaf, "localhost", NOON) && is_accepted(&ca(&dir), &leaf, "127.0.0.1", NOON));
    assert!(!is_accepted(&ca(&dir), &leaf, "other.example.org", NOON));
    assert!(kept(&dir).is_empty(), "no CA is replaced without being asked");
}

#[test]
fn a_lost_ca_certificate_is_made_again_for_the_key_that_signed_before() {
    let dir = tempfile::tempdir().unwrap();
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    next(&mut open(&dir, HOST), NOON).unwrap();
    let (key, certificate, trusted) = (read("ca.key"), read("ca.pem"), ca(&dir));
    fs::remove_file(ca_file(dir.path())).unwrap();
    let leaf = next(&mut open(&dir, HOST), NOON).unwrap();
    assert_eq!(read("ca.key"), key);
    assert!(is_accepted(&trusted, &leaf, HOST, NOON));
    let serial = |ca: &CertificateDer<'_>| {
        use x509_parser::prelude::{FromDer, X509Certificate};
        X509Certificate::from_der(ca).unwrap().1.raw_serial().to_vec()
    };
    assert_ne!(serial(&ca(&dir)), serial(&trusted), "NSS refuses two certificates with one issuer and serial number");
    fs::remove_file(dir.path().join("ca.key")).unwrap();
    next(&mut open(&dir, HOST), NOON).unwrap();
    assert_ne!(read("ca.pem"), certificate, "a new key has a new certificate");
    assert_eq!(kept(&dir), ["ca.pem.1"]);
}

#[test]
fn a_ca_is_kept_at_a_start_with_a_wall_clock_that_cannot_be_right() {
    for wrong in [UnixMs::default(), NOON.plus(DAY * 365 * 70)] {
        let dir = tempfile::tempdir().unwrap();
        let (_, before) = earlier_ca(&dir, NOON.minus(DAY));
        let clock = Clock::manual(NOON);
        clock.set_wall(wrong);
        Certificates::open(Source::SelfSigned(open(&dir, HOST)), &clock).unwrap();
        assert_eq!(fs::read_to_string(ca_file(dir.path())).unwrap(), before, "{wrong:?}");
        assert!(kept(&dir).is_empty(), "{wrong:?}");
    }
}

#[test]
fn a_crash_while_a_ca_certificate_is_made_again_takes_no_trust_away() {
    // Before the new one takes its place; and an earlier version had moved the old one aside.
    for is_there in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (_, old) = earlier_ca(&dir, NOON.minus(DAY * 3600));
        fs::write(dir.path().join("ca.pem.1"), &old).unwrap();
        // Of another key.
        fs::write(dir.path().join("ca.pem.2"), earlier_ca(&tempfile::tempdir().unwrap(), NOON).1).unwrap();
        if !is_there {
            fs::remove_file(ca_file(dir.path())).unwrap();
        }
        let leaf = next(&mut open(&dir, HOST), NOON).unwrap();
        let old = CertificateDer::from_pem_slice(old.as_bytes()).unwrap();
        assert!(is_accepted(&old, &leaf, HOST, NOON), "by a client that trusts the old CA");
        assert!(is_accepted(&ca(&dir), &leaf, HOST, NOON));
        assert_eq!(kept(&dir), ["ca.pem.1", "ca.pem.2"], "no try leaves a copy of its own");
    }
}

#[test]
fn a_ca_certificate_that_cannot_be_kept_stays_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (_, old) = earlier_ca(&dir, NOON.minus(DAY * 3600));
    // A link to itself: whether there is a file cannot be found out.
    std::os::unix::fs::symlink("ca.pem.1", dir.path().join("ca.pem.1")).unwrap();
    assert!(open(&dir, HOST).renew(NOON).is_err());
    assert_eq!(fs::read_to_string(ca_file(dir.path())).unwrap(), old);
}

#[test]
fn a_damaged_ca_certificate_is_made_again_and_a_damaged_key_is_refused_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    next(&mut open(&dir, HOST), NOON).unwrap();
    fs::write(ca_file(dir.path()), "no certificate").unwrap();
    let leaf = next(&mut open(&dir, HOST), NOON).unwrap();
    assert!(is_accepted(&ca(&dir), &leaf, HOST, NOON));
    fs::write(key_file(dir.path()), "no key").unwrap();
    assert!(open(&dir, HOST).renew(NOON).is_err());
    assert_eq!(fs::read_to_string(key_file(dir.path())).unwrap(), "no key");
}

#[test]
fn a_time_that_no_date_has_is_no_panic() {
    for time in [UnixMs::from_millis(i64::MIN), UnixMs::from_millis(i64::MAX)] {
        let dir = tempfile::tempdir().unwrap();
        assert!(next(&mut open(&dir, HOST), time).is_some());
    }
}

#[test]
fn an_address_of_a_url_is_an_address() {
    let address = |text: &str| Name::Ip(text.parse::<IpAddr>().unwrap());
    assert_eq!(Name::of_host("[::1]"), address("::1"));
    assert_eq!(Name::of_host("192.0.2.7"), address("192.0.2.7"));
    assert_eq!(Name::of_host("Push.Example.org"), Name::Dns(HOST.to_owned()));
}
