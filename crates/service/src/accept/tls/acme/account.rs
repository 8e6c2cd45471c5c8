//! The account at the certificate authority: a key of our own, created once and kept in the state directory.

use std::io::ErrorKind;
use std::path::Path;

use doorbell_private_file as private_file;
use instant_acme::{Account, AccountBuilder, AccountCredentials, ExternalAccountKey, NewAccount};
use serde::{Deserialize, Serialize};
use tracing::{error, info};

use super::client::{Client, Rejections};
use super::error::AcmeError;
use crate::config::AcmeSettings;

/// The file of the account.
pub(super) const FILE: &str = "account.json";

/// What the file has.
#[derive(Serialize, Deserialize)]
struct Saved {
    /// Where the account is.
    directory: String,
    /// The account was created with this agreement (RFC 8555 s7.3.3).
    terms_of_service_agreed: bool,
    credentials: AccountCredentials,
}

/// The saved account, if there is one at this directory, which is read anew.
pub(super) async fn load(
    settings: &AcmeSettings,
    folder: &Path,
    rejections: &Rejections,
) -> Result<Option<Account>, AcmeError> {
    match read(&folder.join(FILE))? {
        Some(saved) if saved.directory == settings.directory => {
            Ok(Some(builder(settings, rejections)?.from_credentials(saved.credentials).await?))
        }
        _ => Ok(None),
    }
}

/// Whether an account must be created before the first order: there is no file of one at this directory. A file that
/// cannot be read stops no start: there may be a certificate, and the first order logs it.
pub(super) fn is_missing(settings: &AcmeSettings, folder: &Path) -> bool {
    read(&folder.join(FILE)).is_ok_and(|saved| saved.is_none_or(|saved| saved.directory != settings.directory))
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

/// A new account. It is used even if it cannot be saved: each further one counts at the authority.
pub(super) async fn create(
    settings: &AcmeSettings,
    folder: &Path,
    rejections: &Rejections,
) -> Result<Account, AcmeError> {
    let contact: Vec<&str> = settings.contact.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let binding = match &settings.binding {
        Some(binding) => {
            let key = binding.key().map_err(|why| AcmeError::Binding { path: binding.key_file.clone(), why })?;
            Some(ExternalAccountKey::new(binding.id.clone(), &key))
        }
        None => None,
    };
    let builder = builder(settings, rejections)?;
    let (account, credentials) = builder.create(&new, settings.directory.clone(), binding.as_ref()).await?;
    info!(directory = %settings.directory, "an account at the certificate authority was created");
    let saved = Saved { directory: settings.directory.clone(), terms_of_service_agreed: true, credentials };
    let json = serde_json::to_vec_pretty(&saved).map_err(instant_acme::Error::from)?;
    let path = folder.join(FILE);
    if let Err(error) = private_file::replace(&path, &json) {
        error!(%error, file = %path.display(), "the account is in use and not saved: look at the space on the disk");
    }
    Ok(account)
}

fn builder(settings: &AcmeSettings, rejections: &Rejections) -> Result<AccountBuilder, AcmeError> {
    Ok(Account::builder_with_http(Box::new(Client::new(settings, rejections.clone())?)))
}
