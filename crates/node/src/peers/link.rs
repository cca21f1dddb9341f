//! One long-lived Raft stream to one peer, shared by all shards. Requests go out in the order of the calls.
//! Answers come back in any order, and are paired with the requests by number.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_api::peer::RaftMessage;
use holdfast_api::peer::peer_client::PeerClient;
use holdfast_guard::dial::{self, Dialer};
use holdfast_shard::TransportError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};

use super::identity::Greeting;
use super::presence::Presence;
use super::{CONNECT_TIMEOUT, MAX_PEER_MESSAGE_BYTES};
use crate::tasks::Tasks;

/// Most messages that wait to be written to one peer. Messages beyond that are refused, not buffered.
const QUEUE_MESSAGES: usize = 4_096;
/// The first and the longest pause before a connection is tried again, in milliseconds.
const BACKOFF_MS: (u64, u64) = (20, 500);
/// The longest pause where nobody listens, in milliseconds. A refused connection costs next to nothing, and
/// the node may be starting.
const REFUSED_BACKOFF_MS: u64 = 80;
/// A connection that lasted at least this long is tried again at once.
const LASTED: Duration = Duration::from_secs(1);

type Answer = oneshot::Sender<Result<Bytes, TransportError>>;

struct Call {
    shard: u32,
    payload: Bytes,
    answer: Answer,
}

/// The sending side of a link. The transport holds it.
pub(super) struct Link {
    calls: mpsc::Sender<Call>,
}

impl Link {
    pub(super) fn start(
        greeting: Greeting,
        peer: u64,
        endpoint: Endpoint,
        dialer: Dialer,
        presence: Arc<Presence>,
        tasks: &Tasks,
        stopping: CancellationToken,
    ) -> Self {
        let (calls, queue) = mpsc::channel(QUEUE_MESSAGES);
        tasks.spawn("peer link", async move {
            tokio::select! {
                () = keep_up(greeting, peer, endpoint, dialer, &presence, queue) => {}
                () = stopping.cancelled() => {}
            }
            presence.is_down();
            presence.is_perhaps_there();
        });
        Self { calls }
    }

    /// Queues the message at once, in the order of the calls. The future waits for the answer.
    pub(super) fn call(
        &self,
        shard: u32,
        payload: Bytes,
    ) -> impl Future<Output = Result<Bytes, TransportError>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let queued = self.calls.try_send(Call {
            shard,
            payload,
            answer,
        });
        async move {
            match queued {
                Ok(()) => {
                    // A link that ends drops its calls. Whether they were sent is not known any more.
                    answered
                        .await
                        .unwrap_or_else(|_| Err(TransportError::Unknown("the node is stopping".to_owned())))
                }
                Err(mpsc::error::TrySendError::Full(_)) => {
                    Err(TransportError::NotSent("the peer is too far behind".to_owned()))
                }
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    Err(TransportError::NotSent("the node is stopping".to_owned()))
                }
            }
        }
    }
}

struct Stream {
    requests: mpsc::Sender<RaftMessage>,
    answers: Streaming<RaftMessage>,
    headers: MetadataMap,
}

/// Connects, serves, and connects again, until the [`Link`] is gone.
async fn keep_up(
    greeting: Greeting,
    peer: u64,
    endpoint: Endpoint,
    dialer: Dialer,
    presence: &Presence,
    mut queue: mpsc::Receiver<Call>,
) {
    let mut backoff_ms = BACKOFF_MS.0;
    let mut reported = false;
    loop {
        let (why, refused) = {
            let connecting = connect(greeting, &endpoint, &dialer);
            tokio::pin!(connecting);
            let result = loop {
                tokio::select! {
                    result = &mut connecting => break result,
                    call = queue.recv() => match call {
                        Some(call) => refuse(call, "connecting"),
                        None => return,
                    },
                }
            };
            match result {
                Ok(stream) => {
                    tracing::info!(peer, "connected to peer");
                    presence.is_up(&stream.headers);
                    (backoff_ms, reported) = (BACKOFF_MS.0, false);
                    let since = Instant::now();
                    let why = serve(stream, presence, &mut queue).await;
                    presence.is_down();
                    let Some(why) = why else { return };
                    if since.elapsed() >= LASTED {
                        tracing::warn!(peer, why, "the connection to peer broke");
                        reported = true;
                        continue;
                    }
                    (why, false)
                }
                Err(NoStream::Refused(why)) => (why, true),
                Err(NoStream::Failed(why)) => (why, false),
            }
        };
        if refused {
            presence.is_gone();
        } else {
            presence.is_perhaps_there();
        }
        // Logged once for each outage, not at each attempt.
        if reported {
            tracing::debug!(peer, why, "still no connection to peer");
        } else {
            tracing::warn!(peer, why, "no connection to peer");
            reported = true;
        }
        let pause = tokio::time::sleep(Duration::from_millis(backoff_ms));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                call = queue.recv() => match call {
                    Some(call) => refuse(call, &why),
                    None => return,
                },
            }
        }
        let longest_ms = if refused { REFUSED_BACKOFF_MS } else { BACKOFF_MS.1 };
        backoff_ms = (backoff_ms * 2).min(longest_ms);
    }
}

