//! The folder from which Firefox is started: links to the installed one, a copy of its launcher, and our two files.
//!
//! Firefox looks for its parts beside its launcher, after following links: so the launcher is copied, and the rest stays
//! links, which follow an update of the package. The folder is brought up to date before each start.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use doorbell_browsers::Firefox;
use doorbell_private_file as private_file;

use super::{WOKEN_VARIABLE, forget_woken, woken_value};
use crate::browser::Mode;
use crate::error::DesktopError;
use crate::process::Process;

const SCRIPT: &str = include_str!("doorbell.cfg");
const SCRIPT_NAME: &str = "doorbell.cfg";
const PREF: &str = include_str!("doorbell-pref.js");
const PREF_NAME: &str = "doorbell.js";

/// Where Ubuntu's kernel names whether a program without an AppArmor profile of its own gets a weaker sandbox.
const USER_NAMESPACES_RESTRICTED: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/// A Firefox that can be woken.
#[derive(Clone, Debug)]
pub(crate) struct Application {
    /// The launcher of the installed Firefox, without links.
    installed: PathBuf,
    /// Our folder.
    folder: PathBuf,
}

impl Application {
    /// The one that wakes `firefox`, in `folder`, which is created.
    pub(crate) fn prepare(firefox: &Firefox, folder: &Path) -> Result<Self, DesktopError> {
        Self::prepare_where(restricted(), firefox, folder)
    }

    /// Whether `firefox` can be woken.
    pub(crate) fn check(firefox: &Firefox) -> Result<(), DesktopError> {
        let program = firefox.program();
        let installed = fs::canonicalize(program).map_err(DesktopError::io("read", program))?;
        match unsuitable(&installed, restricted()) {
            Some(reason) => Err(DesktopError::Unsuitable { program: installed, reason }),
            None => Ok(()),
        }
    }

    /// The same on a system that does or does not restrict user namespaces to programs with an AppArmor profile.
    fn prepare_where(restricted: bool, firefox: &Firefox, folder: &Path) -> Result<Self, DesktopError> {
        let program = firefox.program();
        let installed = fs::canonicalize(program).map_err(DesktopError::io("read", program))?;
        if let Some(reason) = unsuitable(&installed, restricted) {
            return Err(DesktopError::Unsuitable { program: installed, reason });
        }
        // It is started from any working directory.
        let folder = std::path::absolute(folder).map_err(DesktopError::io("find", folder))?;
        let application = Self { installed, folder };
        application.refresh()?;
        Ok(application)
    }

    /// Starts it with the profile in `folder`, without a window.
    pub(crate) fn start(&self, profile: &Path, mode: Mode) -> Result<Process, DesktopError> {
        self.refresh()?;
        forget_woken(profile)?;
        let mut command = self.command(profile, mode);
        // Ctrl-C in the terminal of this process is not meant for the browser.
        command.process_group(0);
        Process::of(doorbell_browsers::start(command)?).map_err(DesktopError::io("watch", profile))
    }

    fn command(&self, profile: &Path, mode: Mode) -> Command {
        let mut command = Command::new(self.folder.join(self.launcher()));
        command.arg("--profile").arg(profile).arg("--silent").env(WOKEN_VARIABLE, woken_value(mode));
        command
    }

    /// Brings the folder up to date. A Firefox that runs from it keeps the files that it has open.
    fn refresh(&self) -> Result<(), DesktopError> {
        let source = self.installed_folder();
        let own = [self.launcher(), OsStr::new("defaults"), OsStr::new(SCRIPT_NAME)];
        mirror(source, &self.folder, &own)?;
        self.copy_launcher()?;
        let defaults = self.folder.join("defaults");
        mirror(&source.join("defaults"), &defaults, &[OsStr::new("pref")])?;
        let pref = defaults.join("pref");
        mirror(&source.join("defaults/pref"), &pref, &[OsStr::new(PREF_NAME)])?;
        write(&pref.join(PREF_NAME), PREF)?;
        write(&self.folder.join(SCRIPT_NAME), SCRIPT)
    }

    fn copy_launcher(&self) -> Result<(), DesktopError> {
        let target = self.folder.join(self.launcher());
        let bytes = fs::read(&self.installed).map_err(DesktopError::io("read", &self.installed))?;
        if fs::read(&target).is_ok_and(|copy| copy == bytes) {
            return Ok(());
        }
        // A program that runs cannot be written over, but another file can take its name.
        private_file::replace(&target, &bytes).map_err(DesktopError::io("write", &target))?;
        fs::set_permissions(&target, fs::Permissions::from_mode(0o700)).map_err(DesktopError::io("write", &target))
    }

    fn installed_folder(&self) -> &Path {
        self.installed.parent().expect("a file with an absolute path has a folder")
    }

    fn launcher(&self) -> &OsStr {
        self.installed.file_name().expect("a launcher has a name")
    }
}

/// Whether this system binds what a program may do to its path.
fn restricted() -> bool {
    fs::read_to_string(USER_NAMESPACES_RESTRICTED).is_ok_and(|text| text.trim() == "1")
}

