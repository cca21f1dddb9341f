//! The network. Every message of the simulation passes through it, under the current [`Conditions`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use holdfast_shard::TransportError;
use holdfast_storage::FaultDisk;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{mpsc, oneshot};

use crate::time::TrueTime;
use crate::trace::Trace;

/// The address of all clients; nodes are numbered from 1.
pub const CLIENTS: u64 = 0;

/// Time until a sender hears that its message or the answer was lost, unless its own patience ends before.
const LOSS_NOTICED: Duration = Duration::from_millis(1_000);

/// The purpose of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Messages between Raft replicas.
    Raft,
    /// Requests from a replica to the leader.
    Forward,
    /// Requests from a client to a node.
    Client,
}

/// The present behaviour of the network.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// Connections (from, to) on which nothing arrives.
    pub cut: BTreeSet<(u64, u64)>,
    /// Connections (from, to) that are slower, by this many milliseconds.
    pub slow_ms: BTreeMap<(u64, u64), u64>,
    /// Connections on which nothing of one shard arrives: (from, to, shard). The other shards are not
    /// affected.
    pub cut_shards: BTreeSet<(u64, u64, u32)>,
    /// Number of messages in a thousand that are lost.
    pub lost_permille: u32,
    /// Number of messages between Raft replicas in a thousand that arrive twice. The second copy comes from a
    /// connection that broke, so its answer is lost: to answer for the first copy, it would have to overtake
    /// what was sent on the same connection since. Requests are not doubled: a refused request may be decided
    /// anew when it comes again, so that it would be refused and take effect.
    pub doubled_permille: u32,
    /// Whether messages overtake others. Raft replicas are promised that a connection keeps the order. So a
    /// message between them that comes late was sent on a connection that broke, and its answer is lost.
    pub reordering: bool,
    /// Number of the next snapshots that break off on their way.
    pub broken_snapshots: u32,
}

/// Counts of what the network did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Messages that arrived.
    pub delivered: u64,
    /// Messages that did not arrive.
    pub lost: u64,
    /// Messages that arrived twice.
    pub doubled: u64,
    /// Messages that came after others which were sent later.
    pub overtaken: u64,
    /// Snapshots that began to arrive.
    pub snapshots: u64,
    /// Snapshots that broke off on their way.
    pub broken_snapshots: u64,
}

type Answered = Result<Bytes, TransportError>;

/// The place where the sender waits for the answer.
struct Asker(oneshot::Sender<Answered>);

