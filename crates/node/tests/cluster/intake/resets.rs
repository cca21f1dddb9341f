//! Calls that their caller gives up. The frames are written by hand, because a library does not send a call
//! that is given up before it is sent.

use holdfast_api::v1;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Kinds of frames, and flags (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

const TOPOLOGY: &str = "/holdfast.v1.Cluster/GetTopology";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// Returns the headers of a call, encoded without a table (RFC 7541, section 6.2.2).
fn headers(path: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [
        // :method POST, :scheme http, :path, :authority, content-type, te
        &[0x83, 0x86, 0x04][..],
        &text(path),
        &[0x01],
        &text("node"),
        &[0x0f, 0x10],
        &text("application/grpc"),
        &[0x00],
        &text("te"),
        &text("trailers"),
    ]
    .concat()
}

fn call(path: &str, stream: u32, message: &[u8]) -> Vec<u8> {
    let begin = frame(HEADERS, END_HEADERS, stream, &headers(path));
    [begin, frame(DATA, END_STREAM, stream, &framed(message))].concat()
}

async fn read_frame(connection: &mut TcpStream) -> (u8, u8, u32, Vec<u8>) {
    let mut head = [0; 9];
    connection.read_exact(&mut head).await.unwrap();
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    connection.read_exact(&mut payload).await.unwrap();
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    (head[3], head[4], stream, payload)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_calls_that_time_out_while_a_node_is_busy_do_not_end_their_connection() {
    let cluster = TestCluster::start_with(1, |_| {}).await;
    let mut connection = TcpStream::connect(cluster.node(0).client_address())
        .await
        .unwrap();
    // The node finds the calls and their ends at the same time, as it does after a pause. Their messages are
    // small, so that all of them fit the connection's first window (RFC 9113, section 6.9.2).
    let question = v1::GetTopologyRequest {}.encode_to_vec();
    let mut sent = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let mut stream = 1;
    for _ in 0..3_000 {
        sent.extend(call(TOPOLOGY, stream, &question));
        sent.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
        stream += 2;
    }
    connection.write_all(&sent).await.unwrap();
    // While the node still works on the earlier calls, it may refuse one more, which a client repeats.
    while !is_answered(&mut connection, stream, &question).await {
        stream += 2;
    }
    drop(connection);
    cluster.stop_all().await;
}

/// Sends a call, and returns true if the node answers it and false if it refuses it. Panics when the node
/// ends the connection.
async fn is_answered(connection: &mut TcpStream, stream: u32, question: &[u8]) -> bool {
    let asked = call(TOPOLOGY, stream, question);
    connection.write_all(&asked).await.unwrap();
    loop {
        let (kind, flags, of, payload) = within_patience("a frame", read_frame(connection)).await;
        match kind {
            GOAWAY => panic!(
                "the node ends the connection after call {stream}: {:?} {}",
                payload.get(..8),
                String::from_utf8_lossy(payload.get(8..).unwrap_or_default())
            ),
            HEADERS if of == stream => return true,
            RST_STREAM if of == stream => {
                assert_eq!(payload, REFUSED_STREAM.to_be_bytes());
                return false;
            }
            SETTINGS | PING if flags & ACK == 0 => {
                let payload = if kind == PING { payload } else { Vec::new() };
                connection
                    .write_all(&frame(kind, ACK, 0, &payload))
                    .await
                    .unwrap();
            }
            _ => {}
        }
    }
}
