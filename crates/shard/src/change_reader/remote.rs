//! A shard's changes from another node's replica, one portion at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::ChangeReadError;
use crate::forward::{ForwardReply, ForwardRequest};
use crate::peer::Portion;
use crate::{PeerTransport, codec};

/// Pause between two requests for news.
const POLL: Duration = Duration::from_millis(50);

/// Longest wait for one node's answer, before the next node is asked.
const PATIENCE: Duration = Duration::from_secs(5);

/// The nodes that are asked, and the first change that the last answer named.
pub(super) struct Remote {
    asking: Asking,
    first_seq: Arc<AtomicU64>,
    runtime: Handle,
    poll: AbortHandle,
}

#[derive(Clone)]
struct Asking {
    shard: u32,
    transport: Arc<dyn PeerTransport>,
    nodes: Vec<u64>,
}

impl Remote {
    pub(super) async fn connect(
        shard: u32,
        transport: Arc<dyn PeerTransport>,
        nodes: Vec<u64>,
    ) -> Result<(Self, watch::Receiver<u64>), ChangeReadError> {
        let asking = Asking {
            shard,
            transport,
            nodes,
        };
        let portion = asking.ask(u64::MAX).await?;
        let first_seq = Arc::new(AtomicU64::new(portion.first_seq));
        let (last, last_seq) = watch::channel(portion.last_seq);
        let poll = {
            let (asking, first_seq) = (asking.clone(), Arc::clone(&first_seq));
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(POLL).await;
                    // The channel ends with the task, and so the readers learn of it.
                    let Ok(portion) = asking.ask(u64::MAX).await else {
                        return;
                    };
                    first_seq.store(portion.first_seq, Ordering::Relaxed);
                    // This answer may come from another replica, which may be behind the last one.
                    last.send_if_modified(|last| {
                        let newer = portion.last_seq > *last;
                        *last = portion.last_seq.max(*last);
                        newer
                    });
                }
            })
        };
        let remote = Self {
            asking,
            first_seq,
            runtime: Handle::current(),
            poll: poll.abort_handle(),
        };
        Ok((remote, last_seq))
    }

    pub(super) fn first_seq(&self) -> u64 {
        self.first_seq.load(Ordering::Relaxed)
    }

    /// Blocks until a node has answered.
    pub(super) fn read(&self, from_seq: u64) -> Result<Vec<Bytes>, ChangeReadError> {
        let portion = self.runtime.block_on(self.asking.ask(from_seq))?;
        Ok(portion.payloads().collect())
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.poll.abort();
    }
}

impl Asking {
    /// Asks one node after the other until one answers.
    async fn ask(&self, from_seq: u64) -> Result<Portion, ChangeReadError> {
        let mut problems = String::new();
        let mut damaged = 0;
        let request = ForwardRequest::Changes { from_seq };
        let payload = codec::encode(&request).map_err(|error| ChangeReadError::Storage(error.to_string()))?;
        for node in &self.nodes {
            let answer = self
                .transport
                .forward(*node, self.shard, payload.clone(), PATIENCE)
                .await;
            let why = match answer.map(|answer| codec::decode::<ForwardReply>(&answer)) {
                Ok(Ok(ForwardReply::Changes(Ok(portion)))) => return Ok(portion),
                Ok(Ok(ForwardReply::Changes(Err(why)))) => {
                    damaged += 1;
                    why
                }
                Ok(Ok(ForwardReply::NotLeader { .. })) => "it has no replica of the shard".to_owned(),
                Ok(Ok(_)) => "it sent an answer to another question".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            problems = format!(
                "{problems}{}node {node}: {why}",
                if problems.is_empty() { "" } else { "; " }
            );
        }
        if damaged > 0 && damaged == self.nodes.len() {
            return Err(ChangeReadError::Storage(problems));
        }
        if problems.is_empty() {
            problems = "no node with a replica is known".to_owned();
        }
        Err(ChangeReadError::Unreachable(problems))
    }
}
