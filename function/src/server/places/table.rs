//! The table of connections: those that have a place or a spare one, and those that are leaving.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::server::activity::Activity;

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) next: u64,
    // In order of arrival.
    pub(super) connections: BTreeMap<u64, Connection>,
    /// Those that lost their places and have not ended yet.
    pub(super) leaving: BTreeMap<u64, Connection>,
    pub(super) taken: usize,
    pub(super) waiting: usize,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) activity: Arc<Activity>,
    pub(super) is_spare: bool,
    pub(super) signals: Arc<Signals>,
}

#[derive(Debug, Default)]
pub(super) struct Signals {
    /// The place is lost.
    pub(super) lost: Notify,
    /// The connection must end at once.
    pub(super) cut: Notify,
    /// The place is lost: for a request on it that waits for a better one.
    pub(super) revoked: Notify,
}

impl Table {
    /// The connection that can best be closed, among the spare places or the others.
    pub(super) fn least_needed(&self, is_spare: bool) -> Option<u64> {
        self.connections
            .iter()
            .filter(|(_, connection)| connection.is_spare == is_spare && !connection.activity.is_busy())
            .filter_map(|(id, connection)| Some((connection.activity.need()?, *id)))
            .min_by_key(|(need, _)| *need)
            .map(|(_, id)| id)
    }

    /// Ends the oldest connection that is leaving and has no request any more.
    pub(super) fn cut_oldest(&mut self) {
        let mut leaving = self.leaving.iter();
        if let Some((&id, _)) = leaving.find(|(_, connection)| !connection.activity.is_busy())
            && let Some(connection) = self.leaving.remove(&id)
        {
            connection.signals.cut.notify_one();
        }
    }
}
