//! The folder from which Firefox is started: links to the installed one, a copy of its launcher, and our two files.
//!
//! Firefox looks for its parts beside its launcher, after following links: so the launcher is copied, and the rest stays
//! links, which follow an update of the package. The folder is brought up to date before each start.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use doorbell_browsers::Firefox;
use doorbell_private_file as private_file;
use rustix::fs::{FlockOperation, flock};

use super::folders::{LIBRARY, folder_for, names, remove_orphans};
use super::{WOKEN_VARIABLE, forget_woken, woken_value};
use crate::browser::Mode;
use crate::error::DesktopError;
use crate::process::Process;
use crate::scope::in_scope;

const SCRIPT: &str = include_str!("doorbell.cfg");
const SCRIPT_NAME: &str = "doorbell.cfg";
const PREF: &str = include_str!("doorbell-pref.js");
const PREF_NAME: &str = "doorbell.js";

/// Where Firefox reads the files of an administrator.
const SYSTEM_FOLDER: &str = "/etc/firefox";

/// Where Ubuntu's kernel names whether a program without an AppArmor profile of its own gets a weaker sandbox.
const USER_NAMESPACES_RESTRICTED: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/// A Firefox that can be woken.
#[derive(Clone, Debug)]
pub(crate) struct Application {
    /// The program of Firefox, which may be a link.
    program: PathBuf,
    /// Where our folders are.
    folders: PathBuf,
    /// The launcher to which that link leads.
    installed: PathBuf,
    /// Our folder for it.
    folder: PathBuf,
    system: System,
}

impl Application {
    /// The one that wakes `firefox`, from a folder of its own in `folders`, which is created.
    pub(crate) fn prepare(firefox: &Firefox, folders: &Path) -> Result<Self, DesktopError> {
        Self::prepare_where(System::of_this_machine(), firefox, folders)
    }

    /// Whether `firefox` can be woken.
    pub(crate) fn check(firefox: &Firefox) -> Result<(), DesktopError> {
        System::of_this_machine().check(&launcher_of(firefox.program())?)
    }

    /// The same on such a system.
    pub(crate) fn prepare_where(system: System, firefox: &Firefox, folders: &Path) -> Result<Self, DesktopError> {
        // It is started from any working directory.
        let absolute = |path: &Path| std::path::absolute(path).map_err(DesktopError::io("find", path));
        let (program, folders) = (absolute(firefox.program())?, absolute(folders)?);
        remove_orphans(&folders)?;
        Self::up_to_date(program, folders, system)
    }

    /// The one for what is installed now: the program may have been upgraded, be a link to another folder, or be gone.
    fn up_to_date(program: PathBuf, folders: PathBuf, system: System) -> Result<Self, DesktopError> {
        let installed = launcher_of(&program)?;
        system.check(&installed)?;
        let folder = folder_for(parent(&installed), &folders);
        let application = Self { program, folders, installed, folder, system };
        application.refresh()?;
        Ok(application)
    }

    /// Starts it with the profile in `folder`, without a window.
    pub(crate) fn start(&self, profile: &Path, mode: Mode) -> Result<Process, DesktopError> {
        let current = Self::up_to_date(self.program.clone(), self.folders.clone(), self.system.clone())?;
        forget_woken(profile)?;
        let mut command = in_scope(current.command(profile, mode), "doorbell-firefox");
        // Ctrl-C in the terminal of this process is not meant for the browser.
        command.process_group(0);
        Process::of(doorbell_browsers::start(command)?).map_err(DesktopError::io("watch", profile))
    }

    fn command(&self, profile: &Path, mode: Mode) -> Command {
        let program =
            if self.system.has_our_files() { self.installed.clone() } else { self.folder.join(self.launcher()) };
        let mut command = Command::new(program);
        command.arg("--profile").arg(profile).arg("--silent").env(WOKEN_VARIABLE, woken_value(mode));
        command
    }

    /// Brings the folder up to date. A Firefox that runs from it keeps the files that it has open.
    fn refresh(&self) -> Result<(), DesktopError> {
        if self.system.has_our_files() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let source = parent(&self.installed);
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

    /// Profiles with the same program, also those of another desktop part, may be woken at the same moment.
    fn lock(&self) -> Result<File, DesktopError> {
        private_file::create_folder(&self.folder).map_err(DesktopError::io("create", &self.folder))?;
        let folder = File::open(&self.folder).map_err(DesktopError::io("lock", &self.folder))?;
        // Nothing waits for anything else under this lock.
        flock(&folder, FlockOperation::LockExclusive)
            .map_err(|error| DesktopError::io("lock", &self.folder)(error.into()))?;
        Ok(folder)
    }

    fn launcher(&self) -> &OsStr {
        self.installed.file_name().expect("a launcher has a name")
    }
}

/// What a system brings for all its users.
#[derive(Clone, Debug)]
pub(crate) struct System {
    /// It binds what a program may do to its path.
    restricted: bool,
    /// Where Firefox reads the files of an administrator.
    firefox: PathBuf,
}

impl System {
    /// One that restricts nothing, and brings nothing.
    #[cfg(test)]
    pub(crate) fn unrestricted() -> Self {
        Self { restricted: false, firefox: "/no/such".into() }
    }

