//! What Chromium needs on its command line, because no setting and no policy can set it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::BrowserError;
use crate::push_service::PushService;

/// What a profile for trying out needs too: no pages and questions in the way at the first start.
pub(super) const TRYING_OUT: [&str; 2] = ["--no-first-run", "--no-default-browser-check"];

/// What makes Chromium receive from `service`: where it becomes a device, where a page's subscription is made, and where
/// messages come from (`mcs`, with its port, or the service's address). All three are needed: with one of them missing it
/// would send Google the secret that it has from us, or us the one that it has from Google.
pub(super) fn push(service: &PushService, mcs: Option<&str>) -> Result<[String; 3], BrowserError> {
    let wrong = |reason: &str| Err(BrowserError::Address { url: service.to_string(), reason: reason.to_owned() });
    if service.is_plain() {
        return wrong(
            "Chromium's push client needs https://, on this machine too: its messages always come over TLS, and the \
             secret of its device must not go without",
        );
    }
    if service.path() != "/" {
        return wrong("Chromium's stream of messages knows no paths, so the service's address must have none");
    }
    let origin = service.origin();
    Ok([
        format!("--gcm-checkin-url={origin}/checkin"),
        format!("--gcm-registration-url={origin}/c2dm/register3"),
        format!("--gcm-mcs-endpoint=https://{}", mcs.unwrap_or(&service.host_and_port())),
    ])
}

/// The switch that makes Chromium work with a profile.
pub(super) fn profile(folder: &Path) -> OsString {
    let mut switch = OsString::from("--user-data-dir=");
    switch.push(folder);
    switch
}

/// The switch that makes Chromium load extensions from these folders; `None` without a folder. A second such switch
/// would replace the first.
pub(super) fn extensions(folders: &[PathBuf]) -> Result<Option<OsString>, BrowserError> {
    let mut switch = OsString::from("--load-extension=");
    for (at, folder) in folders.iter().enumerate() {
        if folder.as_os_str().as_encoded_bytes().contains(&b',') {
            let reason = "Chromium loads no extension from a folder with a comma in its path".to_owned();
            return Err(BrowserError::ProfileFile { file: folder.clone(), reason });
        }
        if at > 0 {
            switch.push(",");
        }
        switch.push(folder);
    }
    Ok((!folders.is_empty()).then_some(switch))
}

/// A file for /etc/chromium.d that gives every Chromium of a Debian machine its push service: the launcher reads it as a
/// shell does, and splits the value at spaces.
pub fn debian_flags(service: &PushService) -> Result<String, BrowserError> {
    Ok(format!(
        "# Written by `doorbell chromium --print-flags`.\nexport CHROMIUM_FLAGS=\"$CHROMIUM_FLAGS {}\"\n",
        push(service, service.mcs())?.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(url: &str) -> PushService {
        PushService::parse(url).unwrap()
    }

    #[test]
    fn each_of_chromiums_three_connections_goes_to_the_service_and_the_stream_names_its_port() {
        assert_eq!(
            push(&service("https://push.example.org/"), None).unwrap(),
            [
                "--gcm-checkin-url=https://push.example.org/checkin",
                "--gcm-registration-url=https://push.example.org/c2dm/register3",
                "--gcm-mcs-endpoint=https://push.example.org:443",
            ]
        );
        let stream = |mcs| push(&service("https://[::1]:8443"), mcs).unwrap()[2].clone();
        assert_eq!(stream(None), "--gcm-mcs-endpoint=https://[::1]:8443");
        assert_eq!(stream(Some("[::1]:5228")), "--gcm-mcs-endpoint=https://[::1]:5228");
    }

    #[test]
    fn an_address_where_messages_would_never_come_is_refused() {
        for (url, hint) in [
            ("http://127.0.0.1:8080", "needs https://, on this machine too"),
            ("https://push.example.org/bell", "must have none"),
        ] {
            let error = push(&service(url), None).unwrap_err().to_string();
            assert!(error.contains(hint), "{url}: {error}");
        }
    }

    #[test]
    fn all_extensions_are_in_one_switch() {
        assert_eq!(extensions(&[]).unwrap(), None);
        assert_eq!(extensions(&["/a".into(), "/b c".into()]).unwrap().unwrap(), "--load-extension=/a,/b c");
        extensions(&["/a,b".into()]).unwrap_err();
    }

    #[test]
    fn the_line_for_debians_launcher_adds_to_what_others_have_set() {
        let line = debian_flags(&service("https://push.example.org")).unwrap();
        let script = format!("CHROMIUM_FLAGS=--theirs\n{line}\nprintf '%s\\n' $CHROMIUM_FLAGS");
        let printed = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        let printed = String::from_utf8(printed.stdout).unwrap();
        let words: Vec<&str> = printed.lines().collect();
        assert_eq!(words.len(), 4);
        assert_eq!(words[..2], ["--theirs", "--gcm-checkin-url=https://push.example.org/checkin"]);
    }
}
