//! The environment is configuration too: a misspelt variable is an error and is not ignored.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use clap::Command;
use doorbell_service::config::suggest;

const PREFIX: &str = "DOORBELL_";

/// Rejects variables with our prefix that no verb knows.
pub(crate) fn check(command: &Command) -> Result<()> {
    let known = variables(command);
    let mut given = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let Some(name) = given.find(|name| name.starts_with(PREFIX) && !known.contains(name)) else { return Ok(()) };
    let hint = suggest(&name, PREFIX, known.iter().map(String::as_str));
    bail!("the environment has {name}, which is not a setting{hint}; unset it, or see `doorbell serve --help`")
}

/// Every variable that some verb reads.
fn variables(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|arg| arg.get_env()?.to_str().map(str::to_owned));
    own.chain(command.get_subcommands().flat_map(variables)).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn a_misspelt_variable_is_compared_without_the_prefix_that_all_have() {
        let known = variables(&crate::Cli::command());
        let hint = |name: &str| suggest(name, PREFIX, known.iter().map(String::as_str));
        assert_eq!(hint("DOORBELL_TTL_MAX_SEC"), ": did you mean `DOORBELL_TTL_MAX_SECS`?");
        assert_eq!(hint("DOORBELL_FROBNICATE"), "");
        assert_eq!(hint("DOORBELL_"), "");
    }

    #[test]
    fn every_setting_of_the_service_has_the_same_word_as_flag_and_in_the_environment() {
        let command = crate::Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        for word in doorbell_service::config::Settings::NAMES {
            let arg = serve.get_arguments().find(|a| a.get_id() == word).unwrap();
            assert_eq!(arg.get_long().unwrap().replace('-', "_"), *word);
            assert_eq!(arg.get_env().unwrap().to_str().unwrap(), format!("{PREFIX}{}", word.to_uppercase()));
        }
    }
}