impl Asker {
    fn new() -> (Self, oneshot::Receiver<Answered>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    fn fill(self, answer: Answered) {
        self.0.send(answer).ok();
    }
}

type Chunk = Result<Bytes, io::Error>;

/// A question that has arrived.
pub enum Question {
    /// A question with one payload.
    Ask {
        /// Purpose of the question.
        channel: Channel,
        /// Shard that it is for.
        shard: u32,
        /// Content of the question.
        payload: Bytes,
    },
    /// A snapshot whose chunks follow.
    Snapshot {
        /// Shard that it is for.
        shard: u32,
        /// Header that is sent before the chunks.
        header: Bytes,
        /// Chunks of the snapshot.
        chunks: mpsc::UnboundedReceiver<Chunk>,
    },
}

/// The content of a message.
enum Content {
    Question(Question, Asker),
    Answer(Asker, Answered),
    Chunk(mpsc::UnboundedSender<Chunk>, Chunk),
}

impl Content {
    /// Returns the shard that a question is for.
    fn shard(&self) -> Option<u32> {
        match self {
            Content::Question(Question::Ask { shard, .. } | Question::Snapshot { shard, .. }, _) => {
                Some(*shard)
            }
            Content::Answer(..) | Content::Chunk(..) => None,
        }
    }
}

struct Envelope {
    from: u64,
    to: u64,
    content: Content,
}

/// The way back to the sender of a question.
pub struct Reply {
    network: Network,
    from: u64,
    to: u64,
    asker: Asker,
}

impl Reply {
    /// Sends the answer, if the node still has power.
    pub fn send(self, power: Option<&FaultDisk>, answer: Answered) {
        if power.is_none_or(FaultDisk::has_power) {
            self.network
                .post(self.from, self.to, Content::Answer(self.asker, answer));
        }
    }
}

/// The network. Clones share its content.
#[derive(Clone)]
pub struct Network {
    time: TrueTime,
    trace: Trace,
    state: Arc<Mutex<State>>,
}

struct State {
    random: SmallRng,
    conditions: Conditions,
    counts: Counts,
    sent: u64,
    /// Messages under way, by receiver, then by time of arrival and order of sending.
    travelling: BTreeMap<u64, BTreeMap<(u64, u64), Envelope>>,
    /// Arrival time of the last message on each connection that keeps its order.
    last_arrival: BTreeMap<(u64, u64), u64>,
}

impl Network {
    /// Makes a network without any fault.
    pub fn new(seed: u64, time: TrueTime, trace: Trace) -> Self {
        let state = State {
            random: SmallRng::seed_from_u64(seed),
            conditions: Conditions::default(),
            counts: Counts::default(),
            sent: 0,
            travelling: BTreeMap::new(),
            last_arrival: BTreeMap::new(),
        };
        Self {
            time,
            trace,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Changes the behaviour of the network.
    pub fn change(&self, change: impl FnOnce(&mut Conditions)) {
        change(&mut self.state.lock().conditions);
    }

    /// Returns whether messages are lost or delayed.
    pub fn is_harmed(&self) -> bool {
        let state = self.state.lock();
        let Conditions {
            cut,
            cut_shards,
            slow_ms,
            lost_permille,
            reordering,
            ..
        } = &state.conditions;
        !cut.is_empty() || !cut_shards.is_empty() || !slow_ms.is_empty() || *lost_permille > 0 || *reordering
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> Counts {
        self.state.lock().counts
    }

    /// Sends a question. It is under way when this returns; the future is the answer.
    pub fn ask(
        &self,
        (from, to): (u64, u64),
        channel: Channel,
        shard: u32,
        payload: Bytes,
    ) -> BoxFuture<'static, Answered> {
        let (asker, answer) = Asker::new();
        let question = Question::Ask {
            channel,
            shard,
            payload,
        };
        self.post(from, to, Content::Question(question, asker));
        Box::pin(answer_or_silence(answer))
    }

    /// Sends the header of a snapshot. The chunks follow with [`Self::send_chunk`].
    pub fn open_snapshot(
        &self,
        (from, to): (u64, u64),
        shard: u32,
        header: Bytes,
    ) -> (SnapshotWay, BoxFuture<'static, Answered>) {
        let (asker, answer) = Asker::new();
        let (sender, chunks) = mpsc::unbounded_channel();
        let question = Question::Snapshot {
            shard,
            header,
            chunks,
        };
        self.post(from, to, Content::Question(question, asker));
        let breaks_after = {
            let mut state = self.state.lock();
            let State {
                random, conditions, ..
            } = &mut *state;
            let breaks = conditions.broken_snapshots > 0;
            conditions.broken_snapshots = conditions.broken_snapshots.saturating_sub(1);
            breaks.then(|| random.random_range(0..4))
        };
        let way = SnapshotWay {
            network: self.clone(),
            from,
            to,
            sender,
            breaks_after,
        };
        (way, Box::pin(answer_or_silence(answer)))
    }

    fn post(&self, from: u64, to: u64, content: Content) -> bool {
        let now_ms = self.time.now_ms();
        let mut state = self.state.lock();
        let State {
            random,
            conditions,
            counts,
            ..
        } = &mut *state;
        let cut_shard = |shard| conditions.cut_shards.contains(&(from, to, shard));
        let lost = conditions.cut.contains(&(from, to))
            || content.shard().is_some_and(cut_shard)
            || happens(random, conditions.lost_permille);
        if lost {
            counts.lost += 1;
            return false;
        }
        let doubled = match &content {
            Content::Question(
                Question::Ask {
                    channel: Channel::Raft,
                    shard,
                    payload,
                },
                _,
            ) if happens(random, conditions.doubled_permille) => {
                let question = Question::Ask {
                    channel: Channel::Raft,
                    shard: *shard,
                    payload: payload.clone(),
                };
                Some(Content::Question(question, Asker::new().0))
            }
            _ => None,
        };
        let again_ms = random.random_range(1..200);
        let (content, late_ms) = state.perhaps_late(content);
        let arrival_ms = now_ms + late_ms + state.travel_ms(from, to);
        let keeps_order = match &content {
            Content::Question(Question::Ask { channel, .. }, _) => *channel == Channel::Raft && late_ms == 0,
            Content::Question(Question::Snapshot { .. }, _) | Content::Answer(..) => false,
            Content::Chunk(..) => true,
        };
        let last_ms = state.last_arrival.entry((from, to)).or_default();
        let arrival_ms = match keeps_order {
            true => arrival_ms.max(*last_ms),
            false => arrival_ms,
        };
        if keeps_order {
            *last_ms = arrival_ms;
        }
        state.put(arrival_ms, Envelope { from, to, content });
        if let Some(content) = doubled.filter(|_| late_ms == 0) {
            state.counts.doubled += 1;
            state.put(arrival_ms + again_ms, Envelope { from, to, content });
        }
        true
    }

    /// Hands every message that has arrived at `address` to `receive`, in order. Without a receiver,
    /// questions are refused or never answered, as by a machine that is down.
    pub fn deliver(&self, address: u64, mut receive: Option<&mut dyn FnMut(Question, Reply)>) {
        let now_ms = self.time.now_ms();
        loop {
            let (envelope, refused) = {
                let mut state = self.state.lock();
                let Some(travelling) = state.travelling.get_mut(&address) else {
                    return;
                };
                let Some(first) = travelling.first_entry() else {
                    return;
                };
                if first.key().0 > now_ms {
                    return;
                }
                let envelope = first.remove();
                state.counts.delivered += 1;
                let is_snapshot = matches!(envelope.content, Content::Question(Question::Snapshot { .. }, _));
                state.counts.snapshots += u64::from(is_snapshot);
                (envelope, happens(&mut state.random, 500))
            };
            self.note(&envelope);
            let Envelope { from, to, content } = envelope;
            match content {
                Content::Answer(asker, answer) => asker.fill(answer),
                Content::Chunk(chunks, chunk) => {
                    chunks.send(chunk).ok();
                }
                Content::Question(question, asker) => {
                    let reply = Reply {
                        network: self.clone(),
                        from: to,
                        to: from,
                        asker,
                    };
                    match &mut receive {
                        Some(receive) => receive(question, reply),
                        None if refused => {
                            reply.send(None, Err(TransportError::NotSent("it is down".into())));
                        }
                        None => {}
                    }
                }
            }
        }
    }

    fn note(&self, envelope: &Envelope) {
        let way = |more: u64| [envelope.from, envelope.to, more];
        match &envelope.content {
            Content::Question(
                Question::Ask {
                    channel,
                    shard,
                    payload,
                },
                _,
            ) => {
                let what = match channel {
                    Channel::Raft => "raft",
                    Channel::Forward => "forward",
                    Channel::Client => "request",
                };
                self.trace.event(what, &way(u64::from(*shard)), payload);
            }
            Content::Question(Question::Snapshot { shard, header, .. }, _) => {
                self.trace.event("snapshot", &way(u64::from(*shard)), header);
            }
            Content::Answer(_, Ok(payload)) => self.trace.event("answer", &way(0), payload),
            Content::Answer(_, Err(error)) => {
                self.trace
                    .event("no answer", &way(0), error.to_string().as_bytes())
            }
            Content::Chunk(_, Ok(chunk)) => self.trace.event("chunk", &way(0), chunk),
            Content::Chunk(_, Err(error)) => {
                self.trace
                    .event("no chunk", &way(0), error.to_string().as_bytes())
            }
        }
    }
}

/// The connection of one snapshot.
pub struct SnapshotWay {
    network: Network,
    from: u64,
    to: u64,
    sender: mpsc::UnboundedSender<Chunk>,
    breaks_after: Option<u32>,
}

impl SnapshotWay {
    /// Sends the next chunk. Returns false when the connection broke; then the receiver gets no more chunks.
    pub fn send_chunk(&mut self, chunk: Chunk) -> bool {
        match &mut self.breaks_after {
            Some(0) => {
                self.network.state.lock().counts.broken_snapshots += 1;
                return false;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let content = Content::Chunk(self.sender.clone(), chunk);
        let arrives = self.network.post(self.from, self.to, content);
        if !arrives {
            self.network.state.lock().counts.broken_snapshots += 1;
        }
        arrives
    }
}

impl State {
    fn put(&mut self, arrival_ms: u64, envelope: Envelope) {
        self.sent += 1;
        let queue = self.travelling.entry(envelope.to).or_default();
        queue.insert((arrival_ms, self.sent), envelope);
    }

    /// Delays some messages when reordering is on.
    fn perhaps_late(&mut self, content: Content) -> (Content, u64) {
        let may_be_late = match &content {
            Content::Question(Question::Ask { channel, .. }, _) => *channel != Channel::Forward,
            Content::Question(Question::Snapshot { .. }, _) | Content::Answer(..) => true,
            Content::Chunk(..) => false,
        };
        if !self.conditions.reordering || !may_be_late || !happens(&mut self.random, 150) {
            return (content, 0);
        }
        self.counts.overtaken += 1;
        let late_ms = self.random.random_range(5..300);
        match content {
            Content::Question(
                question @ Question::Ask {
                    channel: Channel::Raft,
                    ..
                },
                _,
            ) => (Content::Question(question, Asker::new().0), late_ms),
            content => (content, late_ms),
        }
    }

    fn travel_ms(&mut self, from: u64, to: u64) -> u64 {
        let slow_ms = self.conditions.slow_ms.get(&(from, to)).copied().unwrap_or(0);
        slow_ms + self.random.random_range(1..=3)
    }
}

fn happens(random: &mut SmallRng, permille: u32) -> bool {
    permille > 0 && random.random_range(0..1_000) < permille
}

async fn answer_or_silence(answer: oneshot::Receiver<Answered>) -> Answered {
    match answer.await {
        Ok(answer) => answer,
        Err(_) => {
            tokio::time::sleep(LOSS_NOTICED).await;
            Err(TransportError::Unknown("the connection was lost".into()))
        }
    }
}
