//! Puts a CA into the profile's own list of authorities, so that no other profile and no other program trusts it.
//!
//! It is an SQLite file that Chromium's certificate manager writes. Its format is private, and is the one of version
//! 156: a Chromium that does not know it would not trust the CA, which the tests with a real one show.
//!
//! The other ways harm more: the NSS database is for all profiles of the user, and
//! `--ignore-certificate-errors-spki-list` takes every chain that holds the named certificate anywhere, for every site,
//! so that whoever has seen our certificate could be any of them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use rusqlite::Connection;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::browser::Profile;

/// Where Chromium keeps it, below the profile's folder.
const FOLDER: &str = "Default";
const FILE: &str = "ServerCertificate";

/// As Chromium makes it. A later version migrates it by what `meta` says.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS meta(key LONGVARCHAR NOT NULL UNIQUE PRIMARY KEY, value LONGVARCHAR);
INSERT OR IGNORE INTO meta VALUES('version', '1'), ('last_compatible_version', '1');
CREATE TABLE IF NOT EXISTS certificates(
  sha256hash_hex TEXT PRIMARY KEY, der_cert BLOB NOT NULL, trust_settings BLOB NOT NULL);";

/// A message of protobuf: field 1, the trust, which has field 1, its type: 3, trusted.
const TRUSTED: [u8; 4] = [0x0a, 0x02, 0x08, 0x03];

/// Makes `profile` trust the authorities in `pem`: whether there was one that it did not trust before.
pub(super) fn add(profile: &Profile, pem: &[u8]) -> Result<bool> {
    let folder = profile.folder().join(FOLDER);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    insert(&folder.join(FILE), pem).context("the profile cannot be taught to trust the CA")
}

fn insert(database: &Path, pem: &[u8]) -> Result<bool> {
    let mut database = Connection::open(database)?;
    let change = database.transaction()?;
    change.execute_batch(SCHEMA)?;
    let mut authorities = 0;
    let mut news = 0;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.context("the CA file")?;
        let row = rusqlite::params![hex(digest(&SHA256, &certificate).as_ref()), certificate.as_ref(), TRUSTED];
        news += change.execute("INSERT OR IGNORE INTO certificates VALUES(?, ?, ?)", row)?;
        authorities += 1;
    }
    ensure!(authorities > 0, "there is no certificate in the CA file");
    change.commit()?;
    Ok(news > 0)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n";

    #[test]
    fn an_authority_is_added_once_and_what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        assert!(insert(&file, PEM.as_bytes()).unwrap());
        assert!(!insert(&file, PEM.as_bytes()).unwrap());
        assert!(insert(&file, PEM.replace("YWJj", "YWJk").as_bytes()).unwrap());
        let database = Connection::open(&file).unwrap();
        let hash: String = database
            .query_row("SELECT sha256hash_hex FROM certificates WHERE der_cert = x'616263'", [], |row| row.get(0))
            .unwrap();
        assert_eq!(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let versions: u32 = database.query_row("SELECT count(*) FROM meta", [], |row| row.get(0)).unwrap();
        assert_eq!(versions, 2);
    }

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = insert(&folder.path().join(FILE), b"").unwrap_err().to_string();
        assert_eq!(error, "there is no certificate in the CA file");
    }
}
