//! The plan: cells are added and never lost, moved or swapped.

use std::fs;
use std::path::Path;

use doorbell_protocol::id::{AgentId, Mint};
use doorbell_protocol::time::UnixMs;
use doorbell_store::Store;

use super::{open, plan_file, refusal, try_open};
use crate::bed::{NOON, minutes};

async fn make_agents(store: &Store, mint: &Mint, now: UnixMs, count: usize) -> Vec<AgentId> {
    let mut agents = Vec::with_capacity(count);
    for _ in 0..count {
        let agent = AgentId::from_raw(mint.next(now));
        store.create_agent(agent, NOON).await.unwrap();
        agents.push(agent);
    }
    agents
}

async fn all_exist(store: &Store, agents: &[AgentId]) -> bool {
    for agent in agents {
        if store.agent_exists(*agent).await != Ok(true) {
            return false;
        }
    }
    true
}

fn agents_by_cell(store: &Store) -> Vec<u64> {
    store.cell_figures().map(|cell| cell.contents.agents).collect()
}

#[tokio::test]
async fn a_cell_that_is_added_moves_no_agent_and_gets_new_ones_from_a_minute_later_on() {
    let dir = tempfile::tempdir().unwrap();
    let mint = Mint::new(0, 0);
    let store = open(dir.path(), &[]);
    let old = make_agents(&store, &mint, NOON, 40).await;
    store.close().await.unwrap();
    assert!(!plan_file(dir.path()).exists(), "one cell needs none");

    let store = open(dir.path(), &["disk2"]);
    assert!(all_exist(&store, &old).await);
    let soon = make_agents(&store, &mint, NOON, 10).await;
    assert_eq!(agents_by_cell(&store), [50, 0]);
    let late = make_agents(&store, &mint, minutes(2), 40).await;
    let counts = agents_by_cell(&store);
    assert!(counts[0] > 50 && counts[1] > 5, "{counts:?}");
    store.close().await.unwrap();

    let store = open(dir.path(), &["disk2", "disk3"]);
    assert_eq!(agents_by_cell(&store)[..2], counts, "nobody has moved");
    for agents in [&old, &soon, &late] {
        assert!(all_exist(&store, agents).await);
    }
    let later = make_agents(&store, &mint, minutes(10), 60).await;
    assert!(all_exist(&store, &later).await);
    assert!(agents_by_cell(&store).iter().all(|count| *count > 5), "{:?}", agents_by_cell(&store));
    let greatest = store.greatest_id();
    store.close().await.unwrap();
    let store = open(dir.path(), &["disk2", "disk3"]);
    assert_eq!(store.greatest_id(), later.iter().map(|agent| agent.raw()).max().unwrap());
    assert!(greatest <= store.greatest_id());
    let saved = fs::read_to_string(plan_file(dir.path())).unwrap();
    assert_eq!(saved.lines().filter(|line| line.starts_with("since ")).count(), 3, "{saved}");
}

#[tokio::test]
async fn a_new_store_uses_all_its_cells_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &["disk2"]);
    make_agents(&store, &Mint::new(0, 0), NOON, 40).await;
    assert!(agents_by_cell(&store).iter().all(|count| *count > 5), "{:?}", agents_by_cell(&store));
}

/// A store with agents in three cells, closed.
async fn three(dir: &Path) {
    let store = open(dir, &["disk2", "disk3"]);
    make_agents(&store, &Mint::new(0, 0), NOON, 30).await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_cell_that_is_left_out_moved_or_swapped_is_refused_with_what_to_do_and_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    three(at).await;
    let before = fs::read(plan_file(at)).unwrap();
    for (others, said) in [
        (&[] as &[&str], "add to `cells`, at the end: "),
        (&["disk2"], "at the end: "),
        (&["disk3", "disk2"], "name them in their order, which is "),
        (&["disk2", "disk4"], "disk4 holds no cell, and cell 3 was "),
        (&["disk4", "disk2", "disk3"], "disk4 holds no cell, and cell 2 was "),
    ] {
        let text = refusal(at, others);
        assert!(text.contains(said), "{others:?}: {text}");
    }
    assert!(!at.join("disk4").exists(), "nothing is made in the place of a cell that is missing");

    let elsewhere = tempfile::tempdir().unwrap();
    three(elsewhere.path()).await;
    fs::rename(at.join("disk2"), at.join("kept")).unwrap();
    fs::rename(elsewhere.path().join("disk2"), at.join("disk2")).unwrap();
    let text = refusal(at, &["disk2", "disk3"]);
    assert!(text.contains("is another cell than cell 2, which was ") && text.contains("name that one again"), "{text}");
    let text = refusal(at, &["kept", "disk3", "disk2"]);
    assert!(text.contains("holds agents already") && text.contains("name an empty one"), "{text}");
    assert_eq!(fs::read(plan_file(at)).unwrap(), before);

    open(at, &["kept", "disk3"]).close().await.unwrap();
    let after = fs::read_to_string(plan_file(at)).unwrap();
    assert!(after.contains("kept"), "a cell may have another name: {after}");
}

