//! Who gets a place, who loses one, and who waits.

use super::super::activity::STALLS;
use super::*;

fn settle() {
    std::thread::sleep(SETTLES + Duration::from_millis(5));
}

/// A connection whose task has found nothing to read.
fn admit(places: &Arc<Places>) -> Option<Place> {
    let place = places.admit()?;
    place.activity.awaits();
    Some(place)
}

fn places(most: usize) -> Arc<Places> {
    Places::new(most, Memory::new(None, 1, most, 0))
}

fn has_lost(place: &Place) -> bool {
    !place.places.lock().connections.contains_key(&place.id)
}

#[test]
fn strangers_make_room_before_idle_connections_and_busy_ones_never() {
    let places = places(3);
    let admit = || admit(&places).expect("room");
    let (busy, idle, stranger) = (admit(), admit(), admit());
    busy.activity.begin();
    idle.activity.begin();
    idle.activity.end();
    idle.activity.awaits();
    settle();
    let fourth = admit();
    assert!(has_lost(&stranger) && !has_lost(&idle));
    fourth.activity.begin();
    let fifth = admit();
    assert!(has_lost(&idle) && !has_lost(&busy));
    fifth.activity.begin();
    let sixth = admit();
    assert!(places.lock().connections[&sixth.id].is_spare, "all places are busy");
    assert!([&busy, &fourth, &fifth, &sixth].iter().all(|place| !has_lost(place)));
}

#[test]
fn all_places_fit_in_the_open_files() {
    for most in [0, 32, 64, 66, 192, 960, 4032, 1 << 20] {
        let places = places_in(most);
        assert!(places == 1 || connections(places) <= most, "{most}: {places}");
    }
    assert_eq!(places_in(960), 480);
    assert_eq!(fitting(1), 1);
}

#[test]
fn a_connection_that_nobody_has_looked_at_is_not_closed() {
    let places = places(1);
    let unseen = places.admit().expect("room");
    settle();
    let second = admit(&places).expect("a spare place");
    assert!(!has_lost(&unseen), "its request may lie in the kernel");
    unseen.activity.awaits();
    settle();
    let third = admit(&places).expect("room");
    assert!(has_lost(&unseen) && !has_lost(&second) && !has_lost(&third));
}

#[test]
fn a_head_in_drops_and_a_reader_who_stalls_make_room() {
    let places = places(1);
    let dripping = admit(&places).expect("room");
    dripping.activity.received();
    dripping.activity.awaits();
    settle();
    dripping.activity.received();
    let second = admit(&places).expect("room");
    assert!(has_lost(&dripping) && !second.is_spare.load(Ordering::Relaxed));
    second.activity.begin();
    second.activity.end();
    second.activity.stalls();
    settle();
    assert!(second.activity.is_busy() && second.activity.need().is_none(), "a lost packet is no stall");
    std::thread::sleep(STALLS);
    let third = admit(&places).expect("room");
    assert!(has_lost(&second) && !has_lost(&third));
}

#[test]
fn a_connection_on_a_spare_place_ends_with_its_answer_unless_another_place_is_free() {
    let places = places(1);
    let first = admit(&places).expect("room");
    first.activity.begin();
    let second = admit(&places).expect("a spare place");
    assert!(first.keep() && !second.keep());
    drop(first);
    assert!(second.keep() && !places.lock().connections[&second.id].is_spare);
}

#[test]
fn young_connections_are_not_closed() {
    let places = places(1);
    let held: Vec<_> = (0..33).map(|_| admit(&places).expect("one place and 32 spare ones")).collect();
    assert!(places.admit().is_none());
    settle();
    assert!(places.admit().is_some() && has_lost(&held[0]));
}

#[tokio::test]
async fn of_many_that_leave_the_oldest_without_a_request_is_cut_off() {
    let places = places(1);
    let held: Vec<_> = (0..33).map(|_| admit(&places).expect("room")).collect();
    settle();
    let more: Vec<_> = (0..33).map(|_| admit(&places).expect("room")).collect();
    let cut = |place: &Place| !place.places.lock().leaving.contains_key(&place.id);
    assert!(held.iter().all(has_lost));
    assert!(cut(&held[0]) && held[1..].iter().all(|place| !cut(place)));
    held[0].cut().await;
    held[1].activity.begin();
    settle();
    let _next = admit(&places).expect("room");
    assert!(!cut(&held[1]) && cut(&held[2]), "a request is in progress");
    drop((held, more));
    assert!(places.lock().leaving.is_empty());
}

#[test]
fn a_connection_that_ends_by_itself_cuts_none_off_that_leaves() {
    let places = places(1);
    let held: Vec<_> = (0..33).map(|_| admit(&places).expect("room")).collect();
    settle();
    // As many as may be leaving at once lose their places to these, which are busy.
    let busy = || {
        let place = admit(&places).expect("room");
        place.activity.begin();
        place
    };
    let mut more: Vec<_> = (0..32).map(|_| busy()).collect();
    assert_eq!(places.lock().leaving.len(), 32);
    while let Some(ended) = more.pop() {
        drop(ended);
        assert_eq!(places.lock().leaving.len(), 32);
    }
    assert_eq!(places.lock().connections.len(), 1);
    assert_eq!(places.lock().taken, 0);
    drop(held);
    assert!(places.lock().leaving.is_empty());
}

#[test]
fn a_lowered_memory_limit_closes_connections_that_have_no_request() {
    const MIB: usize = 1024 * 1024;
    let memory = Memory::new(None, 1, 100, 0);
    let places = Places::new(1000, memory.clone());
    let held: Vec<_> = (0..100).map(|_| admit(&places).expect("room")).collect();
    held[0].activity.begin();
    settle();
    assert!(held.iter().all(|place| !place.is_spare.load(Ordering::Relaxed)));
    memory.resize(Some(96 * MIB), 1);
    places.close_surplus();
    let kept = held.iter().filter(|place| !has_lost(place)).count();
    assert_eq!(kept, memory.places());
    assert!((2..100).contains(&kept) && !has_lost(&held[0]), "{kept}");
    let next = admit(&places).expect("room");
    assert!(!next.is_spare.load(Ordering::Relaxed) && has_lost(&held[100 - kept + 1]));
}

#[tokio::test]
async fn a_request_on_a_spare_place_waits_for_a_free_one() {
    let places = places(1);
    let first = admit(&places).expect("room");
    first.activity.begin();
    let second = admit(&places).expect("a spare place");
    second.activity.begin();
    let mut wait = std::pin::pin!(second.wait());
    let waited = tokio::time::timeout(Duration::from_millis(20), wait.as_mut()).await;
    assert!(waited.is_err(), "there is no place yet");
    drop(first);
    assert!(wait.await.is_some());
    assert!(!places.lock().connections[&second.id].is_spare);
}

#[tokio::test]
async fn a_request_on_a_spare_place_takes_that_of_a_stranger_who_stays_silent() {
    let places = places(1);
    let stranger = admit(&places).expect("room");
    let second = admit(&places).expect("a spare place");
    second.activity.begin();
    assert!(second.wait().await.is_some());
    assert!(has_lost(&stranger));
}

#[tokio::test]
async fn a_request_that_loses_its_spare_place_is_told() {
    let places = places(1);
    let first = admit(&places).expect("room");
    first.activity.begin();
    let second = admit(&places).expect("a spare place");
    second.activity.begin();
    let (_, waited) = tokio::join!(
        async {
            tokio::time::sleep(SETTLES * 2).await;
            places.close_one();
        },
        second.wait(),
    );
    assert!(waited.is_none());
    assert_eq!(places.lock().waiting, 0);
}
