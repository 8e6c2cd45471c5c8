//! The push services of browsers, where their behaviour differs from the standard.

/// Who runs a push service, by the host of its endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// Chrome and Chromium (FCM).
    Google,
    /// Firefox.
    Mozilla,
    /// Safari.
    Apple,
    /// Edge (WNS).
    Microsoft,
}

/// The hosts, with everything below them.
const HOSTS: [(&str, Vendor); 6] = [
    ("fcm.googleapis.com", Vendor::Google),
    ("android.googleapis.com", Vendor::Google),
    ("jmt17.google.com", Vendor::Google),
    ("push.services.mozilla.com", Vendor::Mozilla),
    ("push.apple.com", Vendor::Apple),
    ("notify.windows.com", Vendor::Microsoft),
];

impl Vendor {
    /// The vendor with this host; `None` if it is another push service.
    pub(crate) fn of_host(host: &str) -> Option<Self> {
        let is_at =
            |name: &str| host.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'));
        HOSTS.iter().find(|(name, _)| is_at(name)).map(|(_, vendor)| *vendor)
    }

    /// Whether it rejects tokens without a real contact (`sub`).
    pub fn needs_subject(self) -> bool {
        matches!(self, Self::Mozilla | Self::Apple)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendor_is_known_by_its_hosts_and_nothing_else() {
        for (host, vendor) in [
            ("fcm.googleapis.com", Some(Vendor::Google)),
            ("updates.push.services.mozilla.com", Some(Vendor::Mozilla)),
            ("web.push.apple.com", Some(Vendor::Apple)),
            ("wns2-par02p.notify.windows.com", Some(Vendor::Microsoft)),
            ("notfcm.googleapis.com.example", None),
            ("evil-fcm.googleapis.com", None),
            ("push.example.net", None),
        ] {
            assert_eq!(Vendor::of_host(host), vendor, "{host}");
        }
    }
}
