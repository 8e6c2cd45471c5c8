//! Databases that are not fit, each refused at the start with one line that says what to do.

use doorbell_store::{Cluster, Limits, Migration, OpenError, PostgresEngine, PostgresOptions};

use super::server::{Databases, PASSWORD, Server, database, shared};

fn refusal(options: &PostgresOptions) -> String {
    match PostgresEngine::open(options, Limits::default()) {
        Ok(_) => panic!("it was opened"),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains('\n') && !text.contains(PASSWORD), "{text}");
            text
        }
    }
}

fn at(url: String) -> PostgresOptions {
    PostgresOptions { url, password: None, allow_single_copy: true, cluster: None }
}

#[test]
fn a_server_that_does_not_answer_or_does_not_know_the_user_is_refused() {
    let Some(server) = shared() else { return };
    let host = server.host();
    for (url, text) in [
        (format!("postgres://doorbell:wrong@{host}/postgres"), "give the right password"),
        (format!("postgres://nobody:wrong@{host}/postgres"), "give the right password"),
        (format!("postgres://doorbell:correct%20horse@{host}/nothing"), "create it with createdb"),
        (format!("postgres://doorbell@{host}/postgres"), "give --database-password-file"),
        (
            format!("postgres://doorbell:correct%20horse@{host}/postgres?sslmode=verify-full"),
            "server does not support TLS",
        ),
        ("postgres://doorbell@127.0.0.1:1/postgres".into(), "start the server"),
        ("mysql://doorbell@127.0.0.1/postgres".into(), "write it as postgres://"),
    ] {
        let refused = refusal(&at(url));
        assert!(refused.contains(text), "{refused}");
    }
}