/// Why this Firefox cannot be woken from a folder of links, if that is so.
fn unsuitable(installed: &Path, restricted: bool) -> Option<&'static str> {
    let folder = installed.parent()?;
    if !folder.join("libxul.so").exists() || !folder.join("defaults/pref").is_dir() {
        return Some("it is not the launcher of a Firefox that is installed in a folder");
    }
    // Mozilla means to take unsandboxed AutoConfig away from other releases.
    let about = fs::read_to_string(folder.join("application.ini")).unwrap_or_default();
    if !about.lines().any(|line| line.starts_with("SourceRepository=") && line.contains("esr")) {
        return Some("it is not a Firefox ESR");
    }
    if restricted {
        return Some(
            "a copy of its launcher would have a weaker sandbox on this system (AppArmor binds it to its path)",
        );
    }
    None
}

/// Makes `target` a folder of links to what is in `source`, apart from the names in `own`, which are left alone.
fn mirror(source: &Path, target: &Path, own: &[&OsStr]) -> Result<(), DesktopError> {
    private_file::create_folder(target).map_err(DesktopError::io("create", target))?;
    let is_own = |name: &OsString| own.contains(&name.as_os_str());
    let wanted = names(source).map_err(DesktopError::io("read", source))?;
    for name in names(target).map_err(DesktopError::io("read", target))? {
        if !wanted.contains(&name) && !is_own(&name) {
            let link = target.join(&name);
            fs::remove_file(&link).map_err(DesktopError::io("delete", &link))?;
        }
    }
    for name in wanted.iter().filter(|name| !is_own(name)) {
        let (from, to) = (target.join(name), source.join(name));
        if fs::read_link(&from).is_ok_and(|linked| linked == to) {
            continue;
        }
        match fs::remove_file(&from) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(DesktopError::io("delete", &from)(error));
            }
            _ => symlink(&to, &from).map_err(DesktopError::io("link", &from))?,
        }
    }
    Ok(())
}

fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

fn write(file: &Path, text: &str) -> Result<(), DesktopError> {
    if fs::read_to_string(file).is_ok_and(|written| written == text) {
        return Ok(());
    }
    private_file::replace(file, text.as_bytes()).map_err(DesktopError::io("write", file))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder like that of an installed Firefox ESR.
    fn installed() -> (tempfile::TempDir, Firefox) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("esr/defaults/pref")).unwrap();
        let repository = "[App]\nSourceRepository=https://example.org/mozilla-esr153\n";
        for (name, text) in [
            ("firefox-esr", "launcher 1"),
            ("libxul.so", "library"),
            ("application.ini", repository),
            ("defaults/pref/channel-prefs.js", "channel"),
        ] {
            fs::write(folder.path().join("esr").join(name), text).unwrap();
        }
        symlink("esr/firefox-esr", folder.path().join("firefox")).unwrap();
        let firefox = Firefox::at(&folder.path().join("firefox")).unwrap();
        (folder, firefox)
    }

    #[test]
    fn the_folder_has_links_a_copy_of_the_launcher_and_our_files() {
        let (folder, firefox) = installed();
        let ours = folder.path().join("ours");
        let application = Application::prepare_where(false, &firefox, &ours).unwrap();
        assert_eq!(fs::read_link(ours.join("libxul.so")).unwrap(), application.installed_folder().join("libxul.so"));
        assert_eq!(fs::read_to_string(ours.join("defaults/pref/channel-prefs.js")).unwrap(), "channel");
        assert_eq!(fs::read_to_string(ours.join("defaults/pref/doorbell.js")).unwrap(), PREF);
        assert_eq!(fs::read_to_string(ours.join("doorbell.cfg")).unwrap(), SCRIPT);
        let launcher = fs::symlink_metadata(ours.join("firefox-esr")).unwrap();
        assert!(launcher.is_file() && launcher.permissions().mode() & 0o100 != 0);
        assert_eq!(application.command(Path::new("/p"), Mode::Woken).get_program(), ours.join("firefox-esr"));
    }

    #[test]
    fn an_updated_package_is_followed() {
        let (folder, firefox) = installed();
        let ours = folder.path().join("ours");
        let application = Application::prepare_where(false, &firefox, &ours).unwrap();
        fs::write(folder.path().join("esr/firefox-esr"), "launcher 2").unwrap();
        fs::write(folder.path().join("esr/new.so"), "new").unwrap();
        fs::remove_file(folder.path().join("esr/defaults/pref/channel-prefs.js")).unwrap();
        application.refresh().unwrap();
        assert_eq!(fs::read_to_string(ours.join("firefox-esr")).unwrap(), "launcher 2");
        assert_eq!(fs::read_to_string(ours.join("new.so")).unwrap(), "new");
        assert_eq!(names(&ours.join("defaults/pref")).unwrap(), [PREF_NAME]);
    }

    #[test]
    fn a_copy_with_a_weaker_sandbox_is_refused() {
        let (folder, firefox) = installed();
        let error = Application::prepare_where(true, &firefox, &folder.path().join("ours")).unwrap_err().to_string();
        assert!(error.contains("weaker sandbox"), "{error}");
        assert!(!folder.path().join("ours").exists());
    }

    #[test]
    fn another_firefox_is_refused_with_the_reason() {
        let (folder, firefox) = installed();
        fs::write(folder.path().join("esr/application.ini"), "SourceRepository=https://example.org/release").unwrap();
        let error = Application::prepare_where(false, &firefox, &folder.path().join("ours")).unwrap_err().to_string();
        assert!(error.contains("not a Firefox ESR"), "{error}");
        fs::remove_file(folder.path().join("esr/libxul.so")).unwrap();
        let error = Application::prepare_where(false, &firefox, &folder.path().join("ours")).unwrap_err().to_string();
        assert!(error.contains("not the launcher"), "{error}");
    }
}
