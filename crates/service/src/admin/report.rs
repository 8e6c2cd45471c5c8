//! The readiness as text: one line for each condition, and one below it with what to do.

use std::fmt::Write;

use crate::status::Readiness;

/// The lines, in the form of `doorbell doctor`.
pub(super) fn text(readiness: &Readiness) -> String {
    let mut text = String::new();
    for condition in &readiness.conditions {
        let word = if condition.ok { "ok" } else { "FAILED" };
        line(&mut text, format_args!("{word:<8} {:<12} {}", condition.name, condition.message));
        if let Some(hint) = &condition.hint {
            let word = if condition.ok { "hint" } else { "fix" };
            line(&mut text, format_args!("{:<21} {word}: {hint}", ""));
        }
    }
    line(&mut text, format_args!("{}", if readiness.is_ready { "ready" } else { "not ready" }));
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes any text");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Condition;

    #[test]
    fn each_condition_has_a_line_and_what_to_do_stands_below_it() {
        let conditions = vec![
            Condition::holds("store", "a commit succeeded"),
            Condition::fails("disk", "1 MiB are free", "free some room"),
        ];
        let expected = "ok       store        a commit succeeded\n\
                        FAILED   disk         1 MiB are free\n                      fix: free some room\nnot ready\n";
        assert_eq!(text(&Readiness::of(conditions)), expected);
    }
}
