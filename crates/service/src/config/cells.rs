//! Further databases of one store, its cells: the agents are spread over them.

use std::convert::Infallible;
use std::fmt::{Debug, Formatter};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use doorbell_store::CELLS_MAX;
use serde::{Deserialize, Deserializer};

use super::database::{DatabaseSettings, DatabaseUrl};
use super::error::ConfigError;
use super::settings::Settings;

/// A directory's name has fewer bytes than this.
const NAME_MAX: usize = 64;

/// A directory under the state directory, or the URL of a database. It may hold a password, so that it is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct CellName(String);

impl FromStr for CellName {
    type Err = Infallible;

    /// It takes everything: an error of the flags would show the value.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.into()))
    }
}

impl Debug for CellName {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        if self.is_url() { f.write_str("CellName(…)") } else { write!(f, "CellName({})", self.0) }
    }
}

impl CellName {
    pub(super) fn is_url(&self) -> bool {
        self.0.contains("://")
    }
}

/// Reads a string or a list of strings. An error of another type would show the string.
pub(super) fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<CellName>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "`cells` is a name or a list of names")]
    enum OneOrMore {
        One(CellName),
        More(Vec<CellName>),
    }

    Ok(Some(match OneOrMore::deserialize(from)? {
        OneOrMore::One(name) => vec![name],
        OneOrMore::More(names) => names,
    }))
}

/// A cell after the first, which is the state directory or `database`.
#[derive(Clone, Debug)]
pub enum CellSettings {
    /// A directory.
    Dir(PathBuf),
    /// A database.
    Database(DatabaseSettings),
}

impl CellSettings {
    /// The cells of these settings, in their order.
    ///
    /// # Errors
    /// [`ConfigError::Unfit`].
    pub(super) fn from_settings(s: &Settings, state_dir: &Path) -> Result<Vec<Self>, ConfigError> {
        let names = s.cells.as_deref().unwrap_or_default();
        let unfit = |text: String| Err(ConfigError::Unfit(format!("cells: {text}")));
        if names.len() >= CELLS_MAX {
            return unfit(format!("{} are too many: with the first one, a store has {CELLS_MAX} at most", names.len()));
        }
        let mut cells = Vec::with_capacity(names.len());
        for (place, name) in names.iter().enumerate() {
            if names[..place].contains(name) {
                return unfit(format!("the one at place {} is named before: name each once", place + 1));
            }
            cells.push(if name.is_url() {
                let Ok::<DatabaseUrl, Infallible>(url) = name.0.parse();
                Self::Database(DatabaseSettings::new(&url, s)?)
            } else if is_name(&name.0) {
                Self::Dir(state_dir.join(&name.0))
            } else {
                return unfit(format!(
                    "`{}` is neither postgres://USER@HOST/DATABASE nor the name of a directory under the state \
                     directory, such as disk2 (which may be a link to another disk)",
                    name.0.escape_debug()
                ));
            });
        }
        Ok(cells)
    }
}

fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..NAME_MAX).contains(&text.len()) && text.chars().all(fits) && !text.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(toml: &str) -> Result<Vec<CellSettings>, String> {
        let settings: Settings = toml::from_str(toml).unwrap();
        CellSettings::from_settings(&settings, Path::new("/state")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_cell_is_a_directory_under_the_state_directory() {
        assert!(cells("").unwrap().is_empty());
        let two = cells("cells = ['disk2', 'disk-3.a']").unwrap();
        assert!(matches!(&two[..], [CellSettings::Dir(one), CellSettings::Dir(other)]
            if one == Path::new("/state/disk2") && other == Path::new("/state/disk-3.a")));
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_cell_may_be_a_database_and_its_password_is_never_shown() {
        let text = "cells = ['disk2', 'postgres://u:sesame@h/d']";
        let settings: Settings = toml::from_str(text).unwrap();
        let cells = cells(text).unwrap();
        assert!(matches!(&cells[..], [CellSettings::Dir(_), CellSettings::Database(_)]));
        let shown = format!("{settings:?} {cells:?}");
        assert!(!shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn what_is_no_cell_is_refused_with_what_to_write() {
        for name in ["", "../elsewhere", "/mnt/disk2", ".", ".hidden", "two words", "a/b", &"x".repeat(64)] {
            let error = cells(&format!("cells = ['{name}']")).unwrap_err();
            assert!(error.contains("such as disk2"), "{error}");
        }
        assert!(cells("cells = ['a', 'b', 'a']").unwrap_err().contains("the one at place 3 is named before"));
        let many: Vec<_> = (0..CELLS_MAX).map(|n| format!("'c{n}'")).collect();
        assert!(cells(&format!("cells = [{}]", many.join(","))).unwrap_err().contains("64 at most"));
    }
}
