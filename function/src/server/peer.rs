//! Observes whether the client has closed its side of the connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;

/// Polling interval while unread bytes hide the end of the stream.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The client of a request.
#[derive(Clone, Debug)]
pub struct Peer(Arc<TcpStream>);

impl Peer {
    pub(super) fn new(stream: Arc<TcpStream>) -> Self {
        Self(stream)
    }

    /// Completes when the client has closed its side: either it disconnected, or it has sent all of
    /// its request and waits for the answer. TCP cannot tell the two apart before a write.
    pub async fn closed(&self) {
        while let Ok(ready) = self.0.ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                return;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}
