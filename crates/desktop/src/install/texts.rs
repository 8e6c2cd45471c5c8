//! The texts of the files by which a session starts the desktop part, and of the entry in the menu.

use std::ffi::OsStr;
use std::path::Path;

use crate::error::DesktopError;
use crate::settings::MARK;

/// The exit status of `doorbell desktop run` while another desktop part runs.
pub const RUNS_ALREADY_STATUS: u8 = 3;

/// A unit of the user's systemd. It has no DISPLAY of its own: the user manager has the session's.
pub(super) fn unit(program: &Path) -> Result<String, DesktopError> {
    let program = systemd_word(text(program)?);
    Ok(format!(
        "\
{MARK}
[Unit]
Description=Doorbell: wakes closed browsers when a message waits for them
PartOf=graphical-session.target
After=graphical-session.target

[Service]
ExecStart={program} desktop run
Restart=on-failure
# It may be a session without a screen, which stays so.
RestartSec=60
# Another desktop part runs in this session.
RestartPreventExitStatus={RUNS_ALREADY_STATUS}
Slice=background.slice
# A browser that is open goes on when this unit is stopped.
KillMode=process

[Install]
WantedBy=graphical-session.target
"
    ))
}

/// The same for sessions that systemd does not start: one that does skips it.
pub(super) fn autostart(program: &Path) -> Result<String, DesktopError> {
    let program = desktop_word(text(program)?);
    Ok(format!(
        "\
{MARK}
[Desktop Entry]
Type=Application
Name=Doorbell
Comment=Wakes closed browsers when a message waits for them
Exec={program} desktop run
NoDisplay=true
X-systemd-skip=true
"
    ))
}

/// An entry of the menu that starts a browser by `words`, after which the pages follow.
pub(super) fn menu(name: &str, icon: &str, words: &[&OsStr]) -> Result<String, DesktopError> {
    let words: Result<Vec<_>, _> = words.iter().map(|word| text(Path::new(word)).map(desktop_word)).collect();
    let exec = words?.join(" ");
    Ok(format!(
        "\
{MARK}
[Desktop Entry]
Type=Application
Name={name}
Comment=Web pages can notify you here while it is closed
Exec={exec} %u
Icon={icon}
Categories=Network;WebBrowser;
StartupNotify=true
"
    ))
}

/// The same entry as `original`, whose commands start the browser by `words`, after which their own flags follow.
pub(super) fn menu_in_place_of(original: &str, words: &[&OsStr]) -> Result<String, DesktopError> {
    let words: Result<Vec<_>, _> = words.iter().map(|word| text(Path::new(word)).map(desktop_word)).collect();
    let exec = words?.join(" ");
    let mut entry = format!("{MARK}\n");
    for line in original.lines() {
        match line.strip_prefix("Exec=").map(|command| command.split_once(' ').unwrap_or((command, ""))) {
            // The manager of profiles starts without one.
            Some((_, flags)) if !flags.to_lowercase().contains("profilemanager") => {
                entry += &format!("Exec={exec} {flags}\n");
            }
            // Started by D-Bus it would not be started by our command.
            None if line.starts_with("DBusActivatable=") || line.starts_with("TryExec=") => {}
            _ => entry += &format!("{line}\n"),
        }
    }
    Ok(entry)
}

/// A word as text on one line.
fn text(word: &Path) -> Result<&str, DesktopError> {
    match word.to_str() {
        Some(text) if !text.chars().any(char::is_control) => Ok(text),
        _ => Err(DesktopError::refused(word, "a path with such characters cannot be in a unit or a menu: move it")),
    }
}

/// A word of ExecStart.
fn systemd_word(word: &str) -> String {
    let mut quoted = String::from('"');
    for c in word.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' | '$' => quoted.extend([c, c]),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A word of Exec: quoted as an argument, and then as a value of a desktop entry.
pub(super) fn desktop_word(word: &str) -> String {
    let mut quoted = String::from('"');
    for c in word.chars() {
        match c {
            '\\' => quoted.push_str(r"\\\\"),
            '"' | '`' | '$' => quoted.extend(['\\', '\\', c]),
            '%' => quoted.push_str("%%"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_spaces_and_signs_stays_one_word() {
        let program = Path::new("/home/o $x/50%/\"d\"\\b");
        let unit = unit(program).unwrap();
        assert!(unit.contains("ExecStart=\"/home/o $$x/50%%/\\\"d\\\"\\\\b\" desktop run\n"), "{unit}");
        let entry = autostart(program).unwrap();
        assert!(entry.contains("Exec=\"/home/o \\\\$x/50%%/\\\\\"d\\\\\"\\\\\\\\b\" desktop run\n"), "{entry}");
        assert!(unit.starts_with(MARK) && entry.starts_with(MARK));
    }

    #[test]
    fn a_path_that_would_end_the_line_is_refused() {
        let error = unit(Path::new("/home/a\nExecStart=/bin/sh")).unwrap_err().to_string();
        assert!(error.contains("move it"), "{error}");
    }

    #[test]
    fn an_entry_in_place_of_another_keeps_its_names_and_flags() {
        let original = "[Desktop Entry]\nName=Firefox ESR\nExec=/usr/lib/firefox-esr/firefox-esr %u\n\
            [Desktop Action private]\nExec=/usr/lib/firefox-esr/firefox-esr --private-window %u\n\
            [Desktop Action manager]\nExec=/usr/lib/firefox-esr/firefox-esr --ProfileManager\n";
        let entry = menu_in_place_of(original, &["doorbell", "--"].map(OsStr::new)).unwrap();
        let expected = "[Desktop Entry]\nName=Firefox ESR\nExec=\"doorbell\" \"--\" %u\n\
            [Desktop Action private]\nExec=\"doorbell\" \"--\" --private-window %u\n\
            [Desktop Action manager]\nExec=/usr/lib/firefox-esr/firefox-esr --ProfileManager\n";
        assert_eq!(entry, format!("{MARK}\n{expected}"));
    }

    #[test]
    fn an_entry_of_the_menu_passes_pages_on() {
        let words = ["/usr/bin/doorbell", "firefox", "--"].map(OsStr::new);
        let text = menu("Firefox (Doorbell)", "firefox-esr", &words).unwrap();
        assert!(text.contains("Exec=\"/usr/bin/doorbell\" \"firefox\" \"--\" %u\n"), "{text}");
    }
}
