//! A database that is gone, hangs, takes no writes or has no room: clients are answered, agents stay connected, and the
//! service recovers by itself.

use doorbell_postgres_server::Server;
use http::{Method, StatusCode};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::clock::Deadline;
use crate::support::pebble::free_port;
use crate::support::peer::Pushed;
use crate::support::{Peer, Service};
use crate::{SINGLE, flag, post, waits_for_readiness};

/// A service whose database a test takes away, and an agent that is connected.
struct Scene {
    server: Server,
    database: String,
    service: Service,
    admin: String,
    peer: Peer,
    push: String,
    pushed: UnboundedReceiver<Pushed>,
}

impl Scene {
    async fn new() -> Option<Self> {
        let server = Server::start("")?;
        let database = server.create_database();
        let admin = format!("127.0.0.1:{}", free_port());
        let service = Service::start_with(&[&flag(&server.url(&database)), SINGLE, "--admin-listen", &admin]);
        let peer = Peer::connect(&service).await.unwrap();
        let subscribed = peer.subscribe().await;
        let pushed = peer.monitor(&subscribed.subscription, true).await.unwrap();
        let mut scene = Self { server, database, service, admin, peer, push: subscribed.push, pushed };
        scene.delivers("before the outage").await;
        Some(scene)
    }

    /// A message is accepted, and the agent gets it on the request that it has held from the beginning.
    async fn delivers(&mut self, text: &str) {
        assert_eq!(post(&self.peer, &self.push, text).await, StatusCode::CREATED, "{text}");
        loop {
            let pushed = timeout(Deadline::soon().left(), self.pushed.recv()).await.expect("a push");
            let pushed = pushed.expect("the agent stays connected");
            let ended = self.peer.request(Method::DELETE, &pushed.path, &[], b"").await.unwrap();
            assert_eq!(ended.status, StatusCode::NO_CONTENT, "{ended:?}");
            // What was answered 503 may be stored.
            if pushed.reply.body == text.as_bytes() {
                return;
            }
        }
    }

    /// Everyone who asks is answered 503, also those who come late.
    async fn refuses(&self) {
        let mut senders = JoinSet::new();
        for _ in 0..8 {
            let (peer, push) = (self.peer.clone(), self.push.clone());
            senders.spawn(async move { post(&peer, &push, "during the outage").await });
        }
        let answers = timeout(Deadline::soon().left(), senders.join_all()).await.expect("answers");
        assert!(answers.iter().all(|status| *status == StatusCode::SERVICE_UNAVAILABLE), "{answers:?}");
        let other = Peer::connect(&self.service).await.unwrap();
        let subscribed = other.request(Method::POST, "/subscribe", &[], b"").await.unwrap();
        assert_eq!(subscribed.status, StatusCode::SERVICE_UNAVAILABLE);
        waits_for_readiness(&self.admin, " 503 ", &["FAILED   store", "the database"]);
    }

    async fn recovers(&mut self) {
        waits_for_readiness(&self.admin, " 200 ", &["a commit succeeded"]);
        self.delivers("after the outage").await;
        self.service.prints("the database takes commits again");
        let output = self.service.output();
        assert_eq!(output.matches("the database takes no commits").count(), 1, "{output}");
    }
}

#[tokio::test]
async fn a_server_that_stops_and_starts_again_is_waited_for() {
    let Some(mut scene) = Scene::new().await else { return };
    scene.server.stop();
    scene.refuses().await;
    scene.server.go();
    scene.recovers().await;
}

#[tokio::test]
async fn a_server_that_hangs_is_waited_for() {
    let Some(mut scene) = Scene::new().await else { return };
    scene.server.pause();
    scene.refuses().await;
    scene.server.resume();
    scene.recovers().await;
}

#[tokio::test]
async fn readiness_names_the_cell_whose_database_is_gone_and_shows_the_disk_of_the_others() {
    let Some(server) = Server::start("") else { return };
    let cells = format!("--cells={}", server.url(&server.create_database()));
    let admin = format!("127.0.0.1:{}", free_port());
    let _service = Service::start_with(&[&cells, SINGLE, "--admin-listen", &admin]);
    waits_for_readiness(&admin, " 200 ", &["a commit succeeded", "disk"]);
    server.kill();
    waits_for_readiness(&admin, " 503 ", &["FAILED   store", "cell 2: the database"]);
    server.go();
    waits_for_readiness(&admin, " 200 ", &["a commit succeeded"]);
}

#[tokio::test]
async fn a_server_that_is_back_within_the_wait_is_noticed_by_no_sender() {
    let Some(mut scene) = Scene::new().await else { return };
    scene.server.kill();
    let (peer, push) = (scene.peer.clone(), scene.push.clone());
    let sender = tokio::spawn(async move { post(&peer, &push, "during the restart").await });
    scene.server.go();
    assert_eq!(sender.await.unwrap(), StatusCode::CREATED);
    scene.delivers("after the restart").await;
    assert_eq!(scene.service.output().matches("the database takes no commits").count(), 0);
}

#[tokio::test]
async fn a_database_that_becomes_read_only_is_waited_for() {
    let Some(mut scene) = Scene::new().await else { return };
    let read_only = |is: &str| {
        let set = format!("ALTER DATABASE {} SET default_transaction_read_only = {is}", scene.database);
        scene.server.sql("postgres", &set);
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'doorbell'";
        scene.server.sql("postgres", end);
    };
    read_only("on");
    scene.refuses().await;
    read_only("off");
    scene.recovers().await;
}

#[tokio::test]
async fn a_database_without_room_turns_senders_away_with_429_until_it_has_room_again() {
    let Some(mut scene) = Scene::new().await else { return };
    let full = "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$; \
        CREATE TRIGGER no_room BEFORE INSERT ON message FOR EACH STATEMENT EXECUTE FUNCTION no_room(); \
        CREATE TRIGGER no_room BEFORE UPDATE ON clock FOR EACH STATEMENT EXECUTE FUNCTION no_room()";
    scene.server.sql(&scene.database, full);
    assert_eq!(post(&scene.peer, &scene.push, "without room").await, StatusCode::TOO_MANY_REQUESTS);
    waits_for_readiness(&scene.admin, " 503 ", &["the disk of the database is full", "fix: free some room"]);
    scene.server.sql(&scene.database, "DROP FUNCTION no_room CASCADE");
    scene.delivers("with room").await;
    waits_for_readiness(&scene.admin, " 200 ", &["a commit succeeded"]);
    scene.service.prints("the disk of the database has room again");
}