    fn of_this_machine() -> Self {
        let restricted = fs::read_to_string(USER_NAMESPACES_RESTRICTED).is_ok_and(|text| text.trim() == "1");
        Self { restricted, firefox: PathBuf::from(SYSTEM_FOLDER) }
    }

    /// Whether an administrator has installed our files: then the installed launcher reads them, and no folder of links and
    /// no copied launcher is needed.
    fn has_our_files(&self) -> bool {
        system_files().iter().all(|(name, text)| {
            let (first, written) = (text.lines().next(), fs::read_to_string(self.firefox.join(name)));
            written.is_ok_and(|written| written.lines().next() == first)
        })
    }

    /// Refuses a Firefox that cannot be woken here.
    fn check(&self, installed: &Path) -> Result<(), DesktopError> {
        if let Some(reason) = unsuitable(installed) {
            return Err(DesktopError::Unsuitable { program: installed.to_owned(), reason });
        }
        if [&self.firefox, parent(installed)].iter().any(|folder| names_another_script(&folder.join("defaults/pref"))) {
            let reason =
                "an administrator has a script for it (general.config.filename), beside which ours does not run";
            return Err(DesktopError::Unsuitable { program: installed.to_owned(), reason });
        }
        if self.restricted && !self.has_our_files() {
            return Err(DesktopError::WeakerSandbox { program: installed.to_owned() });
        }
        Ok(())
    }
}

/// Whether a file in this folder of settings, other than ours, names the script that Firefox runs: it runs only one.
pub(crate) fn names_another_script(folder: &Path) -> bool {
    // Most systems have no such folder.
    let files = names(folder).unwrap_or_default();
    files.iter().filter(|name| Path::new(name).extension() == Some(OsStr::new("js"))).any(|name| {
        let text = fs::read(folder.join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let is_ours = name == PREF_NAME && text.lines().next() == PREF.lines().next();
        let names_it = |line: &str| !line.trim_start().starts_with("//") && line.contains("general.config.filename");
        !is_ours && text.lines().any(names_it)
    })
}

/// Whether an administrator has installed our files on this machine.
pub(crate) fn is_set_by_administrator() -> bool {
    System::of_this_machine().has_our_files()
}

/// Our files for all users of a machine, below the folder where Firefox reads them.
pub(crate) fn system_files() -> [(&'static str, &'static str); 2] {
    [("defaults/pref/doorbell.js", PREF), (SCRIPT_NAME, SCRIPT)]
}

/// The launcher to which a program leads.
fn launcher_of(program: &Path) -> Result<PathBuf, DesktopError> {
    match fs::canonicalize(program) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(DesktopError::Gone { program: program.to_owned() })
        }
        result => result.map_err(DesktopError::io("read", program)),
    }
}

/// The folder of a launcher.
fn parent(installed: &Path) -> &Path {
    installed.parent().expect("a file with an absolute path has a folder")
}

