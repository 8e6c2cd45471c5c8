//! Several hosts, and what is looked at again on the one that takes writes now.

use std::net::TcpListener;

use doorbell_protocol::id::AgentId;
use doorbell_store::{Limits, PostgresOptions, StoreError};

use super::lost::{until, until_ok};
use super::opened;
use super::server::{Databases, Server, database};
use crate::bed::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_first_host_that_hangs_does_not_keep_the_store_from_the_second() {
    let Some(server) = Server::start("") else { return };
    let direct = server.fresh();
    // The system takes connections for it, and nothing answers them.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let hosts = format!("{},{}", hanging.local_addr().unwrap(), server.host());
    let name = database(&direct);
    let url = format!("postgres://doorbell:correct%20horse@{hosts}/{name}?connect_timeout=1");
    let store = opened(&PostgresOptions { url, ..direct }, Limits::default());
    populate(&store).await;
    store.append(news(101)).await.unwrap();
    server.kill();
    assert!(matches!(store.append(news(102)).await, Err(StoreError::Unavailable | StoreError::Unknown)));
    server.go();
    // Also after the long outage, when callers wait less for a connection than the first host takes.
    until_ok("a commit", async || store.create_agent(AgentId::from_raw(50), NOON).await).await;
    until_ok("a read", async || store.pending(ALICE, None, 10, NOON).await).await;
    assert_eq!(waiting(&store, ALICE, NOON).await, [101]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_at_a_server_that_has_no_standbys_any_more_is_not_confirmed() {
    let Some(server) = Server::start("") else { return };
    let Some(_standby) = Server::standby_of(&server) else { return };
    let standbys = async |names: &str| {
        server.sql("postgres", &format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"));
        server.sql("postgres", "SELECT pg_reload_conf()");
        until("the setting", || server.sql("postgres", "SHOW synchronous_standby_names") == names).await;
    };
    standbys("ANY 1 (*)").await;
    let options = PostgresOptions { allow_single_copy: false, ..server.fresh() };
    let store = opened(&options, Limits::default());
    populate(&store).await;
    store.append(news(101)).await.unwrap();
    standbys("").await;
    // On the connection that is there, and on a new one.
    assert_eq!(store.append(news(102)).await, Err(StoreError::Unknown));
    assert_eq!(store.append(news(103)).await, Err(StoreError::Unavailable));
    standbys("ANY 1 (*)").await;
    until_ok("a commit", async || store.append(news(104)).await).await;
    assert_eq!(waiting(&store, ALICE, NOON).await, [101, 102, 104], "and the first was written after all");
}
