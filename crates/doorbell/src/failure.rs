//! Errors as a user reads them: one line, each cause once.

use anyhow::Error;

/// The error and its causes. Many errors name their cause in a sentence of their own; it is not repeated.
pub(crate) fn line(error: &Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        let cause = cause.trim();
        if line.is_empty() {
            line.push_str(cause);
        } else if !line.contains(cause) {
            line.push_str(": ");
            line.push_str(cause);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_printed_once_wherever_an_outer_error_names_it() {
        let error = |outer: &'static str| line(&Error::msg("in use (os error 98)").context(outer));
        assert_eq!(error("cannot listen"), "cannot listen: in use (os error 98)");
        assert_eq!(
            error("cannot listen: in use (os error 98); stop it"),
            "cannot listen: in use (os error 98); stop it"
        );
        assert_eq!(line(&Error::msg("one line\n")), "one line");
    }
}
