//! What registration answers: a token, or one of the words that Chromium knows.

/// The body of the answer. Chromium looks for `Error=` first and reads everything after `token=`, so nothing may
/// follow a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RegistrationAnswer<'a> {
    /// The last segment of the endpoint's path, which must be URL-safe and not empty; status 200. To `delete` too,
    /// with any token, if the form has a sender.
    Token(&'a str),
    /// This app is unregistered: to a [`Registration::is_of_an_app_that_leaves`](super::Registration). Chromium reads
    /// everything after `deleted=`, and compares it with the app.
    Deleted(&'a str),
    /// It did not work.
    Error(ErrorWord),
}

impl RegistrationAnswer<'_> {
    /// The body, of type text/plain.
    pub fn body(&self) -> String {
        match self {
            Self::Token(token) => format!("token={token}"),
            Self::Deleted(app) => format!("deleted={app}"),
            Self::Error(word) => format!("Error={}", word.as_str()),
        }
    }
}

/// Why it did not work, in the words that Chromium looks for, whatever the status is. The page gets an AbortError
/// ("push service error") for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorWord {
    /// The form makes no sense. Final: the page's `subscribe()` fails at once.
    InvalidParameters,
    /// The sender is not one that may send. Final.
    InvalidSender,
    /// The device asked too often. Final.
    QuotaExceeded,
    /// The device has too many subscriptions. Final.
    TooManyRegistrations,
    /// The device's id and secret do not belong together. Retried up to five times, after 30 s and then ever longer;
    /// the page waits all that time.
    AuthenticationFailed,
    /// The device is not known. Retried in the same way.
    DeviceUnknown,
    /// It is our fault. Retried in the same way.
    Internal,
}

impl ErrorWord {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::InvalidParameters,
        Self::InvalidSender,
        Self::QuotaExceeded,
        Self::TooManyRegistrations,
        Self::AuthenticationFailed,
        Self::DeviceUnknown,
        Self::Internal,
    ];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidParameters => "INVALID_PARAMETERS",
            Self::InvalidSender => "INVALID_SENDER",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::TooManyRegistrations => "TOO_MANY_REGISTRATIONS",
            Self::AuthenticationFailed => "AUTHENTICATION_FAILED",
            Self::DeviceUnknown => "PHONE_REGISTRATION_ERROR",
            Self::Internal => "InternalServerError",
        }
    }

    /// Whether Chromium tries again by itself, while the page waits.
    pub const fn is_retried(self) -> bool {
        matches!(self, Self::AuthenticationFailed | Self::DeviceUnknown | Self::Internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_the_words_that_chromium_looks_for() {
        assert_eq!(RegistrationAnswer::Token("abc").body(), "token=abc");
        assert_eq!(RegistrationAnswer::Deleted("abc").body(), "deleted=abc");
        assert_eq!(RegistrationAnswer::Error(ErrorWord::QuotaExceeded).body(), "Error=QUOTA_EXCEEDED");
        // Chromium looks for each word anywhere in the answer: none may be part of another.
        for word in ErrorWord::ALL {
            assert_eq!(ErrorWord::ALL.iter().filter(|other| word.as_str().contains(other.as_str())).count(), 1);
        }
    }
}
