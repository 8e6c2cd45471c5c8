//! What an agent keeps over restarts: its subscriptions with their keys, and the acknowledgements it still owes.
//!
//! One folder: `profile.json` (mode 0600, replaced as a whole, fsynced) and `lock`, held while the profile is open.

use std::fs::File;
use std::path::{Path, PathBuf};

use doorbell_private_file as private_file;
use doorbell_protocol::ece::keys::AgentKeys;
use doorbell_protocol::key::PublicKey;
use url::Url;

use crate::error::ProfileError;
use crate::file;
use crate::subscription::{PushKeys, PushSubscription};

mod format;

/// The memory of one agent.
pub struct Profile {
    place: Option<Place>,
    pub(crate) subscriptions: Vec<Subscription>,
    /// Resources that are to be deleted and were not yet: messages that the app has, subscriptions that it left.
    owed: Vec<Url>,
}

struct Place {
    folder: PathBuf,
    file: PathBuf,
    _lock: File,
}

/// One subscription (RFC 8030 s4) with the key pair and the secret that are its own (RFC 8291 s3.1, s3.2).
pub struct Subscription {
    pub(crate) service: Url,
    pub(crate) resource: Url,
    pub(crate) endpoint: Url,
    pub(crate) set: Option<Url>,
    pub(crate) vapid: Option<PublicKey>,
    pub(crate) keys: AgentKeys,
}

impl Profile {
    /// A profile that lasts as long as the process.
    pub fn in_memory() -> Self {
        Self { place: None, subscriptions: Vec::new(), owed: Vec::new() }
    }

    /// The profile in `folder`, which is made if it does not exist. Nobody else can open it meanwhile.
    pub fn open(folder: &Path) -> Result<Self, ProfileError> {
        let failed = |what, file: &Path| {
            let file = file.to_path_buf();
            move |why| ProfileError::Io { what, file, why }
        };
        private_file::create_folder(folder).map_err(failed("make the folder", folder))?;
        let lock_file = folder.join("lock");
        let lock = file::lock(&lock_file).map_err(failed("lock", &lock_file))?;
        let lock = lock.ok_or_else(|| ProfileError::InUse(folder.to_path_buf()))?;
        let file = folder.join("profile.json");
        let (subscriptions, owed) = match std::fs::read(&file) {
            Ok(contents) => format::read(&contents, &file)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Default::default(),
            Err(e) => return Err(failed("read", &file)(e)),
        };
        let place = Place { folder: folder.to_path_buf(), file, _lock: lock };
        Ok(Self { place: Some(place), subscriptions, owed })
    }

    /// The folder, if it is kept in one.
    pub fn folder(&self) -> Option<&Path> {
        self.place.as_ref().map(|p| p.folder.as_path())
    }

    /// What is to be deleted at the service.
    pub(crate) fn owed(&self) -> impl Iterator<Item = &Url> {
        self.owed.iter()
    }

    /// Notes that `uri` is to be deleted; it counts from the next [`Profile::save`].
    pub(crate) fn owe(&mut self, uri: Url) {
        if !self.owed.contains(&uri) {
            self.owed.push(uri);
        }
    }

    /// Forgets what is deleted. Should a crash undo this, the next DELETE meets a 404, which settles it too.
    pub(crate) fn settle(&mut self, uri: &Url) {
        self.owed.retain(|owed| owed != uri);
    }

    /// Puts the profile on the disk; when this returns, a crash does not undo it.
    pub(crate) async fn save(&self) -> Result<(), ProfileError> {
        let Some(place) = &self.place else { return Ok(()) };
        let failed = |why| ProfileError::Io { what: "write", file: place.file.clone(), why };
        let contents = format::write(&self.subscriptions, &self.owed).map_err(failed)?;
        let file = place.file.clone();
        let written = tokio::task::spawn_blocking(move || private_file::replace(&file, &contents)).await;
        written.unwrap_or_else(|e| Err(std::io::Error::other(e))).map_err(failed)
    }
}

