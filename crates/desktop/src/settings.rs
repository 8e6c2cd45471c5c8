//! The settings of a user's desktop part, `desktop.toml`: written by `doorbell desktop install`, read by `run`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use doorbell_private_file as private_file;
use doorbell_protocol::headers::urgency::Urgency;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

use crate::browser::{Browser, Mode};
use crate::error::DesktopError;
use crate::owner;

/// The first line of every file that `doorbell desktop install` writes.
pub const MARK: &str = "# Written by `doorbell desktop install`.";
/// More than this no list of profiles needs.
const BYTES_MAX: u64 = 256 << 10;
const KEYS: [&str; 6] = ["url", "ca", "urgency", "allow_debug_port", "state", "profiles"];
const PROFILE_KEYS: [&str; 4] = ["browser", "folder", "mode", "binary"];

/// What `doorbell desktop run` does without arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The push service.
    pub url: Url,
    /// A file of certificate authorities that identify it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Messages below this urgency wake no browser.
    #[serde(default, serialize_with = "write_urgency", deserialize_with = "read_urgency")]
    pub urgency: Urgency,
    /// Whether a Firefox that is not an ESR is woken too: while it is woken, every user of the machine can control it.
    #[serde(default)]
    pub allow_debug_port: bool,
    /// Where the desktop part keeps its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<PathBuf>,
    /// The profiles that are kept reachable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<ProfileSettings>,
}

/// A profile in the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileSettings {
    /// Its browser.
    pub browser: Browser,
    /// Its folder.
    pub folder: PathBuf,
    /// Whether the browser stays.
    #[serde(default = "woken")]
    pub mode: Mode,
    /// The browser's program; the one on the PATH if it is not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<PathBuf>,
}

impl Settings {
    /// Reads `file`; `None` if there is none. One that other users can write is an error.
    pub fn read(file: &Path) -> Result<Option<Self>, DesktopError> {
        let opened = match File::open(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(DesktopError::io("read", file))?,
        };
        owner::check(file, &opened.metadata().map_err(DesktopError::io("read", file))?)?;
        let mut text = String::new();
        opened.take(BYTES_MAX).read_to_string(&mut text).map_err(DesktopError::io("read", file))?;
        Self::parse(&text).map(Some).map_err(|reason| DesktopError::refused(file, reason))
    }

    /// Reads the text of a file: an error in words.
    fn parse(text: &str) -> Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        known(table.keys(), &KEYS)?;
        let profiles = table.get("profiles").and_then(toml::Value::as_array).into_iter().flatten();
        for profile in profiles.filter_map(toml::Value::as_table) {
            known(profile.keys(), &PROFILE_KEYS)?;
        }
        let settings: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        match settings.profiles.iter().find(|profile| !profile.folder.is_absolute()) {
            Some(profile) => Err(format!("the folder {} must be an absolute path", profile.folder.display())),
            None => Ok(settings),
        }
    }

    /// The text of the file.
    pub fn text(&self) -> Result<String, DesktopError> {
        let toml = toml::to_string(self).map_err(|error| {
            DesktopError::refused(Path::new("desktop.toml"), format!("the settings cannot be written: {error}"))
        })?;
        Ok(format!(
            "{MARK}\n# `doorbell desktop run` reads it at its start, and the unit `doorbell-desktop` runs that.\n\n{toml}"
        ))
    }

    /// Writes `file` anew.
    pub fn write(&self, file: &Path) -> Result<(), DesktopError> {
        private_file::replace(file, self.text()?.as_bytes()).map_err(DesktopError::io("write", file))
    }
}

fn woken() -> Mode {
    Mode::Woken
}

/// An error that names a key which is not in `known`, and the nearest one that is.
fn known<'a>(mut keys: impl Iterator<Item = &'a String>, known: &[&str]) -> Result<(), String> {
    let Some(key) = keys.find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let near = known.iter().map(|known| (strsim::jaro_winkler(key, known), known));
    let near = near.filter(|(closeness, _)| *closeness > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match near {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None => format!("the settings are {}", known.join(", ")),
    };
    Err(format!("there is no setting `{key}`: {hint}"))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub(crate) fn write_urgency<S: Serializer>(urgency: &Urgency, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(urgency.as_str())
}

pub(crate) fn read_urgency<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Urgency, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn settings() -> Settings {
        Settings {
            url: "https://push.example.org".parse().unwrap(),
            ca: Some("/ca.pem".into()),
            urgency: Urgency::High,
            allow_debug_port: false,
            state: None,
            profiles: vec![ProfileSettings {
                browser: Browser::Firefox,
                folder: "/profiles/alice".into(),
                mode: Mode::Resident,
                binary: Some("/usr/bin/firefox-esr".into()),
            }],
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("desktop.toml");
        assert_eq!(Settings::read(&file).unwrap(), None);
        settings().write(&file).unwrap();
        assert_eq!(Settings::read(&file).unwrap(), Some(settings()));
        let short =
            Settings::parse("url = 'https://a.example'\n[[profiles]]\nbrowser = 'firefox'\nfolder = '/p'").unwrap();
        assert_eq!((short.urgency, short.profiles[0].mode), (Urgency::Normal, Mode::Woken));
    }

    #[test]
    fn a_wrong_setting_is_an_error_that_names_the_right_one() {
        let url = "url = 'https://a.example'\n";
        for (text, why) in [
            ("urgancy = 'high'", "did you mean `urgency`?"),
            ("frobnicate = 1", "the settings are url, ca, urgency"),
            ("urgency = 'urgent'", "very-low, low, normal, high"),
            ("[[profiles]]\nbrowser = 'firefox'\nfolder = '/p'\nbinry = '/b'", "did you mean `binary`?"),
            ("[[profiles]]\nbrowser = 'firefox'\nfolder = 'p'", "absolute"),
            ("[[profiles]]\nbrowser = 'lynx'\nfolder = '/p'", "line 3"),
        ] {
            let error = Settings::parse(&format!("{url}{text}")).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(Settings::parse("").unwrap_err().contains("url"));
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("desktop.toml");
        settings().write(&file).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
        let error = Settings::read(&file).unwrap_err().to_string();
        assert!(error.contains("chmod go-w"), "{error}");
    }
}