#[test]
fn a_database_that_is_not_ours_or_of_another_service_is_refused_and_left_alone() {
    let Some(server) = shared() else { return };
    let foreign = server.fresh();
    server.sql(database(&foreign), "CREATE TABLE orders (id int)");
    assert!(refusal(&foreign).contains("give doorbell a database of its own"));
    assert_eq!(server.sql(database(&foreign), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "1");

    let ours = server.fresh();
    let cluster = PostgresEngine::open(&ours, Limits::default()).unwrap().cluster().to_owned();
    for expected in [Cluster::Bound(cluster.clone()), Cluster::New(cluster)] {
        let expected = PostgresOptions { cluster: Some(expected), ..ours.clone() };
        drop(PostgresEngine::open(&expected, Limits::default()).unwrap());
    }
    let refused = refusal(&PostgresOptions { cluster: Some(Cluster::Bound("0".into())), ..ours.clone() });
    assert!(refused.contains("belongs to another service"), "{refused}");
    let refused = refusal(&PostgresOptions { cluster: Some(Cluster::New("0".into())), ..ours });
    assert!(refused.contains("a service with another state directory"), "{refused}");
}

#[test]
fn an_empty_database_is_refused_where_a_service_has_one_and_gets_no_tables() {
    let Some(server) = shared() else { return };
    let empty = PostgresOptions { cluster: Some(Cluster::Bound("0".into())), ..server.fresh() };
    assert!(refusal(&empty).contains("name the database of the service"));
    assert_eq!(server.sql(database(&empty), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
    let identity = PostgresEngine::identify(&empty).unwrap();
    assert!(identity.cluster.is_none() && identity.database.contains(database(&empty)), "{identity:?}");
    Migration::Expand.run(&empty).unwrap();
    assert!(refusal(&empty).contains("it is new, and this service has a database already"));
}

#[test]
fn a_newer_an_older_and_a_damaged_schema_are_refused() {
    let Some(server) = shared() else { return };
    for (change, text) in [
        (
            "UPDATE cluster SET schema = 9, schema_min = 9",
            "has schema 9 and this version of doorbell uses schemas up to 1",
        ),
        ("UPDATE cluster SET schema = 0, schema_min = 0", "run `doorbell migrate --database URL`"),
        ("DELETE FROM cluster", "restore it from a backup"),
        ("ALTER TABLE message DROP COLUMN urgency", "restore it from a backup"),
    ] {
        let options = server.fresh();
        drop(PostgresEngine::open(&options, Limits::default()).unwrap());
        server.sql(database(&options), change);
        let refused = refusal(&options);
        assert!(refused.contains(text), "{change}: {refused}");
    }
    let expanded = server.fresh();
    drop(PostgresEngine::open(&expanded, Limits::default()).unwrap());
    server.sql(database(&expanded), "UPDATE cluster SET schema = 2");
    drop(PostgresEngine::open(&expanded, Limits::default()).unwrap());
}

#[test]
fn a_server_that_may_forget_is_refused() {
    let Some(server) = shared() else { return };
    let single = PostgresOptions { allow_single_copy: false, ..server.fresh() };
    let refused = refusal(&single);
    assert!(
        refused.contains("synchronous_standby_names is empty") && refused.contains("--allow-single-copy"),
        "{refused}"
    );
    for (option, text) in [("-c fsync=off", "set fsync = on"), ("-c full_page_writes=off", "set full_page_writes = on")]
    {
        let Some(careless) = Server::start(option) else { return };
        let refused = refusal(&careless.options("postgres"));
        assert!(refused.contains(text), "{refused}");
    }
}

#[test]
fn a_server_whose_standbys_are_down_is_refused() {
    let Some(server) = Server::start("-c synchronous_standby_names=absent") else { return };
    let refused = refusal(&PostgresOptions { allow_single_copy: false, ..server.options("postgres") });
    assert!(refused.contains("start the standbys"), "{refused}");
}

#[test]
fn a_database_with_a_locked_table_is_refused() {
    let Some(server) = shared() else { return };
    let options = server.fresh();
    drop(PostgresEngine::open(&options, Limits::default()).unwrap());
    let (name, mut refused) = (database(&options), String::new());
    std::thread::scope(|scope| {
        scope.spawn(|| server.sql(name, "BEGIN; LOCK TABLE node; SELECT pg_sleep(4); COMMIT"));
        let is_locked = "SELECT count(*) FROM pg_locks WHERE relation = 'node'::regclass AND granted \
            AND mode = 'AccessExclusiveLock'";
        while server.sql(name, is_locked) != "1" {
            std::thread::yield_now();
        }
        refused = refusal(&options);
    });
    assert!(refused.contains("another session holds a lock"), "{refused}");
}

#[test]
fn a_standby_is_refused() {
    let Some(primary) = Server::start("") else { return };
    let options = primary.fresh();
    drop(PostgresEngine::open(&options, Limits::default()).unwrap());
    let Some(standby) = Server::standby_of(&primary) else { return };
    let refused = refusal(&standby.options(database(&options)));
    assert!(refused.contains("it is a standby"), "{refused}");
    let error = PostgresEngine::open(&standby.options("postgres"), Limits::default()).err();
    assert!(matches!(error, Some(OpenError::Database { .. })), "{error:?}");
}

#[test]
fn a_server_whose_certificate_does_not_verify_is_refused() {
    let Some((server, certificate)) = Server::with_tls() else { return };
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root.pem");
    std::fs::write(&root, certificate).unwrap();
    let url = |host: &str, options: &str| {
        at(format!("postgres://doorbell:correct%20horse@{host}:{}/postgres?{options}", server.port()))
    };
    let trusted = format!("sslmode=verify-full&sslrootcert={}", root.display());
    drop(PostgresEngine::open(&url("localhost", &trusted), Limits::default()).unwrap());
    let ended = "SELECT count(*) FROM node WHERE state = 2";
    assert_eq!(server.sql("postgres", ended), "1", "the life is over");
    for (host, options) in [("127.0.0.1", &trusted[..]), ("localhost", "sslmode=require")] {
        let refused = refusal(&url(host, options));
        assert!(refused.contains("certificate") && refused.contains("sslrootcert"), "{refused}");
    }
}
