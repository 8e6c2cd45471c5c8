//! The results: figures, remarks on how far they can be trusted, and faults of the service; as a table and as JSON.

use serde_json::{Map, Value, json};

/// The results of one run of a scenario.
#[derive(Default)]
pub(super) struct Findings {
    figures: Vec<Figure>,
    /// What a reader should know before believing the figures.
    pub(super) remarks: Vec<String>,
    /// What no push service may do.
    pub(super) faults: Vec<String>,
}

/// One number.
struct Figure {
    /// Its name in JSON; it ends with the unit if it has one.
    key: &'static str,
    /// What it is, and in which unit.
    words: &'static str,
    value: f64,
}

impl Findings {
    /// Adds a number. `words` describe it, with its unit.
    pub(super) fn figure(&mut self, key: &'static str, words: &'static str, value: f64) {
        debug_assert!(value.is_finite(), "{key} is a number, also where nothing was measured");
        self.figures.push(Figure { key, words, value });
    }

    /// The number with this name, which must have been added.
    pub(super) fn value(&self, key: &str) -> f64 {
        self.find(key).expect("a figure is added before it is read")
    }

    fn find(&self, key: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.key == key).map(|figure| figure.value)
    }
}

/// The results of all runs of one scenario.
pub struct Report {
    pub(super) scenario: String,
    /// The options, as far as they decide what was measured.
    pub(super) settings: Value,
    pub(super) runs: Vec<Findings>,
}

impl Report {
    /// Whether the service lost nothing, sent nothing twice and delivered nothing late.
    pub fn is_faultless(&self) -> bool {
        self.runs.iter().all(|run| run.faults.is_empty())
    }

    /// For people: of several runs the median, and the least and the most in brackets.
    pub fn table(&self) -> String {
        let mut table = format!("{}: {}\n", self.scenario, self.settings_in_words());
        for (words, values) in self.columns() {
            let spread = match values.as_slice() {
                [least, .., most] => format!("  [{} to {}]", shown(*least), shown(*most)),
                _ => String::new(),
            };
            table += &format!("{:>14}  {words}{spread}\n", shown(median(&values)));
        }
        for run in &self.runs {
            for (kind, lines) in [("note", &run.remarks), ("FAULT", &run.faults)] {
                for line in lines {
                    table += &format!("{kind}: {line}\n");
                }
            }
        }
        table
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let figures =
            |run: &Findings| run.figures.iter().map(|f| (f.key.to_owned(), json!(f.value))).collect::<Map<_, _>>();
        let run = |run: &Findings| json!({"figures": figures(run), "notes": run.remarks, "faults": run.faults});
        let runs: Vec<Value> = self.runs.iter().map(run).collect();
        json!({"scenario": self.scenario, "settings": self.settings, "runs": runs})
    }

    fn settings_in_words(&self) -> String {
        let given = self.settings.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        let words = given.map(|(name, value)| match value {
            Value::String(text) => format!("{name} {text}"),
            other => format!("{name} {other}"),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    /// Each figure with its values, the least first.
    fn columns(&self) -> Vec<(&'static str, Vec<f64>)> {
        let Some(first) = self.runs.first() else { return Vec::new() };
        let values = |figure: &Figure| {
            let mut values: Vec<f64> = self.runs.iter().filter_map(|run| run.find(figure.key)).collect();
            values.sort_by(f64::total_cmp);
            (figure.words, values)
        };
        first.figures.iter().map(values).collect()
    }
}

/// The middle of sorted values; of two middle ones the lesser.
fn median(values: &[f64]) -> f64 {
    debug_assert!(!values.is_empty(), "a figure has a value in the run that it comes from");
    values[(values.len() - 1) / 2]
}

/// Three digits and more: whole numbers from a hundred on, with commas.
fn shown(value: f64) -> String {
    let size = value.abs();
    if size < 100.0 && value.fract() == 0.0 {
        return format!("{value:.0}");
    }
    if size < 0.1 {
        return format!("{value:.4}");
    }
    if size < 10.0 {
        return format!("{value:.2}");
    }
    if size < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{size:.0}");
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_with_three_digits_or_as_whole_numbers() {
        let pairs = [(0.0, "0"), (24.0, "24"), (0.0321, "0.0321"), (4.567, "4.57"), (45.67, "45.7"), (4567.8, "4,568")];
        for (value, text) in pairs.into_iter().chain([(1_234_567.0, "1,234,567"), (-1234.0, "-1,234")]) {
            assert_eq!(shown(value), text);
        }
    }

    #[test]
    fn several_runs_give_their_median_and_their_ends() {
        let run = |value: f64| {
            let mut findings = Findings::default();
            findings.figure("rate_per_s", "messages accepted a second", value);
            findings
        };
        let runs = vec![run(30.0), run(10.0), run(20.0)];
        let mut report = Report { scenario: "connected".to_owned(), settings: json!({}), runs };
        assert!(report.table().contains("20  messages accepted a second  [10 to 30]"), "{}", report.table());
        assert!((report.json()["runs"][1]["figures"]["rate_per_s"].as_f64().unwrap() - 10.0).abs() < f64::EPSILON);
        assert!(report.is_faultless());
        report.runs[2].faults.push("3 messages were lost".to_owned());
        assert!(!report.is_faultless() && report.table().contains("FAULT: 3 messages were lost"));
    }
}
