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

mod count;
mod table;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use self::count::spare;
use self::table::{Connection, Signals, Table};
use super::activity::{Activity, SETTLES};
use crate::memory::Memory;

pub(super) use self::count::fitting;
pub(crate) use self::count::{connections, places_in};

/// Clients at once that do not read their answers. Each holds up a task, an answer and, in the
/// kernel, further requests.
const MAX_STALLED: usize = 128;

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    table: Mutex<Table>,
    /// The most that there may be; memory may have room for fewer.
    most: usize,
    memory: Memory,
    /// A place became free: one of the requests that wait is told. What it misses, it finds after
    /// [`SETTLES`].
    freed: Notify,
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
        Arc::new(Self { table: Mutex::default(), most, memory, freed: Notify::new() })
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

    /// Takes a connection's place from it. No effect on a connection that has none.
    fn release(&self, table: &mut Table, id: u64) -> Option<Connection> {
        let connection = table.connections.remove(&id)?;
        if !connection.is_spare {
            table.taken -= 1;
            self.freed.notify_one();
        }
        Some(connection)
    }

    /// Revokes a connection's place and notifies it. No effect on a connection that has none.
    fn remove(&self, table: &mut Table, id: u64) {
        if let Some(connection) = self.release(table, id) {
            connection.signals.lost.notify_one();
            connection.signals.revoked.notify_one();
            table.leaving.insert(id, connection);
            if table.leaving.len() > spare(self.places()) {
                table.cut_oldest();
            }
        }
    }
}

impl Place {
    /// Waits until the connection has a place that is not a spare one. `None`: it lost the one it
    /// had.
    pub(super) async fn wait(&self) -> Option<()> {
        let mut waiting = None;
        loop {
            let freed = self.places.freed.notified();
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
            let told = async {
                tokio::select! {
                    () = freed => {}
                    () = self.signals.revoked.notified() => {}
                }
            };
            // Meanwhile other connections become old enough to be closed.
            let _ = tokio::time::timeout(SETTLES, told).await;
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
        // It has ended: it does not leave any more, and none that does is cut off for it.
        self.places.release(&mut table, self.id);
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
mod tests;
