//! Databases and directories that do not fit: the service does not start, and prints one line that says what to do.

use std::fs;
use std::path::Path;

use doorbell_postgres_server::{PASSWORD, Server, shared};
use tempfile::TempDir;

use crate::support::false_clock::FalseClock;
use crate::support::process::Running;
use crate::support::service::doorbell;
use crate::support::{Peer, Service};
use crate::{SINGLE, flag};

fn serve(state: &Path, url: &str) -> std::process::Command {
    let mut command = doorbell("serve");
    command.args(["--listen=127.0.0.1:0", "--state-dir"]).arg(state).args([&flag(url), SINGLE]);
    command
}

/// The only line that it prints before it ends, which shows no password.
fn refusal(command: &mut std::process::Command) -> String {
    let mut process = Running::start(command);
    assert!(!process.exit(|line| panic!("{line}")).success());
    let refusal = process.prints("! doorbell: ");
    // The first line is the test's own: the command. A password in a flag has a warning.
    let output = process.output();
    let lines: Vec<&str> = output.lines().skip(1).filter(|line| !line.contains("is in the command line")).collect();
    assert_eq!(lines, [refusal.as_str()], "{output}");
    assert!(![PASSWORD, "correct%20horse", "wrong"].iter().any(|secret| refusal.contains(secret)), "{refusal}");
    refusal
}

/// A new state directory is refused this database.
fn refused(url: &str) -> String {
    refusal(&mut serve(tempfile::tempdir().unwrap().path(), url))
}

#[test]
fn a_server_that_is_not_there_or_does_not_let_the_user_in_is_refused() {
    let Some(server) = shared() else { return };
    let (host, database) = (server.host(), server.create_database());
    for (url, text) in [
        ("postgres://doorbell:wrong@127.0.0.1:1/push".to_owned(), "start the server, or correct host and port"),
        (format!("postgres://doorbell:wrong@{host}/{database}"), "give the right password for this user"),
        (format!("postgres://doorbell@{host}/{database}"), "give --database-password-file FILE"),
        (format!("{}_not", server.tcp_url(&database)), "create it with createdb"),
        (format!("postgres://doorbell:wr@ong@{host}/{database}"), "write an @ of the password as %40"),
        (format!("mysql://doorbell:wrong@{host}/{database}"), "write it as postgres://USER@HOST/DATABASE"),
    ] {
        let line = refused(&url);
        assert!(line.contains(text) && !line.contains("ong@"), "{url}: {line}");
    }
}

#[test]
fn a_server_without_standbys_is_refused_unless_the_operator_accepts_that() {
    let Some(server) = shared() else { return };
    let state = tempfile::tempdir().unwrap();
    let url = server.url(&server.create_database());
    let mut command = doorbell("serve");
    command.args(["--listen=127.0.0.1:0", "--state-dir"]).arg(state.path()).arg(flag(&url));
    let line = refusal(&mut command);
    assert!(line.contains("synchronous_standby_names is empty") && line.contains("--allow-single-copy"), "{line}");
}

#[test]
fn a_standby_is_refused() {
    let Some(primary) = Server::start("") else { return };
    let database = primary.create_database();
    let Some(standby) = Server::standby_of(&primary) else { return };
    let line = refused(&standby.url(&database));
    assert!(line.contains("it is a standby") && line.contains("name the primary"), "{line}");
}

#[test]
fn a_schema_that_is_too_new_or_too_old_and_a_foreign_database_are_refused() {
    let Some(server) = shared() else { return };
    let mut state = new_service(server);
    for (change, text) in [
        (
            "UPDATE cluster SET schema = 9, schema_min = 9",
            "start the version whose `doorbell migrate --contract` was run, or a later one",
        ),
        ("UPDATE cluster SET schema = 0, schema_min = 0", "run `doorbell migrate --database URL` of this version"),
    ] {
        server.sql(&state.database, change);
        let line = refusal(&mut serve(state.dir.path(), &server.url(&state.database)));
        assert!(line.contains(text), "{line}");
    }
    state.database = server.create_database();
    server.sql(&state.database, "CREATE TABLE orders (id int)");
    let line = refused(&server.url(&state.database));
    assert!(line.contains("give doorbell a database of its own"), "{line}");
}

