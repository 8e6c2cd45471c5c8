//! An everyday profile: one that the user works with, and into which our settings are written as a block of its user.js
//! that can be taken out again.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use doorbell_private_file as private_file;

use super::lock::LOCK;
use super::prefs::{self, Pref};
use super::profile::{self, TRUSTED, USER_JS};
use super::{Firefox, trust};
use crate::error::BrowserError;
use crate::pem::Authorities;
use crate::profile::{Kind, Notice, Preparation, Profile};
use crate::push_service::PushService;

const BEGIN: &str =
    "// doorbell begins: written by `doorbell desktop install`, taken out by `doorbell desktop uninstall`.";
const END: &str = "// doorbell ends.";
/// Where Firefox keeps the settings of a profile.
const PREFS_JS: &str = "prefs.js";
/// The windows and tabs of the last run, which the run that teaches a CA would replace.
const SESSION: &str = "sessionstore.jsonlz4";
/// In which a Firefox that is woken writes the number of its process.
const WOKEN: &str = "doorbell-woken";
/// What Firefox remembers itself of our push service: the name that it has there.
const REMEMBERED: [&str; 1] = ["dom.push.userAgentID"];

/// Any profile of Firefox.
const KIND: Kind = Kind { browser: "Firefox", is_ours: is_firefox_profile, lock: LOCK };

/// Whether `folder` is a profile that some Firefox has worked with.
pub fn is_firefox_profile(folder: &Path) -> bool {
    [PREFS_JS, "times.json", "compatibility.ini"].iter().any(|name| folder.join(name).is_file())
}

/// Whether `folder` is an everyday profile into which our settings were written.
pub fn is_adopted(folder: &Path) -> bool {
    fs::read_to_string(folder.join(USER_JS)).is_ok_and(|text| text.lines().any(|line| line == BEGIN))
}

impl Firefox {
    /// Writes our settings into an everyday profile, and makes it trust the authority as [`Firefox::prepare`] does. Its
    /// subscriptions at another push service end.
    pub fn adopt(&self, p: &Preparation<'_>, mut notice: impl FnMut(Notice)) -> Result<(), BrowserError> {
        let profile = Profile::open(p.folder, &KIND, false, profile::process_of)?;
        let file = user_js_of(p.folder)?;
        let text = read(&file)?;
        replace(&file, &format!("{}{}", before_block(&text), block(&settings(p.service))))?;
        if let Some(authorities) = p.ca.filter(|_| !p.service.is_plain()).map(Authorities::read).transpose()?
            && !profile::trusts(&profile, &authorities.pem)
        {
            notice(Notice::TeachingTrust);
            let session = fs::read(p.folder.join(SESSION)).ok();
            trust::teach(self.program(), &profile, &authorities)?;
            if let Some(session) = session {
                profile.write(SESSION, &session)?;
            }
            profile::remember_trust(&profile, &authorities.pem)?;
        }
        Ok(())
    }
}

/// Takes our settings out of an everyday profile again. Trust in a certificate authority stays.
pub fn release(folder: &Path) -> Result<(), BrowserError> {
    if let Some(process) = profile::process_of(folder) {
        return Err(BrowserError::ProfileInUse { browser: KIND.browser, process, folder: folder.to_owned() });
    }
    let file = user_js_of(folder)?;
    let text = read(&file)?;
    let (block, rest) = parts(&text);
    let names: Vec<&str> = block.iter().filter_map(|line| name_in(line)).collect();
    // First what Firefox remembers: the block shows what is still to do if this is interrupted.
    let prefs_js = folder.join(PREFS_JS);
    let prefs = read(&prefs_js)?;
    let is_ours = |line: &str| name_in(line).is_some_and(|name| REMEMBERED.contains(&name) || names.contains(&name));
    let kept: String = prefs.split_inclusive('\n').filter(|line| !is_ours(line)).collect();
    if kept != prefs {
        replace(&prefs_js, &kept)?;
    }
    remove(&folder.join(TRUSTED))?;
    remove(&folder.join(WOKEN))?;
    if rest.is_empty() { remove(&file) } else { replace(&file, &rest) }
}

fn settings(service: &PushService) -> Vec<Pref> {
    let mut prefs = prefs::push(service);
    prefs.extend(prefs::driven());
    prefs
}

fn block(prefs: &[Pref]) -> String {
    format!("{BEGIN}\n{}\n{END}\n", prefs::lines(prefs))
}

/// `text` without our block, ready for another one.
fn before_block(text: &str) -> String {
    let (block, mut rest) = parts(text);
    if !rest.is_empty() && !rest.ends_with('\n') && block.is_empty() {
        rest.push('\n');
    }
    rest
}

/// The lines of our block, and `text` as it was before the block was added. Where its end is missing, only lines that we
/// write are ours.
fn parts(text: &str) -> (Vec<&str>, String) {
    let (mut block, mut rest) = (Vec::new(), String::new());
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    // Whether the block that a line is in has an end.
    let mut inside = None;
    for (at, line) in lines.iter().enumerate() {
        let next = &lines[at + 1..];
        let is_ours = match (line.trim_end(), inside) {
            (BEGIN, _) => {
                let mut block = next.iter().map(|line| line.trim_end()).take_while(|line| *line != BEGIN);
                inside = Some(block.any(|line| line == END));
                true
            }
            (END, Some(_)) => {
                inside = None;
                true
            }
            (_, None) => false,
            (_, Some(true)) => true,
            ("", Some(false)) => next.first().is_some_and(|line| is_written_by_us(line)),
            (_, Some(false)) => is_written_by_us(line),
        };
        if is_ours { block.push(*line) } else { rest.push_str(line) }
    }
    (block, rest)
}

