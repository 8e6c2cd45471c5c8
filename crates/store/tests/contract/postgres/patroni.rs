//! Failover: three servers under Patroni with quorum commit, whose primary is killed under load.

use doorbell_postgres_server::Patroni;
use doorbell_store::PostgresOptions;

use super::ledger::Ledger;
use super::lost::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_killed_is_replaced_and_nothing_that_was_accepted_is_lost() {
    let Some(servers) = tokio::task::block_in_place(Patroni::start) else { return };
    let rounds = std::env::var("DOORBELL_FAILOVERS").map_or(1, |rounds| rounds.parse().unwrap());
    let primary = servers.primary().expect("there is a quorum");
    servers.sql(primary, "postgres", "CREATE DATABASE push").unwrap();
    let options = PostgresOptions { url: servers.url("push"), password: None, allow_single_copy: false, cluster: None };
    let ledger = Ledger::start(&options).await;
    let more = || {
        let before = ledger.count(|answers| answers.stored.len());
        let ledger = &ledger;
        async move { until("more messages", || ledger.count(|answers| answers.stored.len()) > before + 500).await }
    };
    for round in 0..rounds {
        more().await;
        let old = tokio::task::block_in_place(|| servers.wait_for_quorum());
        // Every third time the machine is lost, and the lease must end first.
        let all = round % 3 == 2;
        servers.kill(old, all);
        until("another primary", || servers.primary().is_some_and(|new| new != old)).await;
        more().await;
        if all {
            servers.run_patroni(old);
        }
    }
    let judge = |text: &str| servers.sql(servers.primary().expect("the last one"), "push", text).unwrap();
    let answers = ledger.judge(judge).await;
    println!(
        "{rounds} primaries killed: {} accepted, none lost; {} unanswered, {} refused; {:?}",
        answers.stored.len(),
        answers.unknown.len(),
        answers.refused.len(),
        answers.counted.resolved,
    );
}
