//! The `doorbell` command: all three roles of Web Push, one verb each.

mod browser;
mod chromium;
mod control;
mod demo;
mod desktop;
mod doctor;
mod environment;
#[cfg(feature = "postgres")]
mod export;
mod failure;
mod firefox;
#[cfg(feature = "postgres")]
mod import;
mod keys;
mod listen;
mod load;
mod log;
#[cfg(feature = "postgres")]
mod migrate;
mod open_files;
mod output;
mod send;
mod serve;
mod service_manager;
mod shell;
mod signals;
mod started;
mod state;
#[cfg(feature = "postgres")]
mod transfer;

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use tokio::runtime::Builder;

/// It returns the pages of freed memory to the system, wherever they are. The C library's allocator returns only the end
/// of its heap, so that a service keeps forever what one flood took. `.cargo/config.toml` has its settings.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Web Push, whole: a push service, a user agent and an application server.
#[derive(Parser)]
#[command(name = "doorbell", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,

    /// What to log to stderr: error, warn, info, debug, trace, or a filter such as `warn,doorbell_service=debug` [default: info]
    // Without a default of clap's: it would win over the file of `doorbell serve`.
    #[arg(long, global = true, display_order = 1000, env = "DOORBELL_LOG", value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the push service
    Serve(Box<serve::Args>),
    /// Make the running push service read its configuration and certificate again
    Reload(control::reload::Args),
    /// Show what the running push service does
    Status(control::status::Args),
    /// Be a user agent: subscribe, receive, decrypt, acknowledge
    Listen(Box<listen::Args>),
    /// Be an application server: encrypt, sign and send a message
    Send(Box<send::Args>),
    /// Start Firefox with this push service as its own
    Firefox(Box<firefox::Args>),
    /// Start Chromium with this push service as its own
    Chromium(Box<chromium::Args>),
    /// Wake closed browsers when a message waits for them
    Desktop(Box<desktop::Args>),
    /// Run the push service and an application that uses it: people who call each other
    Demo(Box<demo::Args>),
    /// Examine a push service from the outside, and name the fix for what is wrong
    Doctor(Box<doctor::Args>),
    /// Measure a push service
    Load(Box<load::Args>),
    /// Make and show VAPID keys
    Keys(keys::Args),
    /// Move a service's messages from its state directory to PostgreSQL
    #[cfg(feature = "postgres")]
    Import(import::Args),
    /// Move a service's messages from PostgreSQL to a state directory
    #[cfg(feature = "postgres")]
    Export(export::Args),
    /// Bring the tables of a PostgreSQL database to this version
    #[cfg(feature = "postgres")]
    Migrate(migrate::Args),
}

/// How long the end of the process waits for threads that are still busy.
const END_MAX: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Try it in three terminals:
  doorbell serve
  doorbell listen --subscription sub.json
  doorbell send sub.json 'Hello, it is me'

Or see what it is good for:
  doorbell demo";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let status = runtime.block_on(run(cli));
    // A thread that reads a file of a disk that hangs never ends, and nothing waits for its result.
    runtime.shutdown_timeout(END_MAX);
    status
}

async fn run(cli: Cli) -> ExitCode {
    let filter = cli.log.unwrap_or_else(|| log::DEFAULT.to_owned());
    if let Err(error) = log::to_stderr(&filter) {
        return unusable(&error);
    }
    let done = match cli.verb {
        Verb::Serve(args) => match environment::check(&Cli::command()) {
            Ok(()) => serve::run(*args).await,
            Err(error) => Err(error),
        },
        Verb::Reload(args) => control::reload::run(&args),
        Verb::Status(args) => control::status::run(&args),
        Verb::Listen(args) => listen::run(*args).await,
        Verb::Send(args) => send::run(*args).await,
        Verb::Firefox(args) => firefox::run(&args),
        Verb::Chromium(args) => chromium::run(&args),
        Verb::Desktop(args) => desktop::run(*args, filter),
        Verb::Demo(args) => match environment::check(&Cli::command()) {
            Ok(()) => demo::run(*args).await,
            Err(error) => Err(error),
        },
        Verb::Doctor(args) => doctor::run(*args).await,
        Verb::Load(args) => load::run(*args).await,
        Verb::Keys(args) => keys::run(args),
        #[cfg(feature = "postgres")]
        Verb::Import(args) => import::run(args).await,
        #[cfg(feature = "postgres")]
        Verb::Export(args) => export::run(args).await,
        #[cfg(feature = "postgres")]
        Verb::Migrate(args) => migrate::run(args).await,
    };
    done.unwrap_or_else(|error| fail(&error))
}

/// The exit status for arguments that cannot be used; clap has the same for those that do not parse.
const USAGE: u8 = 2;

/// Prints an error of the arguments.
fn unusable(error: &anyhow::Error) -> ExitCode {
    fail(error);
    ExitCode::from(USAGE)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    log::failure(&failure::line(error));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_in_every_help_fit_into_80_columns() {
        let command = Cli::command();
        for verb in command.get_subcommands().chain([&command]) {
            let help = verb.get_after_help().expect("every verb has examples").to_string();
            // Paragraphs are wrapped; lines that begin with spaces are examples and tables.
            for line in help.lines().filter(|line| line.starts_with(' ')) {
                assert!(line.chars().count() <= 80, "{}: {line}", verb.get_name());
            }
        }
    }

    #[test]
    fn every_flag_of_serve_is_a_setting_that_a_reload_judges_or_belongs_to_one_start() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").expect("the verb serve");
        let mut of_one_start: Vec<&str> = serve.get_arguments().map(|arg| arg.get_id().as_str()).collect();
        of_one_start.retain(|name| !doorbell_service::config::Settings::NAMES.contains(name));
        assert_eq!(of_one_start, ["config", "rotate_capability_key", "new_ca"]);
    }

    #[test]
    fn every_setting_of_the_service_is_in_a_group_of_the_help() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").expect("the verb serve");
        let settings = serve.get_arguments().filter(|arg| arg.get_id() != "state_dir");
        for setting in settings.filter(|arg| doorbell_service::config::Settings::NAMES.contains(&arg.get_id().as_str()))
        {
            assert!(setting.get_help_heading().is_some(), "{} has no group", setting.get_id());
        }
    }
}