/// Why this Firefox cannot be woken from a folder of links, if that is so.
fn unsuitable(installed: &Path) -> Option<&'static str> {
    let folder = parent(installed);
    if !folder.join(LIBRARY).exists() || !folder.join("defaults/pref").is_dir() {
        return Some("it is not the launcher of a Firefox that is installed in a folder");
    }
    // Mozilla means to take unsandboxed AutoConfig away from other releases.
    let about = fs::read_to_string(folder.join("application.ini")).unwrap_or_default();
    if !about.lines().any(|line| line.starts_with("SourceRepository=") && line.contains("esr")) {
        return Some("it is not a Firefox ESR");
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
        let application =
            Application::prepare_where(System::unrestricted(), &firefox, &folder.path().join("ours")).unwrap();
        let ours = application.folder.clone();
        assert_eq!(fs::read_link(ours.join("libxul.so")).unwrap(), parent(&application.installed).join("libxul.so"));
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
        let application =
            Application::prepare_where(System::unrestricted(), &firefox, &folder.path().join("ours")).unwrap();
        let ours = application.folder.clone();
        fs::write(folder.path().join("esr/firefox-esr"), "launcher 2").unwrap();
        fs::write(folder.path().join("esr/new.so"), "new").unwrap();
        fs::remove_file(folder.path().join("esr/defaults/pref/channel-prefs.js")).unwrap();
        application.refresh().unwrap();
        assert_eq!(fs::read_to_string(ours.join("firefox-esr")).unwrap(), "launcher 2");
        assert_eq!(fs::read_to_string(ours.join("new.so")).unwrap(), "new");
        assert_eq!(names(&ours.join("defaults/pref")).unwrap(), [PREF_NAME]);
    }

    #[test]
    fn a_program_that_is_gone_is_named_and_one_that_is_back_is_woken_again() {
        let (folder, firefox) = installed();
        let application =
            Application::prepare_where(System::unrestricted(), &firefox, &folder.path().join("ours")).unwrap();
        fs::rename(folder.path().join("esr"), folder.path().join("away")).unwrap();
        let again = || {
            Application::up_to_date(application.program.clone(), application.folders.clone(), System::unrestricted())
        };
        let error = again().unwrap_err().to_string();
        assert!(error.contains("/firefox is gone: install"), "{error}");
        // Meanwhile another one starts, which removes the folder.
        remove_orphans(&folder.path().join("ours")).unwrap();
        assert!(!application.folder.exists());
        fs::rename(folder.path().join("away"), folder.path().join("esr")).unwrap();
        again().unwrap();
        assert_eq!(fs::read_to_string(application.folder.join("firefox-esr")).unwrap(), "launcher 1");
    }

    #[test]
    fn a_program_that_leads_to_another_folder_after_an_upgrade_is_followed() {
        let (folder, firefox) = installed();
        let application =
            Application::prepare_where(System::unrestricted(), &firefox, &folder.path().join("ours")).unwrap();
        fs::rename(folder.path().join("esr"), folder.path().join("esr-2")).unwrap();
        fs::remove_file(folder.path().join("firefox")).unwrap();
        symlink("esr-2/firefox-esr", folder.path().join("firefox")).unwrap();
        let current =
            Application::up_to_date(application.program.clone(), application.folders.clone(), System::unrestricted())
                .unwrap();
        assert_ne!(current.folder, application.folder);
        assert!(current.folder.join(LIBRARY).exists() && !application.folder.join(LIBRARY).exists());
    }

    #[test]
    fn each_program_has_a_folder_of_its_own() {
        let ((one, first), (_other, second)) = (installed(), installed());
        let ours = one.path().join("ours");
        let first = Application::prepare_where(System::unrestricted(), &first, &ours).unwrap();
        let second = Application::prepare_where(System::unrestricted(), &second, &ours).unwrap();
        for application in [first, second] {
            let linked = fs::read_link(application.folder.join(LIBRARY)).unwrap();
            assert_eq!(linked, parent(&application.installed).join(LIBRARY));
        }
    }

    #[test]
    fn two_starts_at_the_same_moment_bring_one_folder_up_to_date() {
        let (folder, firefox) = installed();
        let application =
            Application::prepare_where(System::unrestricted(), &firefox, &folder.path().join("ours")).unwrap();
        for round in 0..50 {
            fs::write(folder.path().join("esr/firefox-esr"), format!("launcher {round}")).unwrap();
            let (old, new) = (round % 2, 1 - round % 2);
            fs::write(folder.path().join(format!("esr/{new}.so")), "new").unwrap();
            fs::remove_file(folder.path().join(format!("esr/{old}.so"))).ok();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| application.refresh().unwrap());
                }
            });
        }
    }

    #[test]
    fn a_copy_with_a_weaker_sandbox_is_refused_unless_the_files_of_an_administrator_make_it_needless() {
        let (folder, firefox) = installed();
        let system = System { restricted: true, firefox: folder.path().join("etc") };
        let ours = folder.path().join("ours");
        let error = Application::prepare_where(system.clone(), &firefox, &ours).unwrap_err().to_string();
        assert!(error.contains("weaker sandbox") && error.contains("--system"), "{error}");
        for (name, text) in system_files() {
            let file = system.firefox.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let application = Application::prepare_where(system, &firefox, &ours).unwrap();
        let command = application.command(Path::new("/p"), Mode::Woken);
        assert_eq!(command.get_program(), folder.path().join("esr/firefox-esr"));
        assert!(!ours.exists());
    }

    #[test]
    fn a_firefox_with_a_script_of_an_administrator_is_refused() {
        let (folder, firefox) = installed();
        let system = System { restricted: false, firefox: folder.path().join("etc") };
        let prepare = || Application::prepare_where(system.clone(), &firefox, &folder.path().join("ours"));
        fs::create_dir_all(system.firefox.join("defaults/pref")).unwrap();
        fs::write(system.firefox.join("defaults/pref/doorbell.js"), PREF).unwrap();
        for place in [system.firefox.clone(), folder.path().join("esr")] {
            let file = place.join("defaults/pref/autoconfig.js");
            fs::write(&file, "// pref(\"general.config.filename\", \"\");\n").unwrap();
            prepare().unwrap();
            fs::write(&file, "\npref(\"general.config.filename\", \"organisation.cfg\");\n").unwrap();
            let error = prepare().unwrap_err().to_string();
            assert!(error.contains("an administrator has a script"), "{error}");
            fs::remove_file(&file).unwrap();
        }
        prepare().unwrap();
    }

    #[test]
    fn another_firefox_is_refused_with_the_reason() {
        let (folder, firefox) = installed();
        fs::write(folder.path().join("esr/application.ini"), "SourceRepository=https://example.org/release").unwrap();
        let error = Application::prepare_where(System::unrestricted(), &firefox, &folder.path().join("ours"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("not a Firefox ESR"), "{error}");
        fs::remove_file(folder.path().join("esr/libxul.so")).unwrap();
        let error = Application::prepare_where(System::unrestricted(), &firefox, &folder.path().join("ours"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("not the launcher"), "{error}");
    }
}
