//! The socket that hyper reads and writes: stalled writes time out, and closing it loses no answer.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::places::Place;

/// How long a client may take to read [`MIN_PROGRESS`] bytes of an answer: as long as it may take
/// to send a body. At the least rate of 6.5 kB/s a JSON answer takes a tenth of a second.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
const MIN_PROGRESS: usize = 64 * 1024;

/// After an answer that came before the request was read to its end: how much of the rest is read
/// and discarded, so that its sender receives the answer instead of a reset connection (RFC 9112,
/// section 9.6). As much as all bodies may take by default.
const LINGER_BYTES: usize = 64 * 1024 * 1024;
/// How long that may take while bytes come in: as nginx's `lingering_time`. The connection gives
/// its place to another one meanwhile, if all are taken.
const LINGER_TIME: Duration = Duration::from_secs(30);
/// How long that may take without any byte, and in all once the server shuts down.
const LINGER_PAUSE: Duration = Duration::from_secs(2);

/// Bytes discarded at a time.
const SCRATCH: usize = 16 * 1024;

pub(super) struct Socket {
    stream: Arc<TcpStream>,
    place: Arc<Place>,
    /// The client does not take what is written.
    stall: Option<Stall>,
    /// Whether the client has taken its last answer, once the connection is to be closed.
    taking: Option<Taking>,
    /// The server's side is closed, and the client's rest is being discarded.
    linger: Option<Linger>,
    /// Whether the server shuts down.
    closing: watch::Receiver<bool>,
}

struct Stall {
    deadline: Pin<Box<Sleep>>,
    taken: usize,
}

#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "nothing tells when all is taken"))]
enum Taking {
    /// The same socket, ready to write when the kernel holds nothing of the answer any more.
    Waits(TcpStream, Pin<Box<Sleep>>),
    Taken,
}

impl Taking {
    /// A registration of its own says whether the socket is ready now, and not when it last was.
    #[cfg(target_os = "linux")]
    fn of(stream: &TcpStream) -> io::Result<Self> {
        let socket = socket2::SockRef::from(stream);
        socket.set_tcp_notsent_lowat(1)?;
        // As small as the kernel allows: more than two thirds of it that are not acknowledged count
        // as not ready.
        socket.set_send_buffer_size(0)?;
        let again = TcpStream::from_std(socket.try_clone()?.into())?;
        Ok(Self::Waits(again, Box::pin(tokio::time::sleep(WRITE_TIMEOUT))))
    }

    #[cfg(not(target_os = "linux"))]
    fn of(_: &TcpStream) -> io::Result<Self> {
        Ok(Self::Taken)
    }
}

struct Linger {
    began: Instant,
    pause: Pin<Box<Sleep>>,
    taken: usize,
}

impl Linger {
    fn new() -> Self {
        let began = Instant::now();
        Self { began, pause: Box::pin(tokio::time::sleep_until(began + LINGER_PAUSE)), taken: 0 }
    }

    /// Tells whether more may be discarded.
    fn takes(&mut self, received: usize, closing: bool) -> bool {
        self.taken += received;
        self.pause.as_mut().reset(Instant::now() + LINGER_PAUSE);
        let time = if closing { LINGER_PAUSE } else { LINGER_TIME };
        self.taken <= LINGER_BYTES && self.began.elapsed() < time
    }
}

impl Socket {
    pub(super) fn new(stream: Arc<TcpStream>, place: Arc<Place>, closing: watch::Receiver<bool>) -> Self {
        Self { stream, place, stall: None, taking: None, linger: None, closing }
    }

    fn poll_written(
        &mut self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.stream.poll_write_ready(cx)?.is_pending() {
                self.place.stalls();
                let stall = self.stall.get_or_insert_with(|| Stall {
                    deadline: Box::pin(tokio::time::sleep(WRITE_TIMEOUT)),
                    taken: 0,
                });
                ready!(stall.deadline.as_mut().poll(cx));
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client does not read its answer",
                )));
            }
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(written) => {
                    self.place.activity.progresses();
                    if let Some(stall) = &mut self.stall {
                        stall.taken += written;
                    }
                    self.stall.take_if(|stall| stall.taken >= MIN_PROGRESS);
                    return Poll::Ready(Ok(written));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Completes when the client has taken its last answer. What a closed socket still holds would
    /// belong to no place, and stay for minutes where the client does not read.
    fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.taking.is_none() {
            // Without a file descriptor to spare, for one, the kernel sends the rest.
            self.taking = Some(Taking::of(&self.stream).unwrap_or(Taking::Taken));
            self.place.activity.lingers();
        }
        let Some(Taking::Waits(again, deadline)) = &mut self.taking else { return Poll::Ready(Ok(())) };
        if again.poll_write_ready(cx)?.is_ready() {
            self.taking = Some(Taking::Taken);
            return Poll::Ready(Ok(()));
        }
        ready!(deadline.as_mut().poll(cx));
        socket2::SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO))?;
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answer")))
    }

    fn poll_received(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Poll::Ready(received) = self.poll_received(cx, buffer.initialize_unfilled()) else {
            self.place.activity.awaits();
            return Poll::Pending;
        };
        let received = received?;
        if received > 0 {
            self.place.activity.received();
        }
        buffer.advance(received);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_written(cx, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_written(cx, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper flushes when it has written everything.
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stall = None;
        self.place.activity.progresses();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = &mut *self;
        if socket.linger.is_none() {
            ready!(socket.poll_taken(cx))?;
            socket2::SockRef::from(&*socket.stream).shutdown(Shutdown::Write)?;
            if !socket.place.activity.has_unread() {
                return Poll::Ready(Ok(()));
            }
            socket.place.activity.lingers();
            socket.linger = Some(Linger::new());
        }
        let mut scratch = [0; SCRATCH];
        loop {
            let received = socket.poll_received(cx, &mut scratch);
            let linger = socket.linger.as_mut().expect("set above");
            match received {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(received)) => {
                    if !linger.takes(received, *socket.closing.borrow()) {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Pending => return linger.pause.as_mut().poll(cx).map(Ok),
            }
        }
    }
}
