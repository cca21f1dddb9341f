//! A shim before librdkafka's mock cluster.
//!
//! The mock answers a version of ApiVersions that it does not know in a form that only librdkafka reads. A
//! broker answers in version 0 of the answer (KIP-511), and so does the shim. All other bytes pass, except
//! that brokers are named by the ports of the shim.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// The number of the request ApiVersions, and the highest version of it that the mock knows.
const API_VERSIONS: i16 = 18;
const HIGHEST_KNOWN: i16 = 2;
/// The error code UNSUPPORTED_VERSION.
const UNSUPPORTED_VERSION: i16 = 35;
/// The largest message that passes.
const MAX_BYTES: usize = 64 << 20;

/// Starts a shim for brokers on this machine, given and returned as `host:port,host:port`.
pub(crate) async fn start(servers: &str) -> String {
    let mut ports = Vec::new();
    let mut listeners = Vec::new();
    for server in servers.split(',') {
        let port: u16 = server.rsplit_once(':').unwrap().1.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        ports.push((port, listener.local_addr().unwrap().port()));
        listeners.push((port, listener));
    }
    for (port, listener) in listeners {
        let ports = ports.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(broker) = TcpStream::connect(("127.0.0.1", port)).await else {
                    continue;
                };
                tokio::spawn(pass(client, broker, ports.clone()));
            }
        });
    }
    let named = ports.iter().map(|(_, shim)| format!("127.0.0.1:{shim}"));
    named.collect::<Vec<_>>().join(",")
}

async fn pass(client: TcpStream, broker: TcpStream, ports: Vec<(u16, u16)>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_broker, mut to_broker) = broker.into_split();
    if negotiate(&mut from_client, &mut to_client, &mut to_broker)
        .await
        .is_err()
    {
        return;
    }
    let requests = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_broker).await });
    while let Ok(mut answer) = read(&mut from_broker).await {
        for (broker, shim) in &ports {
            rename(&mut answer, *broker, *shim);
        }
        if write(&mut to_client, &answer).await.is_err() {
            break;
        }
    }
    requests.abort();
}

/// Answers requests for versions that the mock does not know, and passes the first other request.
async fn negotiate(
    from_client: &mut OwnedReadHalf,
    to_client: &mut OwnedWriteHalf,
    to_broker: &mut OwnedWriteHalf,
) -> io::Result<()> {
    loop {
        let request = read(from_client).await?;
        let number = |at: usize| Some(i16::from_be_bytes(request.get(at..at + 2)?.try_into().ok()?));
        if number(0) != Some(API_VERSIONS) || number(2).is_none_or(|version| version <= HIGHEST_KNOWN) {
            return write(to_broker, &request).await;
        }
        // The number of the request; the error; one entry: ApiVersions from 0 to 2.
        let mut answer = request.get(4..8).unwrap_or_default().to_vec();
        answer.extend(UNSUPPORTED_VERSION.to_be_bytes());
        answer.extend(1_i32.to_be_bytes());
        for number in [API_VERSIONS, 0, HIGHEST_KNOWN] {
            answer.extend(number.to_be_bytes());
        }
        write(to_client, &answer).await?;
    }
}

/// Names the shim where an answer names the broker: its host, and then its port as four bytes.
fn rename(answer: &mut [u8], broker: u16, shim: u16) {
    let named = |port: u16| [&b"127.0.0.1"[..], &i32::from(port).to_be_bytes()].concat();
    let (broker, shim) = (named(broker), named(shim));
    for at in 0..answer.len().saturating_sub(broker.len() - 1) {
        if answer[at..].starts_with(&broker) {
            answer[at..at + broker.len()].copy_from_slice(&shim);
        }
    }
}

async fn read(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let length = usize::try_from(from.read_u32().await?).map_err(io::Error::other)?;
    if length > MAX_BYTES {
        return Err(io::Error::other("too long"));
    }
    let mut message = vec![0; length];
    from.read_exact(&mut message).await?;
    Ok(message)
}

async fn write(to: &mut OwnedWriteHalf, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    to.write_all(&[&length.to_be_bytes(), message].concat()).await
}