#[tokio::test]
async fn a_start_that_ended_before_the_plan_was_saved_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    three(dir.path()).await;
    let store = open(dir.path(), &["disk2", "disk3", "disk4"]);
    let counts = agents_by_cell(&store);
    store.close().await.unwrap();
    // As if the power had gone after the first start with the fourth cell had given it its id.
    let saved = tempfile::tempdir().unwrap();
    three(saved.path()).await;
    fs::create_dir(saved.path().join("disk4")).unwrap();
    fs::copy(dir.path().join("disk4/cell.id"), saved.path().join("disk4/cell.id")).unwrap();
    let store = open(saved.path(), &["disk2", "disk3", "disk4"]);
    assert_eq!(agents_by_cell(&store), counts);
}

#[tokio::test]
async fn a_damaged_plan_is_refused_also_by_a_start_without_further_cells() {
    let dir = tempfile::tempdir().unwrap();
    three(dir.path()).await;
    fs::write(plan_file(dir.path()), "doorbell cells 1\n").unwrap();
    for others in [&[] as &[&str], &["disk2", "disk3"]] {
        let error = try_open(dir.path(), others).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("bring it back from a backup"), "{error}");
    }
}

fn remove_store(dir: &Path) {
    for name in ["doorbell.db", "doorbell.db-wal", "doorbell.db-shm"] {
        fs::remove_file(dir.join(name)).ok();
    }
}

#[tokio::test]
async fn files_that_were_restored_to_the_wrong_cell_or_not_at_all_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    three(at).await;
    let file = |cell: &str| at.join(cell).join("doorbell.db");
    // Each directory keeps its cell.id, as after a restore of the databases alone.
    fs::rename(file("disk2"), at.join("kept")).unwrap();
    fs::rename(file("disk3"), file("disk2")).unwrap();
    fs::rename(at.join("kept"), file("disk3")).unwrap();
    let text = refusal(at, &["disk2", "disk3"]);
    assert!(
        text.contains("is cell 2 and has the agents of cell 3") && text.contains("bring each doorbell.db"),
        "{text}"
    );

    remove_store(&at.join("disk2"));
    let text = refusal(at, &["disk2", "disk3"]);
    assert!(text.contains("cell 2 (") && text.contains("has no doorbell.db any more"), "{text}");
    assert!(!file("disk2").exists(), "no empty one is made");
    remove_store(at);
    let text = refusal(at, &["disk2", "disk3"]);
    assert!(text.contains("cell 1 (") && text.contains("bring it back from a backup"), "{text}");
}

#[tokio::test]
async fn a_store_whose_plan_is_missing_is_refused_with_and_without_its_further_cells() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    three(at).await;
    fs::remove_file(plan_file(at)).unwrap();
    let text = refusal(at, &[]);
    assert!(text.contains("cells.plan is missing") && text.contains("bring it back from a backup"), "{text}");
    let text = refusal(at, &["disk2", "disk3"]);
    assert!(text.contains("bring cells.plan back from a backup"), "{text}");
}

#[tokio::test]
async fn a_copy_of_a_cell_and_a_damaged_id_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    open(at, &["disk2"]).close().await.unwrap();
    fs::create_dir(at.join("disk3")).unwrap();
    fs::copy(at.join("disk2/cell.id"), at.join("disk3/cell.id")).unwrap();
    let text = refusal(at, &["disk2", "disk3"]);
    assert!(text.contains("disk3 is a copy of") && text.contains("name an empty one"), "{text}");
    fs::write(at.join("disk3/cell.id"), "two words\n").unwrap();
    let text = refusal(at, &["disk2", "disk3"]);
    assert!(text.contains("cell.id is damaged"), "{text}");
}
