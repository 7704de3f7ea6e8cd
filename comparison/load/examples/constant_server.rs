//! A server that answers every POST after a fixed time: a reference for the load generator and its
//! peers.
//!
//!     cargo run --release -p load --example constant_server -- 9911 10

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |a| a.parse());
    let (port, service_ms) = (number(9911)?, number(10)?);
    let listener = TcpListener::bind(("127.0.0.1", u16::try_from(port)?)).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(serve(socket, Duration::from_millis(service_ms)));
    }
}

async fn serve(socket: TcpStream, service: Duration) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    let mut line = String::new();
    let mut body = 0;
    loop {
        line.clear();
        if socket.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let header = line.trim_end().to_ascii_lowercase();
        if let Some(length) = header.strip_prefix("content-length:") {
            body = length.trim().parse().unwrap_or(0);
        }
        if header.is_empty() {
            let mut discarded = vec![0; body];
            socket.read_exact(&mut discarded).await?;
            body = 0;
            if !service.is_zero() {
                tokio::time::sleep(service).await;
            }
            socket.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await?;
        }
    }
}
