//! The words that are counted, the columns of the table, and the budgets.

use super::count::Counts;

/// A family of words, in every form.
pub(super) struct Family {
    /// Its column.
    pub(super) name: &'static str,
    pub(super) words: &'static [&'static str],
}

/// Where the word stands for what a machine does, the field has another: send, receive, return, report.
pub(super) const SPEECH: Family = Family {
    name: "hear/say",
    words: &[
        "hear", "hears", "heard", "hearing", "say", "says", "said", "saying", "tell", "tells", "told", "telling",
        "speak", "speaks", "spoke", "spoken", "speaking",
    ],
};
/// The client, the sender, no client.
pub(super) const PEOPLE: Family = Family { name: "nobody", words: &["whoever", "nobody", "somebody"] };
/// Bytes, outside a quotation of an RFC.
pub(super) const EIGHT_BITS: Family = Family { name: "octet", words: &["octet", "octets"] };
pub(super) const BYTE: Family = Family { name: "byte", words: &["byte", "bytes"] };
pub(super) const ERROR: Family =
    Family { name: "error", words: &["error", "errors", "fail", "fails", "failed", "failing", "failure", "failures"] };

/// All families, in the order of [`Counts::families`].
pub(super) const FAMILIES: [&Family; 5] = [&SPEECH, &PEOPLE, &EIGHT_BITS, &BYTE, &ERROR];

/// Expressions that readers look up, each with what to write.
pub(super) const PHRASES: &[(&str, &str)] = &[
    ("for ever", "forever"),
    ("all the same", "still"),
    ("at hand", "available"),
    ("of no use", "useless"),
    ("mend", "fix"),
    ("mends", "fixes"),
    ("mended", "fixed"),
    ("haste", "priority"),
];

/// A column of the table.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) shown: fn(&Counts) -> String,
}

pub(super) const COLUMNS: [Column; 11] = [
    Column { name: "words", shown: |counts| counts.words.to_string() },
    Column { name: SPEECH.name, shown: |counts| tenths(counts.share(0)) },
    Column { name: PEOPLE.name, shown: |counts| tenths(counts.share(1)) },
    Column { name: EIGHT_BITS.name, shown: |counts| tenths(counts.share(2)) },
    Column { name: BYTE.name, shown: |counts| tenths(counts.share(3)) },
    Column { name: ERROR.name, shown: |counts| tenths(counts.share(4)) },
    Column { name: "phrases", shown: |counts| counts.phrases.to_string() },
    Column { name: "in names", shown: |counts| counts.old_names.to_string() },
    Column { name: "lines", shown: |counts| counts.lines.to_string() },
    Column { name: "asserts", shown: |counts| tenths(counts.per_line(counts.assertions)) },
    Column { name: "unwrap_or", shown: |counts| tenths(counts.per_line(counts.fallbacks)) },
];

/// A bound, and the rule that it is.
pub(super) struct Budget {
    pub(super) rule: &'static str,
    pub(super) kept: fn(&Counts) -> bool,
}

pub(super) const BUDGETS: [Budget; 6] = [
    Budget {
        rule: "hear, say, tell and speak are under 5 in 10,000 comment words: send, receive, return, report",
        kept: |counts| counts.share(0) < 5.0,
    },
    Budget {
        rule: "octet is under 2 in 10,000 comment words: byte (a quotation of an RFC stands in lines with `>`)",
        kept: |counts| counts.share(2) < 2.0,
    },
    Budget { rule: "no name in the code has an octet: byte", kept: |counts| counts.old_names == 0 },
    Budget { rule: "no comment has a phrase of the list", kept: |counts| counts.phrases == 0 },
    Budget {
        rule: "there is at least 1 assertion (`assert!`, `expect` with its reason) in 1,000 lines of code",
        kept: |counts| counts.per_line(counts.assertions) >= 1.0,
    },
    Budget {
        rule: "there are at most 4 `unwrap_or*` in 1,000 lines of code: a fallback hides a broken invariant",
        kept: |counts| counts.per_line(counts.fallbacks) <= 4.0,
    },
];

fn tenths(share: f64) -> String {
    format!("{share:.1}")
}
