//! What happens when places are taken.

use std::sync::Weak;

use futures_util::FutureExt;
use tokio::task::yield_now;

use super::*;

const NOW: UnixMs = UnixMs::from_secs(1_790_000_000);

fn places(connections_max: usize, strangers_max: usize, per_source_max: Option<usize>) -> Arc<Places> {
    Places::new(Bounds { connections_max, strangers_max, per_source_max })
}

/// A connection that stays until it is closed.
async fn connect(places: &Arc<Places>, prepare: impl FnOnce(&Arc<Place>)) -> Weak<Place> {
    let place = places.enter(None, NOW).await.unwrap();
    prepare(&place);
    let (seen, serving) = (Arc::downgrade(&place), place.clone());
    let task = tokio::spawn(async move {
        std::future::pending::<()>().await;
        drop(serving);
    });
    place.serve_in(task.abort_handle());
    seen
}

/// The same, with a request in progress until then.
async fn connect_busy(places: &Arc<Places>) -> Weak<Place> {
    let place = places.enter(None, NOW).await.unwrap();
    let request = place.request();
    let task = tokio::spawn(async move {
        std::future::pending::<()>().await;
        drop(request);
    });
    place.serve_in(task.abort_handle());
    Arc::downgrade(&place)
}

#[tokio::test]
async fn the_oldest_idle_stranger_leaves_first_and_never_a_known_connection() {
    let places = places(4, 4, None);
    let known = connect(&places, |place| place.keep()).await;
    let busy = connect(&places, |place| std::mem::forget(place.request())).await;
    let (older, newer) = (connect(&places, |_| ()).await, connect(&places, |_| ()).await);
    let newcomer = connect(&places, |place| place.keep()).await;
    assert!(older.upgrade().is_none(), "its place went to the newcomer");
    assert!([&known, &busy, &newer, &newcomer].iter().all(|place| place.upgrade().is_some()));
    let last = connect(&places, |place| place.keep()).await;
    assert!(newer.upgrade().is_none() && last.upgrade().is_some());
    assert!(places.enter(None, NOW).now_or_never().is_none(), "no connection is left that may be closed");
}

#[tokio::test]
async fn a_stranger_that_had_an_answer_is_closed_after_one_that_had_none() {
    let places = places(8, 8, None);
    let sender = connect(&places, |_| ()).await;
    let mut others = Vec::new();
    for _ in 0..20 {
        if let Some(sender) = sender.upgrade() {
            drop(sender.request());
        }
        others.push(connect(&places, |_| ()).await);
        yield_now().await;
    }
    assert!(sender.upgrade().is_some() && others[0].upgrade().is_none());
    for _ in 0..20 {
        others.push(connect(&places, |_| ()).await);
        yield_now().await;
    }
    assert!(sender.upgrade().is_none(), "it had no further answer");
}

#[tokio::test]
async fn strangers_that_are_always_busy_do_not_get_the_places_that_are_kept() {
    let places = places(8, 6, None);
    let mut strangers = Vec::new();
    for _ in 0..20 {
        strangers.push(connect_busy(&places).await);
        yield_now().await;
    }
    let there = strangers.iter().filter(|place| place.upgrade().is_some()).count();
    assert_eq!(there, 6);
    assert!(strangers[14..].iter().all(|place| place.upgrade().is_some()), "the newest ones");
}

#[tokio::test]
async fn strangers_have_a_part_of_the_places_only() {
    let places = places(8, 6, None);
    let mut strangers = Vec::new();
    for _ in 0..20 {
        strangers.push(connect(&places, |_| ()).await);
        // Those who have to leave get the time to do it.
        yield_now().await;
    }
    let there = strangers.iter().filter(|place| place.upgrade().is_some()).count();
    assert_eq!(there, 6);
    assert!(strangers[14..].iter().all(|place| place.upgrade().is_some()), "the newest ones");
}

#[tokio::test]
async fn a_place_that_is_free_again_goes_to_the_one_who_waits_and_the_last_one_ends_the_drain() {
    let places = places(1, 1, None);
    let first = places.enter(None, NOW).await.unwrap();
    first.keep();
    let waiting = tokio::spawn({
        let places = places.clone();
        async move { places.enter(None, NOW).await }
    });
    yield_now().await;
    assert!(!waiting.is_finished());
    drop(first);
    let second = waiting.await.unwrap().unwrap();
    assert!(places.empty().now_or_never().is_none());
    drop(second);
    places.empty().await;
}

