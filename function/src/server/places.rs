//! Admission of connections: a fixed number of places, and spare ones for probes.
//!
//! A connection is always accepted, since the one that waits may be the kubelet's. When all places
//! are taken, the oldest connection without a request is closed: first one that never sent a whole
//! request head, then one that is idle between requests, then one that does not read its answer.
//! When every connection has a request in progress, new ones get a spare place: probes and scrapes
//! are answered there at once, one on each connection, other requests wait for a place that becomes
//! free. When the spare places are taken, too, the oldest of them is refused or closed.
//!
//! A connection that lost its place may leave in order. When more are leaving than there are spare
//! places, the oldest is cut off, so that the number of connections has a bound.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::activity::{Activity, SETTLES};
use crate::memory::Memory;

/// Fewest spare places: enough for a burst where there are few places.
const MIN_SPARE: usize = 32;

/// Clients at once that do not read their answers. Each holds up a task, an answer and, in the
/// kernel, further requests.
const MAX_STALLED: usize = 128;

/// File descriptors that are not connections: the listener, epoll, standard streams, the collector,
/// procfs.
const OTHER_FILES: usize = 64;

/// Spare places: half as many as places.
pub(crate) fn spare(places: usize) -> usize {
    (places / 2).max(MIN_SPARE)
}

/// File descriptors of a connection: a second one while its last answer is being taken.
const FILES_EACH: usize = 2;

/// Connections with this many places, the spare ones and those that are leaving included.
pub(crate) fn connections(places: usize) -> usize {
    places + 2 * spare(places)
}

/// Places among at most so many connections.
pub(crate) fn places_in(connections: usize) -> usize {
    (connections / 2).min(connections.saturating_sub(2 * MIN_SPARE)).max(1)
}

/// The `wanted` places, limited by the number of files that the process may open.
#[expect(clippy::disallowed_methods, reason = "procfs never waits for a disk")]
pub(super) fn fitting(wanted: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let open_files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    match open_files.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()) {
        Some(limit) => wanted.min(places_in(limit.saturating_sub(OTHER_FILES) / FILES_EACH)),
        None => wanted,
    }
}

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    table: Mutex<Table>,
    /// The most that there may be; memory may have room for fewer.
    most: usize,
    memory: Memory,
    /// A place became free, or a connection lost its own.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    // In order of arrival.
    connections: BTreeMap<u64, Connection>,
    /// Those that lost their places and have not ended yet.
    leaving: BTreeMap<u64, Connection>,
    taken: usize,
    waiting: usize,
}

#[derive(Debug)]
struct Connection {
    activity: Arc<Activity>,
    is_spare: bool,
    signals: Arc<Signals>,
}

#[derive(Debug, Default)]
struct Signals {
    /// The place is lost.
    lost: Notify,
    /// The connection must end at once.
    cut: Notify,
}

/// A connection's place, released when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    id: u64,
    pub(super) activity: Arc<Activity>,
    signals: Arc<Signals>,
    /// What the table says of it, so that not every answer has to look there.
    is_spare: AtomicBool,
}

impl Places {
    pub(super) fn new(most: usize, memory: Memory) -> Arc<Self> {
        Arc::new(Self { table: Mutex::default(), most, memory, changed: Notify::new() })
    }

    /// Places that are not spare ones, at this moment.
    fn places(&self) -> usize {
        self.most.min(self.memory.places())
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection that was just accepted. `None`: every connection is too young to be
    /// closed.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Place> {
        let places = self.places();
        let mut table = self.lock();
        let mut is_spare = table.taken >= places;
        if is_spare && let Some(id) = table.least_needed(false) {
            self.remove(&mut table, id);
            is_spare = table.taken >= places;
        }
        // Requests that wait for a place come first.
        is_spare |= table.waiting > 0;
        if is_spare && table.connections.len() - table.taken >= spare(places) {
            let id = table.least_needed(true)?;
            self.remove(&mut table, id);
        }
        if !is_spare {
            table.taken += 1;
        }
        let id = table.next;
        table.next += 1;
        let activity = Arc::new(Activity::new());
        let signals = Arc::new(Signals::default());
        let connection =
            Connection { activity: Arc::clone(&activity), is_spare, signals: Arc::clone(&signals) };
        table.connections.insert(id, connection);
        drop(table);
        Some(Place { places: Arc::clone(self), id, activity, signals, is_spare: AtomicBool::new(is_spare) })
    }

    /// Closes the oldest connection that is not busy, so that the process has a file descriptor to
    /// spare.
    pub(super) fn close_one(&self) {
        let mut table = self.lock();
        if let Some(id) = table.least_needed(false).or_else(|| table.least_needed(true)) {
            self.remove(&mut table, id);
        }
    }

