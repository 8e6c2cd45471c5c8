//! The configuration: flags, then environment, TOML file and defaults, checked as a whole before anything starts.

mod acme;
mod admin;
mod cells;
mod chromium;
mod compat;
mod database;
mod error;
mod file;
mod firefox;
mod http;
mod limits;
mod listen;
mod live;
mod log;
mod networks;
mod origin;
mod place;
mod reload;
mod settings;
mod sources;

use std::path::{Path, PathBuf};

pub use acme::{AcmeSettings, ExternalAccount};
pub use admin::AdminAddress;
pub use cells::{CellName, CellSettings};
pub use chromium::ChromiumSettings;
pub use compat::Compat;
pub use database::{DatabaseArgs, DatabaseSettings, DatabaseUrl};
pub use error::ConfigError;
pub use file::{state_dir_in, suggest};
pub use firefox::FirefoxSettings;
pub use http::HttpSettings;
pub use limits::Limits;
pub use listen::{Listen, ListenAddress, Served, listen_address};
pub(crate) use live::Live;
pub use log::{ACCESS_LOG, LogFormat, LogSettings};
pub use networks::Networks;
pub use origin::Origin;
pub use place::{Place, TlsSource};
pub use reload::Changes;
pub use settings::Settings;
pub use sources::Sources;

/// A configuration whose settings fit together.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address of the service, and its public URL.
    pub place: Place,
    /// The address of the admin listener, if there is one.
    pub admin: Option<AdminAddress>,
    /// The directory of everything that must survive a restart.
    pub state_dir: PathBuf,
    /// The database that stores the messages; `None`: a file in the state directory does.
    pub database: Option<DatabaseSettings>,
    /// Further cells of the store, after the state directory or the database.
    pub cells: Vec<CellSettings>,
    /// The limits of everything.
    pub limits: Limits,
    /// What one source of connections may take.
    pub sources: Sources,
    /// What answers to HTTP clients add.
    pub http: HttpSettings,
    /// How Firefox's protocol is served.
    pub firefox: FirefoxSettings,
    /// How Chromium's protocol is served.
    pub chromium: ChromiumSettings,
    /// What is logged, and how.
    pub log: LogSettings,
    /// Whether this start replaces the self-signed CA. It belongs to one start, so it is not a setting.
    pub new_ca: bool,
    /// Whether a VAPID token must name our origin with its port (RFC 8292 s2).
    pub strict_audience: bool,
    /// What it was made from.
    pub(crate) settings: Settings,
}

impl Config {
    /// Combines `given` (flags and environment) with the file, if there is one, and checks the result.
    pub fn load(given: Settings, file: Option<&Path>) -> Result<Self, ConfigError> {
        // Without a file the layer below is empty.
        let below = file.map(file::read).transpose()?.unwrap_or_default();
        Self::from_settings(given.over(below))
    }

    /// Checks settings and fills in the defaults.
    pub fn from_settings(mut settings: Settings) -> Result<Self, ConfigError> {
        let state_dir = settings.state_dir.take().or_else(default_state_dir).ok_or_else(|| {
            ConfigError::Unfit("there is no home directory to keep state in; give --state-dir".into())
        })?;
        settings.state_dir = Some(state_dir.clone());
        Ok(Self {
            place: Place::from_settings(&settings)?,
            admin: AdminAddress::from_settings(&settings)?,
            database: DatabaseSettings::from_settings(&settings)?,
            cells: CellSettings::from_settings(&settings, &state_dir)?,
            limits: Limits::from_settings(&settings)?,
            sources: Sources::from_settings(&settings)?,
            http: HttpSettings::from_settings(&settings)?,
            firefox: FirefoxSettings::from_settings(&settings)?,
            chromium: ChromiumSettings::from_settings(&settings)?,
            log: LogSettings::from_settings(&settings),
            new_ca: false,
            strict_audience: settings.strict_audience(),
            state_dir,
            settings,
        })
    }
}

impl Config {
    /// Whether no layer names an address to listen on.
    pub fn has_default_listen(&self) -> bool {
        self.settings.listen.is_none()
    }

    /// Whether a cell of the store is on a disk of this machine. The disk of a database is its own.
    pub fn has_disk(&self) -> bool {
        (0..=self.cells.len()).any(|cell| !self.is_database(cell))
    }

    /// Whether a cell of the store is a database. The first cell has the number 0.
    pub fn is_database(&self, cell: usize) -> bool {
        match cell.checked_sub(1) {
            None => self.database.is_some(),
            Some(place) => matches!(self.cells.get(place), Some(CellSettings::Database(_))),
        }
    }

    /// Serves at most `most` connections, where the process may have no more open files.
    pub fn lower_connections(&mut self, most: usize) {
        let before = self.limits.connections_max;
        self.limits.connections_max = before.min(most);
        // A reload makes both from the settings again.
        self.settings.connections_max = Some(self.limits.connections_max);
        self.limits.strangers_max = self.limits.strangers_max.min(limits::strangers_of(self.limits.connections_max));
        // The usual bound of a source is a share of all.
        let share = |all: usize| (all / 4).max(1);
        let is_usual = self.sources.connections_max == Some(share(before));
        self.sources.connections_max = match self.sources.connections_max {
            Some(_) if is_usual => Some(share(self.limits.connections_max)),
            given => given,
        };
    }
}

/// `$XDG_STATE_HOME/doorbell`, or `~/.local/state/doorbell`.
pub fn default_state_dir() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p: &PathBuf| p.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("doorbell"))
}
