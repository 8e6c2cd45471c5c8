//! The database that stores the messages, in place of the file in the state directory.

use std::convert::Infallible;
use std::fmt::{Debug, Formatter};
#[cfg(feature = "postgres")]
use std::io::Read;
#[cfg(feature = "postgres")]
use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

use super::cells::CellName;
use super::error::ConfigError;
use super::settings::Settings;

/// A password has fewer bytes than this.
#[cfg(feature = "postgres")]
const PASSWORD_MAX: u64 = 4096;

/// The URL of a database. It may hold a password, so that it is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Whether this word of a command line has the password of a database in it.
    pub fn shows_password(word: &str) -> bool {
        let Some((scheme, rest)) = word.split_once("://") else { return false };
        let user = rest.split_once('@').map(|(user, _)| user);
        (scheme.ends_with("postgres") || scheme.ends_with("postgresql"))
            && (user.is_some_and(|user| user.contains(':')) || rest.contains("password="))
    }
}

impl FromStr for DatabaseUrl {
    type Err = Infallible;

    /// It takes everything: an error of the flags would show the value. The store checks it.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.into()))
    }
}

impl Debug for DatabaseUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("DatabaseUrl(…)")
    }
}

/// Flags for the verbs that work on the database without the service. The words are those of `doorbell serve`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DatabaseArgs {
    /// The TOML file of `doorbell serve`; what it says of the database counts where no flag does
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The database of the service: `postgres://USER@HOST/DATABASE`
    #[arg(long, env = "DOORBELL_DATABASE", hide_env = true, value_name = "URL")]
    pub database: Option<DatabaseUrl>,

    /// A file with the password of the database's user, so that it is not in the URL
    #[arg(long, env = "DOORBELL_DATABASE_PASSWORD_FILE", hide_env = true, value_name = "FILE")]
    pub database_password_file: Option<PathBuf>,

    /// Accept a server without synchronous standbys: each message is on one server alone [default: false]
    #[arg(
        long, env = "DOORBELL_ALLOW_SINGLE_COPY", hide_env = true,
        num_args = 0..=1, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL"
    )]
    pub allow_single_copy: Option<bool>,
}

impl DatabaseArgs {
    /// The database that the flags and the file name.
    ///
    /// # Errors
    /// The file cannot be read, or a setting is wrong or needs another one.
    pub fn database(self) -> Result<Option<DatabaseSettings>, ConfigError> {
        let Self { config, database, database_password_file, allow_single_copy } = self;
        let given = Settings { database, database_password_file, allow_single_copy, ..Settings::default() };
        let settings = match config {
            Some(file) => given.over(super::file::read(&file)?),
            None => given,
        };
        DatabaseSettings::from_settings(&settings)
    }
}

/// Which database, how to log in there, and what it must guarantee.
#[cfg(feature = "postgres")]
#[derive(Clone)]
pub struct DatabaseSettings {
    url: DatabaseUrl,
    password: Option<String>,
    allow_single_copy: bool,
}

/// No build without PostgreSQL has such settings.
#[cfg(not(feature = "postgres"))]
#[derive(Clone, Debug)]
pub enum DatabaseSettings {}

#[cfg(feature = "postgres")]
impl Debug for DatabaseSettings {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseSettings").field("allow_single_copy", &self.allow_single_copy).finish_non_exhaustive()
    }
}

impl DatabaseSettings {
    /// `None` without a database. Reads the file with the password.
    ///
    /// # Errors
    /// [`ConfigError::Unfit`], also in a build without PostgreSQL.
    pub(super) fn from_settings(s: &Settings) -> Result<Option<Self>, ConfigError> {
        let needs = |name, what| Err(ConfigError::Unfit(format!("{name} needs database: {what}")));
        let in_cells = s.cells.iter().flatten().any(CellName::is_url);
        match &s.database {
            Some(url) => Self::new(url, s).map(Some),
            // What is said about a database is about that of the cell.
            None if in_cells => Ok(None),
            None if s.database_password_file.is_some() => {
                needs("database_password_file", "the URL that the password is for")
            }
            None if s.allow_single_copy() => needs("allow_single_copy", "the server that may be without standbys"),
            None => Ok(None),
        }
    }

    #[cfg(not(feature = "postgres"))]
    pub(super) fn new(_: &DatabaseUrl, _: &Settings) -> Result<Self, ConfigError> {
        Err(ConfigError::Unfit(
            "this doorbell was built without PostgreSQL: install one that has it (cargo's feature `postgres`, which is \
             on by default), or leave out database to store messages in the state directory"
                .into(),
        ))
    }

    #[cfg(feature = "postgres")]
    pub(super) fn new(url: &DatabaseUrl, s: &Settings) -> Result<Self, ConfigError> {
        let password = s.database_password_file.as_deref().map(read_password).transpose()?;
        Ok(Self { url: url.clone(), password, allow_single_copy: s.allow_single_copy() })
    }

    /// What the store needs to open it; `cluster`: what the database must be.
    #[cfg(feature = "postgres")]
    pub fn options(&self, cluster: Option<doorbell_store::Cluster>) -> doorbell_store::PostgresOptions {
        doorbell_store::PostgresOptions {
            url: self.url.0.clone(),
            password: self.password.clone(),
            allow_single_copy: self.allow_single_copy,
            cluster,
        }
    }
}

