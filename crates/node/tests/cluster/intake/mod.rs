//! Limits on requests before they are decoded.

mod bounds;
mod resets;
mod silence;

use std::net::SocketAddr;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use holdfast_api::v1::Refusal;
use tokio::net::TcpStream;
use tonic::Status;
use tonic::codegen::http::{Method, Request};

use crate::support::*;

const RESERVE: &str = "/holdfast.v1.Reservations/Reserve";
const BATCH: &str = "/holdfast.v1.Reservations/Batch";
const TAIL: &str = "/holdfast.v1.Changes/TailChanges";

/// A client that sends exactly the bytes that a test gives it.
struct Rude {
    send: SendRequest<Bytes>,
    ended: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

/// One call of this client.
struct Call {
    stream: SendStream<Bytes>,
    answer: ResponseFuture,
}

impl Rude {
    /// Connects a client that takes `window` bytes of an answer before it reads any.
    async fn connect(address: SocketAddr, window: u32) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(window)
            .handshake(stream)
            .await
            .unwrap();
        let ended = tokio::spawn(connection);
        Self { send, ended }
    }

    async fn call(&mut self, path: &str) -> Call {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://node{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let mut send = self.send.clone().ready().await.unwrap();
        let (answer, stream) = send.send_request(request, false).unwrap();
        Call { stream, answer }
    }
}

impl Call {
    fn send(&mut self, bytes: Bytes, is_last: bool) {
        self.stream.send_data(bytes, is_last).unwrap();
    }

    /// Waits for the end of the call.
    async fn status(self) -> Status {
        let response = within_patience("the call is answered", self.answer)
            .await
            .unwrap();
        let headers = response.headers().clone();
        match Status::from_header_map(&headers) {
            Some(status) => status,
            None => {
                let mut body = response.into_body();
                while let Some(data) = within_patience("the answer comes", body.data()).await {
                    let _ = body.flow_control().release_capacity(data.unwrap().len());
                }
                let trailers = within_patience("the call ends", body.trailers()).await.unwrap();
                Status::from_header_map(&trailers.unwrap()).unwrap()
            }
        }
    }

    /// Waits for the refusal of the call.
    async fn refusal(self) -> (Status, Refusal) {
        let status = self.status().await;
        let refusal = holdfast_api::reasons::refusal_in(&status).expect("a refusal");
        (status, refusal)
    }
}

fn announced(length: usize) -> Bytes {
    let mut prefix = BytesMut::new();
    prefix.put_u8(0);
    prefix.put_u32(u32::try_from(length).unwrap());
    prefix.freeze()
}

fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::from(&announced(message.len())[..]);
    frame.extend_from_slice(message);
    frame.freeze()
}

/// Returns a sample of the node's metrics; 0 while the sample is missing.
async fn sample(cluster: &TestCluster, name: &str) -> f64 {
    let (_, text) = crate::surface::get(cluster.node(0).http_address(), "/metrics").await;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}
