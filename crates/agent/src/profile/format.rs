//! How a profile is written down: JSON, with a format number, so that a newer file is distinguished from a damaged one.

use std::io;
use std::path::Path;
use std::sync::Arc;

use doorbell_protocol::base64url;
use doorbell_protocol::ece::keys::{AgentKeyParts, AgentKeys};
use doorbell_protocol::key::PublicKey;
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use crate::error::ProfileError;
use crate::profile::Subscription;
use crate::profile::contents::Contents;

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Numbered {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    subscriptions: Vec<Entry>,
    owed: Vec<Url>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    service: Url,
    subscription: Url,
    endpoint: Url,
    set: Option<Url>,
    vapid: Option<String>,
    private_key: Zeroizing<String>,
    auth: Zeroizing<String>,
}

/// The bytes of the file.
pub(super) fn write(contents: &Contents) -> io::Result<Zeroizing<Vec<u8>>> {
    let entry = |s: &Arc<Subscription>| Entry::try_from(s.as_ref());
    let subscriptions = contents.written().map(entry).collect::<Result<_, _>>()?;
    let document = Document { format: FORMAT, subscriptions, owed: contents.owed().to_vec() };
    Ok(Zeroizing::new(serde_json::to_vec_pretty(&document)?))
}

/// The contents that `write` wrote; `file` is named in errors.
pub(super) fn read(bytes: &[u8], file: &Path) -> Result<Contents, ProfileError> {
    let damaged = |why: String| ProfileError::Damaged { file: file.to_path_buf(), why };
    let Numbered { format } = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
    if format > FORMAT {
        return Err(ProfileError::Newer { file: file.to_path_buf(), format });
    }
    let document: Document = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
    let subscriptions = document.subscriptions.into_iter().map(Subscription::try_from).collect::<Result<_, _>>();
    let subscriptions = subscriptions.map_err(|why| damaged(why.to_owned()))?;
    Ok(Contents::new(subscriptions, document.owed))
}

impl TryFrom<&Subscription> for Entry {
    type Error = io::Error;

    fn try_from(s: &Subscription) -> io::Result<Self> {
        let keys = s.keys.to_parts().map_err(io::Error::other)?;
        Ok(Self {
            service: s.service.clone(),
            subscription: s.resource.clone(),
            endpoint: s.endpoint.clone(),
            set: s.set.clone(),
            vapid: s.vapid.as_ref().map(PublicKey::to_base64url),
            private_key: Zeroizing::new(base64url::encode(keys.private.as_slice())),
            auth: Zeroizing::new(base64url::encode(keys.auth.as_slice())),
        })
    }
}

impl TryFrom<Entry> for Subscription {
    type Error = &'static str;

    fn try_from(entry: Entry) -> Result<Self, &'static str> {
        let private = base64url::decode_array(&entry.private_key).map_err(|_| "a private key is not 32 bytes")?;
        let auth = base64url::decode_array(&entry.auth).map_err(|_| "an authentication secret is not 16 bytes")?;
        let parts = AgentKeyParts { private: Zeroizing::new(private), auth: Zeroizing::new(auth) };
        let vapid = entry.vapid.as_deref().map(PublicKey::from_base64url).transpose();
        Ok(Self {
            service: entry.service,
            resource: entry.subscription,
            endpoint: entry.endpoint,
            set: entry.set,
            vapid: vapid.map_err(|_| "a VAPID key is not a point of P-256")?,
            keys: AgentKeys::from_parts(&parts).map_err(|_| "a private key is not a scalar of P-256")?,
        })
    }
}