/// The password that is the only line of a file. No error shows what is in it.
#[cfg(feature = "postgres")]
fn read_password(path: &Path) -> Result<String, ConfigError> {
    let unfit =
        |text: &dyn std::fmt::Display| ConfigError::Unfit(format!("database_password_file {}: {text}", path.display()));
    let mut text = String::new();
    let opened = std::fs::File::open(path);
    let read = opened.and_then(|file| file.take(PASSWORD_MAX).read_to_string(&mut text));
    read.map_err(|error| unfit(&error))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() || password.contains('\n') {
        return Err(unfit(&"it must hold one line, the password"));
    }
    Ok(password.to_owned())
}

#[cfg(test)]
mod url_tests {
    use super::*;

    #[test]
    fn a_word_of_the_command_line_that_has_a_password_is_known() {
        for word in [
            "postgres://u:secret@h/d",
            "--database=postgresql://u:secret@h,i/d",
            "--cells=postgres://u:secret@h/d",
            "--cells=disk2,postgres://h/d?user=u&password=secret",
        ] {
            assert!(DatabaseUrl::shows_password(word), "{word}");
        }
        for word in ["postgres://u@h:5432/d", "--database=postgres://h/d", "https://u:secret@h/d", "serve"] {
            assert!(!DatabaseUrl::shows_password(word), "{word}");
        }
    }
}

#[cfg(feature = "postgres")]
#[cfg(test)]
mod tests {
    use super::*;

    fn settings(toml: &str) -> Result<Option<DatabaseSettings>, String> {
        let settings: Settings = toml::from_str(toml).unwrap();
        DatabaseSettings::from_settings(&settings).map_err(|error| error.to_string())
    }

    fn file(text: &str) -> (tempfile::NamedTempFile, String) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let toml = format!("database = 'postgres://u@h/d'\ndatabase_password_file = '{}'", file.path().display());
        (file, toml)
    }

    #[test]
    fn the_password_is_the_line_of_its_file_and_is_never_shown() {
        let (_file, toml) = file("open sesame\n");
        let with_password: Settings = toml::from_str("database = 'postgres://u:open%20sesame@h/d'").unwrap();
        let database = settings(&toml).unwrap().unwrap();
        assert_eq!(database.options(None).password.as_deref(), Some("open sesame"));
        assert_eq!(database.options(None).url, "postgres://u@h/d");
        let inline = DatabaseSettings::from_settings(&with_password).unwrap().unwrap();
        let shown = format!("{database:?} {with_password:?} {inline:?}");
        assert!(!shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn a_file_that_holds_no_password_is_refused_without_what_it_holds() {
        for text in ["", "\n", "one\ntwo"] {
            let (_file, toml) = file(text);
            let error = settings(&toml).unwrap_err();
            assert!(error.contains("must hold one line") && !error.contains("two"), "{error}");
        }
        let missing = "database = 'postgres://u@h/d'\ndatabase_password_file = '/none'";
        assert!(settings(missing).unwrap_err().contains("database_password_file /none: No such file"));
    }

    #[test]
    fn a_verb_takes_from_the_file_of_the_service_what_no_flag_says() {
        let (_secret, toml) = file("open sesame");
        let config = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(config.path(), format!("listen = '127.0.0.1:1'\n{toml}")).unwrap();
        let args = DatabaseArgs { config: Some(config.path().into()), ..DatabaseArgs::default() };
        let database = args.clone().database().unwrap().unwrap().options(None);
        assert_eq!((database.url.as_str(), database.password.as_deref()), ("postgres://u@h/d", Some("open sesame")));
        let flag = Some("postgres://u@h/other".parse().unwrap());
        let database = DatabaseArgs { database: flag, ..args }.database().unwrap().unwrap();
        assert_eq!(database.options(None).url, "postgres://u@h/other");
        std::fs::write(config.path(), "databse = 'postgres://u@h/d'").unwrap();
        let args = DatabaseArgs { config: Some(config.path().into()), ..DatabaseArgs::default() };
        assert!(args.database().unwrap_err().to_string().contains("database"), "an unknown key is an error");
    }

    #[test]
    fn what_is_said_about_a_database_needs_one() {
        assert!(settings("").unwrap().is_none());
        assert!(settings("allow_single_copy = true").unwrap_err().contains("needs database"));
        assert!(settings("database_password_file = '/f'").unwrap_err().contains("needs database"));
        assert!(settings("allow_single_copy = false").unwrap().is_none());
    }
}

#[cfg(all(test, not(feature = "postgres")))]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_postgresql_refuses_a_database_with_what_to_do_and_never_shows_it() {
        let settings: Settings = toml::from_str("database = 'postgres://u:sesame@h/d'").unwrap();
        let error = DatabaseSettings::from_settings(&settings).unwrap_err().to_string();
        assert!(error.contains("built without PostgreSQL: install one that has it"), "{error}");
        assert!(!error.contains("sesame") && !error.contains('\n'), "{error}");
    }
}
