//! `doorbell keys`: makes and shows VAPID keys, the identity of an application server (RFC 8292).

pub(crate) mod file;
mod form;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Subcommand;
use doorbell_protocol::vapid::sign::SigningKey;

use crate::browser::status;
use crate::output;
use crate::shell::quoted;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make a key, and print its public half
    New {
        /// Where to write it; a file that exists is never overwritten [default: $XDG_STATE_HOME/doorbell/vapid.pem or ~/.local/state/doorbell/vapid.pem]
        #[arg(long, value_name = "FILE", env = "DOORBELL_KEY")]
        out: Option<PathBuf>,
    },
    /// Print the public half of a key: what web pages call applicationServerKey
    Show {
        /// The file with the key, as Doorbell or another Web Push tool wrote it: PEM, DER, base64url on a line, JSON with a
        /// privateKey (npm's web-push), or a JWK [default: as for `new`]
        #[arg(value_name = "FILE", env = "DOORBELL_KEY")]
        file: Option<PathBuf>,

        /// Print the private half instead, in base64url, for another Web Push tool
        #[arg(long)]
        private: bool,
    },
}

const EXAMPLES: &str = "\
Examples:
  doorbell keys new                      where `doorbell send` looks for it
  doorbell keys new --out shop.pem
  doorbell keys show shop.pem
  doorbell listen --vapid \"$(doorbell keys show)\"
                                         receive from `doorbell send` only

The key is printed to standard output, everything else to standard error. Keep the private key: subscriptions that \
were made with it work with no other.";

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    match args.what {
        What::New { out } => new(out),
        What::Show { file, private } => show(file, private),
    }
}

fn new(out: Option<PathBuf>) -> Result<ExitCode> {
    let path = file::path_or_default(out)?;
    let key = SigningKey::generate()?;
    if !file::create(&path, &key)? {
        bail!("{0} exists already; `doorbell keys show {0}` prints its public key", quoted(&path.to_string_lossy()));
    }
    output::report(key.public_key().to_base64url());
    status(&format!("the private key is in {}, for its owner only", path.display()));
    Ok(ExitCode::SUCCESS)
}

fn show(file: Option<PathBuf>, private: bool) -> Result<ExitCode> {
    let path = file::path_or_default(file)?;
    let key = file::read(&path)?;
    if private {
        output::result(key.to_base64url()?.as_str())?;
    } else {
        output::result(key.public_key().to_base64url())?;
        status(&format!("the private key is in {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}