fn is_written_by_us(line: &str) -> bool {
    // The settings for a service without TLS are the most.
    let service = PushService::parse("http://localhost").expect("an address of this machine");
    settings(&service).iter().any(|pref| match line.trim_end().strip_prefix("// ") {
        Some(why) => why == pref.why,
        None => name_in(line) == Some(pref.name),
    })
}

fn name_in(line: &str) -> Option<&str> {
    Some(line.strip_prefix("user_pref(\"")?.split_once('"')?.0)
}

/// The file itself where it is a link, as in folders of settings that are kept elsewhere.
fn user_js_of(folder: &Path) -> Result<PathBuf, BrowserError> {
    let file = folder.join(USER_JS);
    if file.symlink_metadata().is_err() {
        return Ok(file);
    }
    fs::canonicalize(&file).map_err(BrowserError::io("read", &file))
}

fn read(file: &Path) -> Result<String, BrowserError> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        other => other.map_err(BrowserError::io("read", file)),
    }
}

/// Writes a file of the user's as a whole, with the permissions that it has.
fn replace(file: &Path, text: &str) -> Result<(), BrowserError> {
    let mode = fs::metadata(file).map_or(0o600, |metadata| metadata.permissions().mode());
    private_file::replace(file, text.as_bytes())
        .and_then(|()| fs::set_permissions(file, Permissions::from_mode(mode)))
        .map_err(BrowserError::io("write", file))
}

fn remove(file: &Path) -> Result<(), BrowserError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(BrowserError::io("delete", file)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "user_pref(\"mine\", true);\n";
    const ADDED: &str = "\n// Mine.\nuser_pref(\"mine.too\", 1);\n";
    const PREFS: &str = "// Mozilla\nuser_pref(\"dom.push.serverURL\", \"wss://a.example/\");\n\
        user_pref(\"dom.push.userAgentID\", \"secret\");\nuser_pref(\"mine\", true);\n";

    fn adopt(folder: &Path, url: &str) {
        let service = PushService::parse(url).unwrap();
        let firefox = Firefox { program: "/no/such".into() };
        let preparation = Preparation { service: &service, ca: None, folder, fresh: false };
        firefox.adopt(&preparation, |_| {}).unwrap();
    }

    #[test]
    fn the_block_is_written_once_and_taken_out_with_what_firefox_remembers_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (user_js, prefs_js) = (folder.path().join(USER_JS), folder.path().join(PREFS_JS));
        fs::write(&user_js, OWN).unwrap();
        fs::set_permissions(&user_js, Permissions::from_mode(0o640)).unwrap();
        fs::write(&prefs_js, PREFS).unwrap();
        assert!(!is_adopted(folder.path()));
        adopt(folder.path(), "https://a.example");
        adopt(folder.path(), "https://b.example");
        let text = fs::read_to_string(&user_js).unwrap();
        assert!(text.starts_with(OWN) && text.matches(BEGIN).count() == 1 && !text.contains("a.example"), "{text}");
        assert!(is_adopted(folder.path()) && text.contains("wss://b.example/"), "{text}");

        fs::write(folder.path().join(WOKEN), "7").unwrap();
        release(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "only the user's files are left");
        assert_eq!(fs::read_to_string(&user_js).unwrap(), OWN);
        assert_eq!(fs::metadata(&user_js).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_to_string(&prefs_js).unwrap(), "// Mozilla\nuser_pref(\"mine\", true);\n");
    }

    #[test]
    fn lines_of_the_users_below_a_block_that_has_lost_its_end_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (user_js, prefs_js) = (folder.path().join(USER_JS), folder.path().join(PREFS_JS));
        fs::write(&user_js, OWN).unwrap();
        fs::write(&prefs_js, PREFS).unwrap();
        adopt(folder.path(), "http://localhost");
        let text = fs::read_to_string(&user_js).unwrap();
        let broken = text.replace(&format!("\n{END}\n"), ADDED);
        fs::write(&user_js, &broken).unwrap();
        adopt(folder.path(), "https://b.example");
        let text = fs::read_to_string(&user_js).unwrap();
        assert!(text.starts_with(&format!("{OWN}{ADDED}{BEGIN}\n")) && text.ends_with(&format!("{END}\n")), "{text}");
        for text in [broken.clone(), format!("{broken}{}", block(&[]))] {
            fs::write(&user_js, text).unwrap();
            release(folder.path()).unwrap();
            assert_eq!(fs::read_to_string(&user_js).unwrap(), format!("{OWN}{ADDED}"));
        }
        assert_eq!(fs::read_to_string(&prefs_js).unwrap(), "// Mozilla\nuser_pref(\"mine\", true);\n");
    }

    #[test]
    fn a_user_js_that_was_not_there_is_gone_again_and_one_that_is_a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(PREFS_JS), PREFS).unwrap();
        adopt(folder.path(), "https://a.example");
        release(folder.path()).unwrap();
        assert!(!folder.path().join(USER_JS).exists());

        fs::write(folder.path().join("elsewhere.js"), OWN).unwrap();
        std::os::unix::fs::symlink("elsewhere.js", folder.path().join(USER_JS)).unwrap();
        adopt(folder.path(), "https://a.example");
        assert!(folder.path().join(USER_JS).is_symlink() && is_adopted(folder.path()));
    }

    #[test]
    fn a_folder_that_no_firefox_worked_with_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("letter.txt"), "").unwrap();
        let service = PushService::parse("https://a.example").unwrap();
        let firefox = Firefox { program: "/no/such".into() };
        let preparation = Preparation { service: &service, ca: None, folder: folder.path(), fresh: false };
        firefox.adopt(&preparation, |_| {}).unwrap_err();
        assert!(!folder.path().join(USER_JS).exists());
    }
}
