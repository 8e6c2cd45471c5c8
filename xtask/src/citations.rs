//! Which requirements a test cites: in its name (`…_ps_8030_5_2_1_and_5_2_2`), in the comment above it, or in its body.

/// The families of IDs, as they are written; in names they are lower-case, with `_` for `-` and `.`.
const FAMILIES: &[&str] = &[
    "PS-8030-",
    "PS-8292-",
    "AS-8030-",
    "AS-8291-",
    "AS-8292-",
    "UA-8030-",
    "UA-8291-",
    "UA-8188-",
    "CR-8188-",
    "CR-8291-",
    "CR-aesgcm-",
    "CR-X-",
    "AS-SSRF-",
    "FX-",
];

/// A test and the IDs that it cites.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Citation {
    pub(crate) test: String,
    pub(crate) ids: Vec<String>,
}

/// Every test in the source text that cites one of `known`.
pub(crate) fn citations(source: &str, known: &[String]) -> Vec<Citation> {
    let mut found = Vec::new();
    let mut comment = String::new();
    let mut is_test = false;
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        if code.starts_with("//") {
            comment.push_str(line);
        } else if code.starts_with("#[") {
            is_test |= code.starts_with("#[test]") || code.starts_with("#[tokio::test");
        } else {
            if let Some(test) = function(code).filter(|_| is_test) {
                let close = format!("{}}}", &line[..line.len() - code.len()]);
                let body: String = lines.by_ref().take_while(|line| *line != close).collect();
                let mut ids = in_name(test, known);
                ids.extend(in_text(&comment, known).chain(in_text(&body, known)));
                ids.sort();
                ids.dedup();
                found.push(Citation { test: test.to_owned(), ids });
            }
            is_test = false;
            comment.clear();
        }
    }
    found.retain(|citation| !citation.ids.is_empty());
    found
}

fn function(code: &str) -> Option<&str> {
    let name = code.strip_prefix("async ").unwrap_or(code).strip_prefix("fn ")?;
    name.split('(').next()
}

/// IDs in a name: a family once, then numbers, which `and` lists and `to` spans.
fn in_name(name: &str, known: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for family in FAMILIES {
        let word = format!("_{}", lower(family));
        for part in name.split(&word).skip(1) {
            let end = FAMILIES.iter().filter_map(|other| part.find(&format!("_{}", lower(other)))).min();
            for piece in part[..end.unwrap_or(part.len())].split("_and_") {
                let (first, last) = piece.split_once("_to_").unwrap_or((piece, piece));
                let place = |number: &str| known.iter().position(|id| lower(id) == lower(family) + number);
                if let (Some(first), Some(last)) = (place(first), place(last)) {
                    found.extend(known.get(first..=last).unwrap_or_default().iter().cloned());
                }
            }
        }
    }
    found
}

/// IDs in running text, as they are written.
fn in_text<'a>(text: &'a str, known: &'a [String]) -> impl Iterator<Item = String> + 'a {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let words = text.split(move |c| !is_part(c)).map(|word| word.trim_end_matches(['.', '-']));
    words.filter(|word| known.iter().any(|id| id == word)).map(str::to_owned)
}

fn lower(id: &str) -> String {
    id.to_ascii_lowercase().replace(['-', '.'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
#[test]
fn a_missing_ttl_is_refused_ps_8030_5_2_1() {
    assert!(true);
}

/// CR-8291-E
#[tokio::test]
async fn many_ps_8030_5_2_1_to_5_2_3_and_5_4_1_cr_8291_e() {
    assert_eq!(1, 1, "PS-8030-2-1: once");
}

fn helper_ps_8030_5_2_2() {}
"#;

    #[test]
    fn names_comments_and_bodies_are_read_and_helpers_are_not() {
        let known = ["PS-8030-2-1", "PS-8030-5.2-1", "PS-8030-5.2-2", "PS-8030-5.2-3", "PS-8030-5.4-1", "CR-8291-E"];
        let known = known.map(str::to_owned);
        let found = citations(SOURCE, &known);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].ids, ["PS-8030-5.2-1"]);
        let all = ["CR-8291-E", "PS-8030-2-1", "PS-8030-5.2-1", "PS-8030-5.2-2", "PS-8030-5.2-3", "PS-8030-5.4-1"];
        assert_eq!(found[1].ids, all);
    }
}
