//! Message encryption between application server and user agent: RFC 8291 over RFC 8188, and the draft before them.
//!
//! A push service does not use this module: it must not be able to decrypt a message.

pub mod aes128gcm;
pub mod aesgcm;
mod derive;
pub mod keys;

use thiserror::Error;

use crate::key::KeyError;

/// The longest text that fits into a body of 4096 bytes with `aes128gcm` (RFC 8291 s4).
pub const PLAINTEXT_MAX: usize = 3993;

/// Why a message could not be encrypted or decrypted. A user agent discards a message for any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EceError {
    /// The text, with its padding, is longer than [`PLAINTEXT_MAX`].
    #[error("the text is longer than {PLAINTEXT_MAX} bytes")]
    TooLong,
    /// The body ends within its header.
    #[error("the header of the encryption is cut off")]
    HeaderTruncated,
    /// A header field of `aesgcm` is missing, repeated or unreadable.
    #[error("the Encryption or Crypto-Key field is missing, repeated or unreadable")]
    HeaderField,
    /// A record size that cannot hold a record.
    #[error("a record size of {0} is too small")]
    RecordSize(u32),
    /// The key in the body is not one.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An authentication secret that is not base64url.
    #[error("the authentication secret is not base64url")]
    AuthSecretText,
    /// An authentication secret of another length than 16 bytes.
    #[error("the authentication secret has {0} bytes, not 16")]
    AuthSecret(usize),
    /// The body ends where another record should follow, or a record is too short to be one.
    #[error("the message is cut off")]
    Truncated,
    /// The byte after the text is not the delimiter of this record.
    #[error("the padding is wrong")]
    Padding,
    /// The record was not sealed with these keys, or was changed on the way.
    #[error("the message was not encrypted for this subscription, or was changed")]
    Sealed,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Crypto,
}
