//! Leadership handed over by another node, for an operator who asked this one.

use holdfast_proto::peer::HandOverRequest;
use holdfast_proto::v1::{Reason, Refusal};
use holdfast_shard::TransportError;
use tokio::time::Instant;
use tonic::Request;

use super::{Peers, transport_error};
use crate::errors;

impl Peers {
    /// Has `leader` hand a shard over to `to_node_id`, or to whom it likes if that is 0. Says who leads then.
    pub(crate) async fn hand_over(
        &self,
        leader: u64,
        shard: u32,
        to_node_id: u64,
        deadline: Instant,
    ) -> Result<u64, Refusal> {
        let Some(peer) = self.get(leader) else {
            let message = format!("this node does not know node {leader}");
            return Err(errors::refusal(Reason::NoLeader, message));
        };
        let mut client = peer.calls.clone();
        let request = Request::new(HandOverRequest { shard, to_node_id });
        let request = self.identity.to(leader).stamp(request);
        let asked = tokio::time::timeout_at(deadline, client.hand_over(request));
        let Ok(answer) = asked.await else {
            let message = format!("no answer from node {leader} in time: the topology tells who leads");
            return Err(errors::refusal(Reason::Deadline, message));
        };
        match answer {
            Ok(answer) => Ok(answer.into_inner().leader_node_id),
            Err(status) => Err(errors::refusal_in(&status).unwrap_or_else(|| {
                let (reason, why) = match transport_error(&status) {
                    TransportError::NotSent(why) => (Reason::NoLeader, why),
                    TransportError::Unknown(why) => (Reason::OutcomeUnknown, why),
                };
                errors::refusal(reason, format!("node {leader}: {why}"))
            })),
        }
    }
}