    /// Closes connections whose request head has been incomplete for longer than `limit`.
    pub(super) fn close_incomplete(&self, limit: Duration) {
        let mut table = self.lock();
        let late = |connection: &Connection| {
            !connection.activity.is_busy()
                && connection.activity.incomplete_head().is_some_and(|age| age > limit)
        };
        let late: Vec<u64> =
            table.connections.iter().filter(|(_, one)| late(one)).map(|(id, _)| *id).collect();
        for id in late {
            self.remove(&mut table, id);
        }
    }

    /// Closes connections without a request while there are more of them than places: the memory
    /// limit was lowered.
    pub(super) fn close_surplus(&self) {
        let mut table = self.lock();
        while table.taken > self.places()
            && let Some(id) = table.least_needed(false)
        {
            self.remove(&mut table, id);
        }
    }

    /// Gives a connection on a spare place one of the others, if there is one.
    fn promote(&self, table: &mut Table, place: &Place) -> bool {
        if table.taken >= self.places() {
            return false;
        }
        let Some(connection) = table.connections.get_mut(&place.id) else { return false };
        connection.is_spare = false;
        place.is_spare.store(false, Ordering::Relaxed);
        table.taken += 1;
        true
    }

    /// Revokes a connection's place and notifies it. No effect on a connection that has none.
    fn remove(&self, table: &mut Table, id: u64) {
        if let Some(connection) = table.connections.remove(&id) {
            if !connection.is_spare {
                table.taken -= 1;
            }
            connection.signals.lost.notify_one();
            self.changed.notify_waiters();
            table.leaving.insert(id, connection);
            if table.leaving.len() > spare(self.places()) {
                table.cut_oldest();
            }
        }
    }
}

impl Table {
    /// The connection that can best be closed, among the spare places or the others.
    fn least_needed(&self, is_spare: bool) -> Option<u64> {
        self.connections
            .iter()
            .filter(|(_, connection)| connection.is_spare == is_spare && !connection.activity.is_busy())
            .filter_map(|(id, connection)| Some((connection.activity.need()?, *id)))
            .min_by_key(|(need, _)| *need)
            .map(|(_, id)| id)
    }

    /// Ends the oldest connection that is leaving and has no request any more.
    fn cut_oldest(&mut self) {
        let mut leaving = self.leaving.iter();
        if let Some((&id, _)) = leaving.find(|(_, connection)| !connection.activity.is_busy())
            && let Some(connection) = self.leaving.remove(&id)
        {
            connection.signals.cut.notify_one();
        }
    }
}

impl Place {
    /// Waits until the connection has a place that is not a spare one. `None`: it lost the one it
    /// had.
    pub(super) async fn wait(&self) -> Option<()> {
        let mut waiting = None;
        loop {
            let changed = self.places.changed.notified();
            {
                let mut table = self.places.lock();
                if !table.connections.get(&self.id)?.is_spare {
                    return Some(());
                }
                if table.taken >= self.places.places()
                    && let Some(id) = table.least_needed(false)
                {
                    self.places.remove(&mut table, id);
                }
                if self.places.promote(&mut table, self) {
                    return Some(());
                }
                if waiting.is_none() {
                    table.waiting += 1;
                    self.activity.set_waiting(true);
                    waiting = Some(Waiting(self));
                }
            }
            // Meanwhile other connections become old enough to be closed.
            let _ = tokio::time::timeout(SETTLES, changed).await;
        }
    }

    /// Whether the connection may go on after an answer. One on a spare place makes room for the
    /// next newcomer unless another place is free.
    pub(super) fn keep(&self) -> bool {
        if !self.is_spare.load(Ordering::Relaxed) {
            return true;
        }
        let mut table = self.places.lock();
        table.waiting == 0 && self.places.promote(&mut table, self)
    }

    /// The client does not take what is written to it. Where too many do so, the one that has done
    /// it for longest loses its place.
    pub(super) fn stalls(&self) {
        if !self.activity.stalls() {
            return;
        }
        let mut table = self.places.lock();
        let stalled = |(id, connection): (&u64, &Connection)| Some((connection.activity.stalled()?, *id));
        if table.connections.iter().filter_map(stalled).count() > MAX_STALLED
            && let Some((_, id)) = table.connections.iter().filter_map(stalled).max()
        {
            self.places.remove(&mut table, id);
        }
    }

    /// Completes when the connection has lost its place.
    pub(super) async fn lost(&self) {
        self.signals.lost.notified().await;
    }

    /// Completes when the connection, which has lost its place, must end at once.
    pub(super) async fn cut(&self) {
        self.signals.cut.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.places.lock();
        self.places.remove(&mut table, self.id);
        table.leaving.remove(&self.id);
    }
}

/// A request waits for a place, until dropped.
struct Waiting<'a>(&'a Place);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.activity.set_waiting(false);
        self.0.places.lock().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
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
}