#[tokio::test]
async fn a_source_with_too_many_is_rejected_and_counted() {
    let (places, one, other) = (places(8, 8, Some(2)), source(1), source(2));
    let held = [places.enter(one, NOW).await.unwrap(), places.enter(one, NOW).await.unwrap()];
    for _ in 0..1000 {
        assert!(places.enter(one, NOW).await.is_none());
    }
    assert!(places.enter(other, NOW).await.is_some() && places.enter(None, NOW).await.is_some());
    assert_eq!(places.rejections.without_line(), 999, "one line was written for the first");
    drop(held);
    assert!(places.enter(one, NOW).await.is_some());
    assert!(places.state.lock().sources.is_empty(), "nothing is kept of those who left");
}

#[tokio::test]
async fn fewer_places_than_are_taken_close_idle_strangers_as_new_ones_come_and_more_let_those_in_who_wait() {
    let places = places(4, 4, None);
    let known = connect(&places, |place| place.keep()).await;
    let strangers = [connect(&places, |_| ()).await, connect(&places, |_| ()).await, connect(&places, |_| ()).await];
    places.set_bounds(Bounds { connections_max: 2, strangers_max: 2, per_source_max: Some(1) });
    assert!(strangers.iter().all(|stranger| stranger.upgrade().is_some()), "nothing is closed for nothing");
    let newcomer = connect(&places, |place| place.keep()).await;
    assert!(strangers.iter().all(|stranger| stranger.upgrade().is_none()));
    let mut waits = Box::pin(places.enter(None, NOW));
    assert!((&mut waits).now_or_never().is_none());
    places.set_bounds(Bounds { connections_max: 3, strangers_max: 3, per_source_max: None });
    assert!(waits.now_or_never().flatten().is_some());
    assert!(known.upgrade().is_some() && newcomer.upgrade().is_some());
}

#[tokio::test]
async fn connections_count_for_their_source_also_while_it_has_no_bound() {
    let places = places(9, 9, None);
    let first = places.enter(source(1), NOW).await;
    places.set_bounds(Bounds { connections_max: 9, strangers_max: 9, per_source_max: Some(1) });
    assert!(places.enter(source(1), NOW).await.is_none());
    drop(first);
    assert!(places.enter(source(1), NOW).await.is_some());
    assert!(places.state.lock().sources.is_empty());
}

#[tokio::test]
async fn a_source_that_a_proxy_names_later_counts_from_then_on() {
    let places = places(8, 8, Some(2));
    let name = |place: &Place, last| place.name_source(source(last).unwrap(), NOW);
    let mut proxied = Vec::new();
    for _ in 0..4 {
        proxied.push(places.enter(None, NOW).await.unwrap());
    }
    assert!(name(&proxied[0], 1) && name(&proxied[1], 1) && name(&proxied[2], 2) && !name(&proxied[3], 1));
    assert_eq!((proxied[0].source(), proxied[3].source()), (source(1), None));
    assert!(places.enter(source(1), NOW).await.is_none() && places.enter(source(2), NOW).await.is_some());
    proxied.clear();
    assert!(places.state.lock().sources.is_empty());
}

#[tokio::test]
async fn only_the_address_that_the_proxy_wrote_is_believed_and_only_where_it_is_declared() {
    let forwarded = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        headers
    };
    let (direct, proxied) = (Place::any(), Place::any());
    proxied.forwards(source(7).unwrap());
    let last = forwarded(&["192.0.2.9", "192.0.2.8, 192.0.2.1"]);
    assert_eq!((direct.source_of(&last), proxied.source_of(&last)), (None, source(1)));
    for one in ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1:4660"] {
        assert_eq!(proxied.source_of(&forwarded(&[one])), source(1), "{one}");
    }
    let v6 = Some(Source::of("2001:db8::1".parse().unwrap()));
    for one in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:4660", "2001:db8::1%eth0"] {
        assert_eq!(proxied.source_of(&forwarded(&[one])), v6, "{one}");
    }
    for none in ["", "[", "[]", "%", "unknown", "192.0.2.1, ", "192.0.2.1, _hidden"] {
        assert_eq!(proxied.source_of(&forwarded(&[none])), source(7), "{none}: the proxy's own");
    }
    assert_eq!(proxied.source_of(&HeaderMap::new()), source(7), "a request without the field has a bound too");
    proxied.belongs_to_client_of(&last);
    direct.belongs_to_client_of(&last);
    assert_eq!((direct.source(), proxied.source()), (None, source(1)));
}