#[test]
fn a_certificate_that_does_not_verify_is_refused() {
    let Some((server, certificate)) = Server::with_tls() else { return };
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root.pem");
    fs::write(&root, certificate).unwrap();
    let url = |host: &str, options: &str| {
        format!("postgres://doorbell:correct%20horse@{host}:{}/postgres?{options}", server.port())
    };
    let verified = format!("sslmode=verify-full&sslrootcert={}", root.display());
    for url in [url("127.0.0.1", &verified), url("localhost", "sslmode=verify-full")] {
        let line = refused(&url);
        assert!(line.contains("certificate") && line.contains("sslrootcert=FILE"), "{line}");
    }
    let state = tempfile::tempdir().unwrap();
    let process = Running::start(&mut serve(state.path(), &url("localhost", &verified)));
    process.prints("listening on");
}

#[test]
fn a_clock_that_is_off_is_refused() {
    let Some(server) = shared() else { return };
    let Some(clock) = FalseClock::new() else { return };
    clock.show("+10");
    let state = tempfile::tempdir().unwrap();
    let mut command = serve(state.path(), &server.url(&server.create_database()));
    let line = refusal(command.envs(clock.environment()));
    assert!(line.contains("clock") && line.contains("NTP"), "{line}");
}

/// A state directory and the database that its service has used.
struct Used {
    dir: TempDir,
    database: String,
}

fn new_service(server: &Server) -> Used {
    let used = Used { dir: tempfile::tempdir().unwrap(), database: server.create_database() };
    let mut process = Running::start(&mut serve(used.dir.path(), &server.url(&used.database)));
    process.prints("listening on");
    process.terminate();
    assert!(process.exit(|_| {}).success());
    used
}

#[test]
fn the_database_of_another_service_is_refused() {
    let Some(server) = shared() else { return };
    let (ours, other) = (new_service(server), new_service(server));
    let line = refusal(&mut serve(ours.dir.path(), &server.url(&other.database)));
    assert!(line.contains("it belongs to another service") && line.contains("name the database of this"), "{line}");
    let line = refusal(doorbell("serve").args(["--listen=127.0.0.1:0", "--state-dir"]).arg(ours.dir.path()));
    assert!(line.contains("give --database with its URL"), "{line}");
}

#[test]
fn a_database_that_a_service_has_started_on_is_not_another_ones_although_it_holds_nothing() {
    let Some(server) = shared() else { return };
    let first = new_service(server);
    let url = server.url(&first.database);
    let line = refused(&url);
    assert!(line.contains("with another state directory"), "{line}");
    // As if the power had gone before the state directory was bound.
    let (file, id) = (first.dir.path().join("cluster.id"), |text: &str| text.trim_end().to_owned());
    let bound = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{} new\n", id(&bound))).unwrap();
    let mut process = Running::start(&mut serve(first.dir.path(), &url));
    process.prints("listening on");
    process.terminate();
    assert!(process.exit(|_| {}).success());
    assert_eq!(fs::read_to_string(&file).unwrap(), bound);
}

#[tokio::test]
async fn a_new_state_directory_is_refused_a_database_that_clients_use() {
    let Some(server) = shared() else { return };
    let url = server.url(&server.create_database());
    let mut service = Service::start_with(&[&flag(&url), SINGLE]);
    Peer::connect(&service).await.unwrap().subscribe().await;
    let while_it_serves = refused(&url);
    service.ends();
    for line in [while_it_serves, refused(&url)] {
        assert!(line.contains("with another state directory") && line.contains("name an empty database"), "{line}");
    }
    service.start_again();
}

#[tokio::test]
async fn a_state_directory_with_messages_of_its_own_is_refused_a_database() {
    let Some(server) = shared() else { return };
    let url = server.url(&server.create_database());
    let state = tempfile::tempdir().unwrap();
    let mut command = doorbell("serve");
    let mut process = Running::start(command.args(["--listen=127.0.0.1:0", "--state-dir"]).arg(state.path()));
    process.prints("listening on");
    process.terminate();
    assert!(process.exit(|_| {}).success());
    let line = refusal(&mut serve(state.path(), &url));
    assert!(line.contains("doorbell import --from-sqlite"), "{line}");
}

#[test]
fn two_services_cannot_share_a_state_directory_on_two_databases() {
    let Some(server) = shared() else { return };
    let state = tempfile::tempdir().unwrap();
    let process = Running::start(&mut serve(state.path(), &server.url(&server.create_database())));
    process.prints("listening on");
    let line = refusal(&mut serve(state.path(), &server.url(&server.create_database())));
    assert!(line.contains("in use by another process (pid "), "{line}");
    assert!(!line.contains(PASSWORD), "{line}");
}
