//! `doorbell desktop install --system`: the files for all users of a machine.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use doorbell_browsers::{PushService, chromium, firefox};
use doorbell_desktop::install::{Fleet, Installation, plan_for_all};
use doorbell_desktop::program;
use doorbell_desktop::settings::Settings;

use super::{Args, answers, print};
use crate::browser::status;
use crate::desktop::explained;

/// Where the program of a package is.
const PACKAGED: &str = "/usr/bin/doorbell";

pub(super) fn run(args: &Args, service: &PushService, ca: Option<PathBuf>) -> Result<ExitCode> {
    let root = std::path::absolute(&args.root)?;
    let is_this_machine = root == Path::new("/");
    let program = if is_this_machine {
        program::find().map_err(explained)?;
        env::current_exe().context("cannot find the program of this process")?
    } else {
        PathBuf::from(PACKAGED)
    };
    let fleet = Fleet {
        firefox_policies: firefox::policies(service, ca.as_deref())?,
        chromium_flags: chromium::debian_flags(service)?,
        chromium_policies: chromium::policies(&[], ca.as_deref())?,
    };
    let settings = Settings {
        url: args.url.clone(),
        ca: ca.clone(),
        urgency: args.urgency,
        allow_debug_port: false,
        state: None,
        profiles: Vec::new(),
    };
    let planned = plan_for_all(&root, &program, &settings, &fleet)?;
    if args.print {
        planned.iter().try_for_each(print)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut installation = Installation::for_all(&root)?;
    installation.check(&planned)?;
    if is_this_machine {
        answers(service, ca.as_deref())?;
    }
    installation.put(&planned)?;
    for planned in &planned {
        status(&format!("wrote {}", planned.path.display()));
    }
    status(
        "it starts with each new session, for the Firefox profile that the user starts with. Sites that notified these \
         browsers by another push service stop doing so until they subscribe again",
    );
    Ok(ExitCode::SUCCESS)
}