#[tokio::test]
async fn requests_that_name_a_client_and_are_not_from_a_declared_proxy_are_counted() {
    let (direct, proxied) = (Place::any(), Place::any());
    proxied.forwards(source(7).unwrap());
    let mut headers = HeaderMap::new();
    direct.note_forwarded(&headers, NOW);
    headers.insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
    for _ in 0..5 {
        direct.note_forwarded(&headers, NOW);
        proxied.note_forwarded(&headers, NOW);
    }
    assert_eq!(direct.places.undeclared.without_line(), 4, "one line was written for the first");
    let (sender, lines) = std::sync::mpsc::channel();
    proxied.places.undeclared.log(NOW, move |requests| sender.send(requests).unwrap());
    assert_eq!(lines.try_recv(), Ok(1), "none was counted before");
}

#[tokio::test]
async fn fewer_places_than_busy_strangers_have_close_the_oldest_of_them_as_new_ones_come_and_idle_ones_before() {
    let places = places(9, 9, None);
    let (older, newer) = (connect_busy(&places).await, connect_busy(&places).await);
    let idle = connect(&places, |_| ()).await;
    places.set_bounds(Bounds { connections_max: 9, strangers_max: 3, per_source_max: None });
    let newcomer = connect_busy(&places).await;
    yield_now().await;
    assert!(idle.upgrade().is_none() && older.upgrade().is_some(), "idle ones leave first");
    let (sender, lines) = std::sync::mpsc::channel();
    places.busy_closings.log(NOW, move |connections| sender.send(connections).unwrap());
    assert_eq!(lines.try_recv(), Ok(1), "none was counted before");
    let last = connect_busy(&places).await;
    yield_now().await;
    assert!(older.upgrade().is_none(), "then the oldest");
    assert!([&newer, &newcomer, &last].iter().all(|place| place.upgrade().is_some()));
    assert_eq!(places.busy_closings.without_line(), 1, "it is named as one with a request in progress");
}

#[tokio::test]
async fn each_free_place_goes_to_one_of_those_who_wait() {
    let places = places(2, 2, None);
    let held = [places.enter(None, NOW).await.unwrap(), places.enter(None, NOW).await.unwrap()];
    held.iter().for_each(|place| place.keep());
    let waiting = [0, 1].map(|_| {
        let places = places.clone();
        tokio::spawn(async move { places.enter(None, NOW).await })
    });
    yield_now().await;
    assert!(waiting.iter().all(|task| !task.is_finished()));
    drop(held);
    let mut entered = Vec::new();
    for task in waiting {
        entered.push(task.await.unwrap().unwrap());
    }
}

#[tokio::test]
async fn a_place_that_was_free_for_one_who_is_rejected_meanwhile_goes_to_the_next_who_waits() {
    let places = places(2, 2, Some(1));
    let [proxied, other] = [places.enter(None, NOW).await.unwrap(), places.enter(None, NOW).await.unwrap()];
    [&proxied, &other].into_iter().for_each(|place| place.keep());
    let [rejected, next] = [source(1), None].map(|source| {
        let places = places.clone();
        tokio::spawn(async move { places.enter(source, NOW).await })
    });
    yield_now().await;
    assert!(!rejected.is_finished() && !next.is_finished());
    // Its source gets as many connections as it may have while it waits.
    assert!(proxied.name_source(source(1).unwrap(), NOW));
    drop(other);
    assert!(rejected.await.unwrap().is_none());
    let entered = tokio::time::timeout(std::time::Duration::from_secs(60), next).await;
    assert!(entered.expect("it is woken").unwrap().is_some());
}

fn source(last: u8) -> Option<Source> {
    Some(Source::of([192, 0, 2, last].into()))
}
