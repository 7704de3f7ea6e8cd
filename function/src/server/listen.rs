//! The listening socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

use crate::memory::{RECEIVE_BUFFER, SEND_BUFFER};

/// Connections that the kernel holds until they are accepted. It takes the lesser of this and
/// `net.core.somaxconn` (4096 on Linux since 5.4).
const BACKLOG: i32 = 4096;

/// Listens on `host`. Without one, on every address of the machine: IPv6 and IPv4 through one
/// socket, IPv4 alone where the machine has no IPv6. Must be called within an async runtime.
pub fn listen(host: Option<IpAddr>, port: u16) -> io::Result<TcpListener> {
    match host {
        Some(host) => bind(SocketAddr::new(host, port)),
        None => {
            bind(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)).or_else(|error| match error.kind() {
                // An address in use is an error in either family; falling back to IPv4 would hide
                // it.
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
                _ => bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
            })
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    // Lets a restart bind while connections of the previous process are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    // Connections get both from their listener.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// From here on the kernel ignores new connections and still finishes the handshakes that it has
/// begun. Closing a listener resets what it holds, so it must be emptied first, and cannot be
/// while it fills.
#[cfg(target_os = "linux")]
pub(super) fn refuse_handshakes(listener: &TcpListener) -> io::Result<()> {
    use socket2::SockFilter;
    // Classic BPF, which sees a segment from its TCP header on (linux/filter.h): pass all but SYN
    // without ACK.
    const FLAGS: u32 = 13; // their place in the header, RFC 9293, section 3.1
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    socket2::SockRef::from(listener).attach_filter(&[
        SockFilter::new(0x30, 0, 0, FLAGS),     // load that byte
        SockFilter::new(0x54, 0, 0, SYN | ACK), // keep two of its bits
        SockFilter::new(0x15, 0, 1, SYN),       // skip one instruction unless only SYN is set
        SockFilter::new(0x06, 0, 0, 0),         // drop
        SockFilter::new(0x06, 0, 0, u32::MAX),  // pass the whole segment
    ])
}

#[cfg(not(target_os = "linux"))]
pub(super) fn refuse_handshakes(_: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn without_a_host_clients_of_both_families_get_in() {
        let listener = listen(None, 0).expect("a free port");
        let address = listener.local_addr().expect("bound");
        TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).expect("IPv4");
        if address.is_ipv6() && std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, address.port())).expect("IPv6");
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error_whatever_the_family() {
        let taken = listen(None, 0).expect("a free port");
        let port = taken.local_addr().expect("bound").port();
        assert_eq!(listen(None, port).expect_err("taken").kind(), io::ErrorKind::AddrInUse);
    }
}
