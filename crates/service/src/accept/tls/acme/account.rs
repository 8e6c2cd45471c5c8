//! The account at the certificate authority: a key of our own, created once and kept in the state directory.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use doorbell_private_file as private_file;
use instant_acme::{Account, AccountBuilder, AccountCredentials, ExternalAccountKey, NewAccount};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::error::AcmeError;
use crate::config::AcmeSettings;

/// The file of the account.
const FILE: &str = "account.json";

/// What the file has.
#[derive(Serialize, Deserialize)]
struct Saved {
    /// Where the account is.
    directory: String,
    /// The account was created with this agreement (RFC 8555 s7.3.3).
    terms_of_service_agreed: bool,
    credentials: AccountCredentials,
}

/// The saved account, or a new one if there is none at this directory.
pub(super) async fn open(settings: &AcmeSettings, folder: &Path) -> Result<Account, AcmeError> {
    let path = folder.join(FILE);
    match read(&path)? {
        Some(saved) if saved.directory == settings.directory => {
            Ok(builder(settings)?.from_credentials(saved.credentials).await?)
        }
        _ => create(settings, &path).await,
    }
}

/// Removes the account, which the server no longer knows.
pub(super) fn forget(folder: &Path) -> Result<(), AcmeError> {
    let path = folder.join(FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(AcmeError::File { path, source: error }),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<Option<Saved>, AcmeError> {
    match std::fs::read(path) {
        Ok(json) => match serde_json::from_slice(&json) {
            Ok(saved) => Ok(Some(saved)),
            Err(error) => Err(AcmeError::Account { path: path.to_owned(), why: error.to_string() }),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AcmeError::File { path: path.to_owned(), source }),
    }
}

async fn create(settings: &AcmeSettings, path: &Path) -> Result<Account, AcmeError> {
    let contact: Vec<&str> = settings.contact.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let binding = settings.binding.as_ref().map(|binding| ExternalAccountKey::new(binding.id.clone(), &binding.key));
    let (account, credentials) = builder(settings)?.create(&new, settings.directory.clone(), binding.as_ref()).await?;
    let saved = Saved { directory: settings.directory.clone(), terms_of_service_agreed: true, credentials };
    let json = serde_json::to_vec_pretty(&saved).map_err(instant_acme::Error::from)?;
    private_file::replace(path, &json).map_err(|source| AcmeError::File { path: path.to_owned(), source })?;
    info!(directory = %settings.directory, "an account at the certificate authority was created");
    Ok(account)
}

fn builder(settings: &AcmeSettings) -> Result<AccountBuilder, AcmeError> {
    Ok(match &settings.ca {
        Some(ca) => Account::builder_with_root(ca)
            .map_err(|error| AcmeError::Ca { path: PathBuf::from(ca), why: error.to_string() })?,
        None => Account::builder()?,
    })
}