impl Subscription {
    /// What an application server needs to send to it.
    pub fn to_push_subscription(&self) -> PushSubscription {
        let auth = self.keys.auth_secret().to_base64url();
        let keys = PushKeys { auth, p256dh: self.keys.public_key().to_base64url() };
        PushSubscription { endpoint: self.endpoint.to_string(), expiration_time_ms: None, keys }
    }

    /// The key that its senders must sign with (RFC 8292 s4); `None` if anyone may send.
    pub fn vapid(&self) -> Option<&PublicKey> {
        self.vapid.as_ref()
    }

    /// Where its messages are waited for: its set if it has one (RFC 8030 s6.1), else itself.
    pub(crate) fn monitored(&self) -> &Url {
        self.set.as_ref().unwrap_or(&self.resource)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn url(path: &str) -> Url {
        Url::parse(&format!("https://push.example{path}")).unwrap()
    }

    fn subscription(n: u32) -> Subscription {
        Subscription {
            service: url("/subscribe"),
            resource: url(&format!("/s/{n}")),
            endpoint: url(&format!("/p/{n}")),
            set: (n == 1).then(|| url("/a/1")),
            vapid: (n == 2).then(|| *AgentKeys::generate().unwrap().public_key()),
            keys: AgentKeys::generate().unwrap(),
        }
    }

    #[tokio::test]
    async fn everything_comes_back_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("deep/inside");
        let mut profile = Profile::open(&place).unwrap();
        profile.subscriptions = vec![subscription(1), subscription(2)];
        profile.owe(url("/m/1"));
        profile.owe(url("/m/2"));
        profile.settle(&url("/m/1"));
        profile.save().await.unwrap();
        let before: Vec<_> = profile.subscriptions.iter().map(|s| (s.to_push_subscription(), s.vapid)).collect();
        drop(profile);
        let profile = Profile::open(&place).unwrap();
        let after: Vec<_> = profile.subscriptions.iter().map(|s| (s.to_push_subscription(), s.vapid)).collect();
        assert!(before == after);
        assert_eq!(profile.subscriptions[0].monitored(), &url("/a/1"));
        assert_eq!(profile.subscriptions[1].monitored(), &url("/s/2"));
        assert_eq!(profile.owed().collect::<Vec<_>>(), [&url("/m/2")]);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&place), mode(&place.join("profile.json"))), (0o700, 0o600));
    }

    #[test]
    fn a_profile_serves_one_agent_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Profile::open(folder.path()).unwrap();
        assert!(matches!(Profile::open(folder.path()), Err(ProfileError::InUse(_))));
        drop(first);
        assert!(Profile::open(folder.path()).is_ok());
    }

    #[tokio::test]
    async fn damage_anywhere_is_an_error_that_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("profile.json");
        let mut profile = Profile::open(folder.path()).unwrap();
        profile.subscriptions = vec![subscription(1)];
        profile.save().await.unwrap();
        drop(profile);
        let good = std::fs::read_to_string(&file).unwrap();
        let cut = (0..good.len()).step_by(7).map(|n| good.get(..n).unwrap().to_owned());
        let altered = [("private_key\": \"", "private_key\": \"!"), ("https://", "//"), ("\"owed\"", "\"own\"")];
        for bad in cut.chain(altered.map(|(from, to)| good.replace(from, to))) {
            std::fs::write(&file, &bad).unwrap();
            let Err(why) = Profile::open(folder.path()) else { panic!("read {bad}") };
            assert!(matches!(why, ProfileError::Damaged { .. }), "{bad}");
            assert!(why.to_string().contains("move it away"), "{why}");
        }
    }

    #[test]
    fn a_profile_from_the_future_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("profile.json"), r#"{"format":2,"else":true}"#).unwrap();
        assert!(matches!(Profile::open(folder.path()), Err(ProfileError::Newer { format: 2, .. })));
    }
}
