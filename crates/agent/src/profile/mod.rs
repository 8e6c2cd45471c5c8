//! What an agent keeps over restarts: its subscriptions with their keys, and the DELETE requests that it still owes.
//!
//! One folder: `profile.json` (mode 0600, replaced as a whole, fsynced) and `lock`, held while the profile is open.
//! In memory the contents change under a lock; [`Profile::save`] is the only writer of the file.

mod contents;
mod format;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use doorbell_private_file as private_file;
use doorbell_protocol::ece::keys::AgentKeys;
use doorbell_protocol::key::PublicKey;
use tokio::task::spawn_blocking;
use url::Url;

use crate::error::ProfileError;
use crate::file;
use crate::profile::contents::Contents;
use crate::subscription::{PushKeys, PushSubscription};

/// The memory of one agent.
pub struct Profile {
    place: Option<Place>,
    /// Locked for a moment at a time, never while something is awaited.
    contents: Mutex<Contents>,
    /// Held while the file is written: an older state never replaces a newer one.
    writing: Mutex<()>,
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
        Self::new(None, Contents::default())
    }

    /// The profile in `folder`, which is created if it does not exist. While it is open no other process can open it.
    pub fn open(folder: &Path) -> Result<Self, ProfileError> {
        let failed = |what, file: &Path| {
            let file = file.to_path_buf();
            move |why| ProfileError::Io { what, file, why }
        };
        private_file::create_folder(folder).map_err(failed("create the folder", folder))?;
        let lock_file = folder.join("lock");
        let lock = file::lock(&lock_file).map_err(failed("lock", &lock_file))?;
        let lock = lock.ok_or_else(|| ProfileError::InUse(folder.to_path_buf()))?;
        let file = folder.join("profile.json");
        // Only a holder of the lock writes the file: no write is in progress.
        private_file::remove_leftovers(&file).map_err(failed("remove what a crash left of", &file))?;
        let contents = match std::fs::read(&file) {
            Ok(bytes) => format::read(&bytes, &file)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Contents::default(),
            Err(e) => return Err(failed("read", &file)(e)),
        };
        let place = Place { folder: folder.to_path_buf(), file, _lock: lock };
        Ok(Self::new(Some(place), contents))
    }

    fn new(place: Option<Place>, contents: Contents) -> Self {
        Self { place, contents: Mutex::new(contents), writing: Mutex::new(()) }
    }

    /// The folder, if it is kept in one.
    pub fn folder(&self) -> Option<&Path> {
        self.place.as_ref().map(|p| p.folder.as_path())
    }

    /// The contents in memory; what changes there is on the disk after the next [`Profile::save`].
    pub(crate) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().expect("no code panics while it holds the contents")
    }

    /// Writes the contents as they are now; when this returns, a crash does not undo them. A write that has begun is
    /// finished even if its caller goes away.
    pub(crate) async fn save(self: &Arc<Self>) -> Result<(), ProfileError> {
        let Some(place) = &self.place else {
            // A profile in memory has no file.
            return Ok(());
        };
        let (profile, file) = (Arc::clone(self), place.file.clone());
        let written = spawn_blocking(move || profile.write(&file)).await;
        let failed = |why| ProfileError::Io { what: "write", file: place.file.clone(), why };
        written.map_err(io::Error::other).and_then(|written| written).map_err(failed)
    }

    fn write(&self, file: &Path) -> io::Result<()> {
        let _turn = self.writing.lock().expect("no write panics");
        // The contents are read after the turn has come: so they are never older than what the file holds.
        let bytes = format::write(&self.contents())?;
        private_file::replace(file, &bytes)
    }
}

impl Subscription {
    /// What an application server needs to send to it.
    pub fn to_push_subscription(&self) -> PushSubscription {
        let auth = self.keys.auth_secret().to_base64url();
        let keys = PushKeys { auth, p256dh: self.keys.public_key().to_base64url() };
        PushSubscription { endpoint: self.endpoint.to_string(), expiration_time_ms: None, keys }
    }

    /// The push resource (RFC 8030 s2), by which [`Message::endpoint`](crate::Message::endpoint) names it.
    pub fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// The key that its senders must sign with (RFC 8292 s4); `None` if any sender may send.
    pub fn vapid(&self) -> Option<&PublicKey> {
        self.vapid.as_ref()
    }

    /// The resource that its messages are pushed from: its set if it has one (RFC 8030 s6.1), else itself.
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

    fn open(folder: &Path) -> Arc<Profile> {
        Arc::new(Profile::open(folder).unwrap())
    }

    fn public_parts(profile: &Profile) -> Vec<(PushSubscription, Option<PublicKey>)> {
        let contents = profile.contents();
        contents.subscriptions().iter().map(|s| (s.to_push_subscription(), s.vapid)).collect()
    }

    #[tokio::test]
    async fn everything_comes_back_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("deep/inside");
        let profile = open(&place);
        {
            let mut contents = profile.contents();
            contents.add(subscription(1)).unwrap();
            contents.add(subscription(2)).unwrap();
            contents.owe(url("/m/1"));
            contents.owe(url("/m/2"));
            contents.settle(&url("/m/1"));
        }
        profile.save().await.unwrap();
        let before = public_parts(&profile);
        drop(profile);
        let profile = open(&place);
        assert!(before == public_parts(&profile));
        let contents = profile.contents();
        assert_eq!(contents.subscriptions()[0].monitored(), &url("/a/1"));
        assert_eq!(contents.subscriptions()[1].monitored(), &url("/s/2"));
        assert_eq!(contents.owed(), [url("/m/2")]);
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

    #[test]
    fn what_crashes_left_of_the_file_is_removed_by_the_next_process_that_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let leftovers = [".profile.json.Abc123", ".profile.json.00zzZZ"].map(|name| folder.path().join(name));
        let held = Profile::open(folder.path()).unwrap();
        leftovers.iter().for_each(|file| std::fs::write(file, "private_key").unwrap());
        assert!(Profile::open(folder.path()).is_err());
        assert!(leftovers.iter().all(|file| file.exists()), "another process may be writing it");
        drop(held);
        Profile::open(folder.path()).unwrap();
        assert!(!leftovers.iter().any(|file| file.exists()));
    }

    #[tokio::test]
    async fn damage_anywhere_is_an_error_with_its_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("profile.json");
        let profile = open(folder.path());
        profile.contents().add(subscription(1)).unwrap();
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
    fn a_profile_of_a_newer_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("profile.json"), r#"{"format":2,"else":true}"#).unwrap();
        assert!(matches!(Profile::open(folder.path()), Err(ProfileError::Newer { format: 2, .. })));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn saves_side_by_side_leave_the_newest_contents_in_the_file_even_if_their_callers_go_away() {
        let folder = tempfile::tempdir().unwrap();
        let profile = open(folder.path());
        let mut saves = tokio::task::JoinSet::new();
        for n in 0..40 {
            profile.contents().owe(url(&format!("/m/{n}")));
            let profile = Arc::clone(&profile);
            let save = async move { profile.save().await.unwrap() };
            saves.spawn(async move {
                if n % 2 == 0 {
                    save.await;
                } else {
                    // Polled once, and dropped.
                    tokio::select! { biased; () = save => {}, () = std::future::ready(()) => {} }
                }
            });
        }
        saves.join_all().await;
        profile.save().await.unwrap();
        let all_writes_ended = async {
            while Arc::strong_count(&profile) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), all_writes_ended).await.unwrap();
        drop(profile);
        let reopened = open(folder.path());
        assert_eq!(reopened.contents().owed().len(), 40);
    }
}
