//! The house rules that a machine can check, run over every file of the tree. A broken rule prints why it exists, and each
//! rule is shown to catch a planted violation.

mod allows;
mod commits;
mod documents;
mod expects;
mod files;
mod fuzzing;
mod imports;
mod layers;
mod layout;
mod published;
mod released;
mod sources;
mod spec_map;
mod words;

use std::process::Command;

use files::{File, tracked};

/// A broken rule: where, and why the rule exists.
type Violation = String;

fn assert_none(violations: Vec<Violation>) {
    assert!(violations.is_empty(), "{} house rules are broken:\n  {}\n", violations.len(), violations.join("\n  "));
}

/// Applies `rule` to every tracked file.
fn over_the_tree(rule: impl Fn(&File) -> Vec<Violation>) {
    let files = tracked();
    assert!(files.len() > 20, "the list of tracked files is not empty");
    assert_none(files.iter().flat_map(rule).collect());
}

#[test]
fn crates_import_each_other_in_one_direction_only() {
    over_the_tree(imports::direction);
}

#[test]
fn the_folders_of_the_service_use_those_below_them() {
    over_the_tree(layers::service);
}

#[test]
fn test_oracles_are_dev_dependencies_only() {
    over_the_tree(imports::oracles);
}

#[test]
fn no_crate_is_called_common_or_util() {
    over_the_tree(imports::names);
}

#[test]
fn the_rules_do_no_io_and_read_no_clock() {
    over_the_tree(words::pure);
}

#[test]
fn the_service_cannot_open_a_message() {
    over_the_tree(words::sealed);
}

#[test]
fn doors_talk_to_the_hub_and_to_nothing_else() {
    over_the_tree(words::doors);
}

#[test]
fn notes_to_self_carry_their_reason() {
    over_the_tree(words::notes);
}

#[test]
fn no_file_names_a_registry_or_a_machine() {
    over_the_tree(words::places);
}

#[test]
fn the_documentation_of_a_published_library_stands_alone() {
    over_the_tree(published::stands_alone);
}

#[test]
fn every_source_file_opens_with_its_purpose() {
    over_the_tree(sources::opening);
}

#[test]
fn no_source_file_outgrows_one_idea() {
    over_the_tree(sources::length);
}

#[test]
fn every_expect_states_its_reason() {
    over_the_tree(expects::reasons);
}

#[test]
fn no_attribute_allows_what_no_lint_forbids() {
    over_the_tree(allows::dead);
}

#[test]
fn words_and_assertions_keep_their_budgets() {
    let xtask = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["words", "--check"]).output().expect("xtask runs");
    assert!(xtask.status.success(), "{}", String::from_utf8_lossy(&xtask.stderr));
}

#[test]
fn modules_and_imports_have_one_layout() {
    assert_none(layout::modules(&tracked()));
    over_the_tree(layout::uses);
}

#[test]
fn commit_subjects_fit_in_a_list() {
    match commits::subjects() {
        Some(commits) => assert_none(commits::short(&commits)),
        None => eprintln!("NOT CHECKED: this clone does not reach back to the commit in subjects_since.txt"),
    }
}

#[test]
fn the_documents_name_paths_that_exist() {
    assert_none(documents::paths(&tracked()));
}

#[test]
fn the_service_knows_the_time_of_the_newest_release() {
    assert_none(released::is_fresh(&tracked()));
}

#[test]
fn every_fuzz_target_is_built_and_seeded() {
    assert_none(fuzzing::check(&tracked()));
}

#[test]
fn the_spec_map_names_tests_that_exist() {
    let files = tracked();
    let map = files.iter().find(|file| file.path == "docs/spec-map.md").expect("docs/spec-map.md");
    assert_none(spec_map::check(map, &files));
    assert_none(spec_map::check_complete(map));
}