fn refuse(call: Call, why: &str) {
    // A caller that no longer waits needs no answer.
    let _ = call.answer.send(Err(TransportError::NotSent(why.to_owned())));
}

/// The reason why there is no stream.
enum NoStream {
    /// The machine is there, and nobody listens at the address.
    Refused(String),
    Failed(String),
}

async fn connect(greeting: Greeting, endpoint: &Endpoint, dialer: &Dialer) -> Result<Stream, NoStream> {
    let attempt = async {
        let channel: Channel = match dialer.connect(endpoint).await {
            Ok(channel) => channel,
            Err(error) if is_refused(&error) && dial::refuses(endpoint).await => {
                return Err(NoStream::Refused(chain(&error)));
            }
            Err(error) => return Err(NoStream::Failed(chain(&error))),
        };
        let mut client = PeerClient::new(channel)
            .max_decoding_message_size(MAX_PEER_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_PEER_MESSAGE_BYTES);
        let (requests, outgoing) = mpsc::channel(QUEUE_MESSAGES);
        let request = greeting.stamp(Request::new(ReceiverStream::new(outgoing)));
        let (headers, answers, _) = client
            .raft(request)
            .await
            .map_err(|status| NoStream::Failed(status.message().to_owned()))?
            .into_parts();
        Ok(Stream {
            requests,
            answers,
            headers,
        })
    };
    match tokio::time::timeout(CONNECT_TIMEOUT * 2, attempt).await {
        Ok(result) => result,
        Err(_) => Err(NoStream::Failed("connecting took too long".to_owned())),
    }
}

/// Returns whether a connection was refused. A refusal means that nobody listens: a listener with a full
/// queue does not answer, and one without descriptors still takes connections.
fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        source = error.source();
    }
    false
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Serves one connection. Returns the reason when it breaks, and `None` when the link ends.
async fn serve(mut stream: Stream, presence: &Presence, queue: &mut mpsc::Receiver<Call>) -> Option<String> {
    let mut waiting: HashMap<u64, Answer> = HashMap::new();
    let mut next_id: u64 = 0;
    let why = loop {
        tokio::select! {
            call = queue.recv() => {
                let Call { shard, payload, answer } = call?;
                next_id += 1;
                match stream.requests.try_send(RaftMessage { request_id: next_id, shard, payload, low_space: false }) {
                    Ok(()) => { waiting.insert(next_id, answer); }
                    Err(_) => {
                        let _ = answer.send(Err(TransportError::NotSent("the peer is too far behind".to_owned())));
                    }
                }
                if waiting.len() > QUEUE_MESSAGES {
                    // Callers whose time ran out left their entry behind.
                    waiting.retain(|_, answer| !answer.is_closed());
                }
            }
            answer = stream.answers.message() => match answer {
                Ok(Some(message)) => {
                    presence.says_low_space(message.low_space);
                    if let Some(answer) = waiting.remove(&message.request_id) {
                        let result = if message.payload.is_empty() {
                            Err(TransportError::Unknown("the peer could not answer".to_owned()))
                        } else {
                            Ok(message.payload)
                        };
                        let _ = answer.send(result);
                    }
                }
                Ok(None) => break "the peer closed the connection".to_owned(),
                Err(status) => break status.message().to_owned(),
            },
        }
    };
    for (_, answer) in waiting {
        let _ = answer.send(Err(TransportError::Unknown(format!(
            "the connection broke: {why}"
        ))));
    }
    Some(why)
}
