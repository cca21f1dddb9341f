//! HTTP/2 as no client should speak it.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tonic::codegen::http::{Method, Request};

/// Address of hostile callers. Without certificates a node distinguishes callers by their addresses.
const HOSTILE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Connects from the address of hostile callers.
pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((HOSTILE, 0)))?;
    socket.connect(address).await.context("no connection")
}

/// An HTTP/2 connection.
pub(super) struct Http2 {
    send: SendRequest<Bytes>,
    runs: JoinHandle<()>,
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.runs.abort();
    }
}

/// One call whose request has begun.
pub(super) struct Sent {
    pub(super) stream: SendStream<Bytes>,
    pub(super) answer: ResponseFuture,
}

impl Http2 {
    /// Opens a connection that lets the other side send `window` bytes of each answer before it reads any.
    pub(super) async fn open(address: SocketAddr, window: u32) -> Result<Self> {
        let stream = connect(address).await?;
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(window)
            .max_concurrent_reset_streams(0)
            .handshake(stream)
            .await?;
        let runs = tokio::spawn(async move {
            // The calls show what happens to the connection.
            let _ = connection.await;
        });
        Ok(Self { send, runs })
    }

    /// Begins a call.
    pub(super) async fn call(&mut self, path: &str) -> Result<Sent> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://node{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut send = self.send.clone().ready().await?;
        let (answer, stream) = send.send_request(request, false)?;
        Ok(Sent { stream, answer })
    }
}

impl Sent {
    /// Sends bytes. They stay with the sender while the other side does not take them.
    pub(super) fn send(&mut self, bytes: Bytes, is_last: bool) -> Result<()> {
        Ok(self.stream.send_data(bytes, is_last)?)
    }

    /// Waits until the other side takes more.
    pub(super) async fn taken(&mut self) -> Result<()> {
        self.stream.reserve_capacity(1);
        while self.stream.capacity() == 0 {
            let more = std::future::poll_fn(|context| self.stream.poll_capacity(context)).await;
            more.context("the call is over")??;
        }
        Ok(())
    }

    pub(super) fn reset(mut self) {
        self.stream.send_reset(Reason::CANCEL);
    }

    /// Reads the whole answer and drops it.
    pub(super) async fn read(self) -> Result<()> {
        let mut body = self.answer.await?.into_body();
        while let Some(part) = body.data().await {
            let part = part?;
            body.flow_control().release_capacity(part.len())?;
        }
        Ok(())
    }
}

/// Returns a message in the frame that gRPC uses.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut frame = prefix(message.len());
    frame.extend_from_slice(message);
    frame.freeze()
}

/// Returns the prefix that announces a message of this length.
pub(super) fn prefix(length: usize) -> BytesMut {
    let mut prefix = BytesMut::with_capacity(5 + length.min(1 << 16));
    prefix.put_u8(0);
    prefix.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    prefix
}
