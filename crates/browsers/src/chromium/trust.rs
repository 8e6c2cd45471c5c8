//! Adds a CA to the profile's own list of authorities, so that no other profile and no other program trusts it.
//!
//! It is an SQLite file that Chromium's certificate manager writes. Its format is private, and is the one of version
//! 156: a Chromium that does not know it would not trust the CA, which the tests with a real one show.
//!
//! The other ways harm more: the NSS database is for all profiles of the user, and
//! `--ignore-certificate-errors-spki-list` takes every chain that holds the named certificate anywhere, for every site,
//! so that a program that has seen our certificate could be any of them.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use rusqlite::{Connection, params};
use rustls::pki_types::CertificateDer;

use crate::error::BrowserError;
use crate::pem::Authorities;
use crate::profile::Profile;

/// Where Chromium keeps it, below the profile's folder.
const FOLDER: &str = "Default";
const FILE: &str = "ServerCertificate";

/// As Chromium makes it. A later version migrates it by the version in `meta`.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS meta(key LONGVARCHAR NOT NULL UNIQUE PRIMARY KEY, value LONGVARCHAR);
INSERT OR IGNORE INTO meta VALUES('version', '1'), ('last_compatible_version', '1');
CREATE TABLE IF NOT EXISTS certificates(
  sha256hash_hex TEXT PRIMARY KEY, der_cert BLOB NOT NULL, trust_settings BLOB NOT NULL);";

/// A message of protobuf: field 1, the trust, which has field 1, its type: 3, trusted.
const TRUSTED: [u8; 4] = [0x0a, 0x02, 0x08, 0x03];

/// Makes `profile` trust the authorities: whether there was one that it did not trust before.
pub(super) fn add(profile: &Profile, authorities: &Authorities) -> Result<bool, BrowserError> {
    let file = profile.create_folder(FOLDER)?.join(FILE);
    insert(&file, &authorities.certificates).map_err(BrowserError::file(&file))
}

fn insert(database: &Path, certificates: &[CertificateDer<'_>]) -> Result<bool, rusqlite::Error> {
    let mut database = Connection::open(database)?;
    let change = database.transaction()?;
    change.execute_batch(SCHEMA)?;
    let mut added = 0;
    for certificate in certificates {
        let row = params![hex(digest(&SHA256, certificate).as_ref()), certificate.as_ref(), TRUSTED];
        added += change.execute("INSERT OR IGNORE INTO certificates VALUES(?, ?, ?)", row)?;
    }
    change.commit()?;
    Ok(added > 0)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_added_once_and_what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        let abc = [CertificateDer::from(b"abc".as_slice())];
        assert!(insert(&file, &abc).unwrap());
        assert!(!insert(&file, &abc).unwrap());
        assert!(insert(&file, &[CertificateDer::from(b"abd".as_slice())]).unwrap());
        let database = Connection::open(&file).unwrap();
        let hash: String = database
            .query_row("SELECT sha256hash_hex FROM certificates WHERE der_cert = x'616263'", [], |row| row.get(0))
            .unwrap();
        assert_eq!(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let versions: u32 = database.query_row("SELECT count(*) FROM meta", [], |row| row.get(0)).unwrap();
        assert_eq!(versions, 2);
    }
}
