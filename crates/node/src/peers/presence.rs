//! The state of another node, as the connection to it shows it.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use holdfast_shard::{DiskSpace, GoneNodes, PreVoteSupport};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};

/// Header of a node's answer to a Raft stream. It lists the messages that the node knows and earlier versions
/// did not.
const SPEAKS: &str = "holdfast-speaks";
/// The word in this header for messages that ask for consent before an election.
const PRE_VOTE: &str = "pre-vote";

/// The Raft stream to the node is down.
const DOWN: u8 = 0;
/// The stream is up, to a node that does not know pre-votes.
const UP: u8 = 1;
/// The stream is up, to a node that does.
const UP_WITH_PRE_VOTE: u8 = 2;

/// The presence of one other node, as the connection to it shows it.
pub(super) struct Presence {
    node_id: u64,
    state: AtomicU8,
    /// Whether the node's newest answer said that its disk is low.
    low_space: AtomicBool,
    gone: watch::Sender<GoneNodes>,
}

impl Presence {
    pub(super) fn new(node_id: u64, gone: watch::Sender<GoneNodes>) -> Self {
        Self {
            node_id,
            state: AtomicU8::new(DOWN),
            low_space: AtomicBool::new(false),
            gone,
        }
    }

    /// Records that the Raft stream is up, and what the headers of the node's answer say.
    pub(super) fn is_up(&self, headers: &MetadataMap) {
        let words = headers.get(SPEAKS).and_then(|words| words.to_str().ok());
        let knows_pre_vote = words.is_some_and(|words| words.split(',').any(|word| word.trim() == PRE_VOTE));
        let state = if knows_pre_vote { UP_WITH_PRE_VOTE } else { UP };
        self.state.store(state, Ordering::Relaxed);
        self.is_perhaps_there();
    }

    /// Records that the Raft stream broke.
    pub(super) fn is_down(&self) {
        self.state.store(DOWN, Ordering::Relaxed);
    }

    /// Records that the node's machine refused a connection: the node's process is gone.
    pub(super) fn is_gone(&self) {
        self.gone.send_if_modified(|gone| {
            let is_new = !gone.contains_key(&self.node_id);
            if is_new {
                gone.insert(self.node_id, Instant::now());
            }
            is_new
        });
    }

    /// Records that nothing shows that the node's process is gone.
    pub(super) fn is_perhaps_there(&self) {
        self.gone
            .send_if_modified(|gone| gone.remove(&self.node_id).is_some());
    }

    /// Records what the node's answer says about its disk.
    pub(super) fn says_low_space(&self, low: bool) {
        self.low_space.store(low, Ordering::Relaxed);
    }

    pub(super) fn disk_space(&self) -> DiskSpace {
        if !self.is_connected() {
            DiskSpace::Unknown
        } else if self.low_space.load(Ordering::Relaxed) {
            DiskSpace::Low
        } else {
            DiskSpace::Enough
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state.load(Ordering::Relaxed) != DOWN
    }

    pub(super) fn pre_vote_support(&self) -> PreVoteSupport {
        match self.state.load(Ordering::Relaxed) {
            DOWN => PreVoteSupport::Unreachable,
            UP => PreVoteSupport::No,
            _ => PreVoteSupport::Yes,
        }
    }
}

/// Writes into the headers which messages this node knows.
pub(super) fn say_what_we_speak(headers: &mut MetadataMap) {
    headers.insert(SPEAKS, AsciiMetadataValue::from_static(PRE_VOTE));
}
