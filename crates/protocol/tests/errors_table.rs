//! Every error number is in the table that the push service shows to people.

#[test]
fn every_number_is_explained_in_the_table_of_errors() {
    let table = include_str!("../../../docs/errors.md");
    let numbers = include_str!("../src/problem.rs")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub const ")?.split_once(": u16 = ")?.1.strip_suffix(';'));
    let mut count = 0;
    for number in numbers {
        count += 1;
        assert!(table.contains(&format!("| <a id=\"{number}\"></a>{number} |")), "{number} is not in docs/errors.md");
    }
    assert!(count > 15);
}
