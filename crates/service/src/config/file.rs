//! The TOML file: unknown keys are an error with a suggestion.

use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::settings::Settings;

/// Reads the file's settings.
pub(super) fn read(path: &Path) -> Result<Settings, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    parse(&std::fs::read_to_string(path).map_err(unreadable)?, path)
}

/// The state directory that a configuration file names, whatever else is in it: for programs that look for the service.
///
/// # Errors
/// The file cannot be read, or it is not TOML.
pub fn state_dir_in(path: &Path) -> Result<Option<PathBuf>, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let toml = |source| ConfigError::Toml { path: path.to_owned(), source: Box::new(source) };
    let table: toml::Table = text.parse().map_err(toml)?;
    Ok(table.get("state_dir").and_then(toml::Value::as_str).map(PathBuf::from))
}

fn parse(text: &str, path: &Path) -> Result<Settings, ConfigError> {
    let toml = |source| unreadable_toml(text, path, source);
    let table: toml::Table = text.parse().map_err(toml)?;
    if let Some(key) = table.keys().find(|k| !Settings::NAMES.contains(&k.as_str())) {
        let hint = suggest(key, "", Settings::NAMES.iter().copied());
        return Err(ConfigError::UnknownKey { path: path.to_owned(), key: key.clone(), hint });
    }
    toml::from_str(text).map_err(toml)
}

/// The error shows the line, unless it may have a password.
fn unreadable_toml(text: &str, path: &Path, source: toml::de::Error) -> ConfigError {
    if !source.to_string().contains("database") {
        return ConfigError::Toml { path: path.to_owned(), source: Box::new(source) };
    }
    let before = source.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    ConfigError::Unfit(format!("{}: line {line}: {}", path.display(), source.message()))
}

/// `: did you mean ...?` for a word that is similar to one of `known`; otherwise empty. A prefix that all of them have is
/// not compared: it would make each similar to every other.
pub fn suggest<'a>(word: &str, prefix: &str, known: impl Iterator<Item = &'a str>) -> String {
    let bare = |name: &str| name.strip_prefix(prefix).unwrap_or(name).to_lowercase();
    let word = bare(word).replace('-', "_");
    let closeness = |k: &str| strsim::jaro_winkler(&word, &bare(k));
    known
        .map(|k| (closeness(k), k))
        .filter(|(close, _)| *close > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, k)| format!(": did you mean `{k}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_an_error_that_names_the_nearest_one() {
        let error = parse("ttl_max_sec = 5", Path::new("doorbell.toml")).unwrap_err().to_string();
        assert!(error.contains("no setting `ttl_max_sec`: did you mean `ttl_max_secs`?"), "{error}");
        let error = parse("frobnicate = 5", Path::new("doorbell.toml")).unwrap_err().to_string();
        assert!(!error.contains("did you mean"), "{error}");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_an_error_that_says_where() {
        let error = parse("\nttl_max_secs = \"long\"", Path::new("doorbell.toml")).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn an_error_in_the_line_of_the_database_does_not_show_the_line() {
        for line in ["database = \"postgres://u:sesame@h/d", "database = ['postgres://u:sesame@h/d']"] {
            let error = parse(&format!("body_max = 5000\n{line}"), Path::new("doorbell.toml")).unwrap_err().to_string();
            assert!(error.contains("doorbell.toml: line 2: ") && !error.contains("sesame"), "{error}");
        }
    }

    #[test]
    fn flags_lie_over_the_file() {
        let file = parse("body_max = 5000\nttl_max_secs = 7", Path::new("x")).unwrap();
        let flags = Settings { body_max: Some(6000), ..Settings::default() };
        let both = flags.over(file);
        assert_eq!((both.body_max, both.ttl_max_secs), (Some(6000), Some(7)));
    }
}
