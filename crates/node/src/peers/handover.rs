//! Requests to another node for an operator who asked this one: hand over leadership, decide an entry,
//! report.

use crate::reasoned;
use holdfast_api::peer::{DecideEntryRequest, HandOverRequest, ReportRequest};
use holdfast_api::reasons;
use holdfast_api::v1;
use holdfast_api::v1::{Reason, Refusal};
use prost::Message as _;
use tokio::time::Instant;
use tonic::{Request, Status};

use super::{Peers, transport_error};

impl Peers {
    /// Asks `leader` to hand a shard over to `to_node_id`, or to a node of its choice if that is 0. Returns
    /// the node that leads then.
    pub(crate) async fn hand_over(
        &self,
        leader: u64,
        shard: u32,
        to_node_id: u64,
        deadline: Instant,
    ) -> Result<u64, Refusal> {
        let Some(peer) = self.get(leader) else {
            let message = format!("this node does not know node {leader}");
            return Err(reasons::refusal(Reason::NoLeader, message));
        };
        let mut client = peer.calls.clone();
        let request = Request::new(HandOverRequest { shard, to_node_id });
        let request = self.identity.to(leader).stamp(request);
        let asked = tokio::time::timeout_at(deadline, client.hand_over(request));
        let Ok(answer) = asked.await else {
            let message =
                format!("node {leader} did not answer in time: the topology shows which node leads");
            return Err(reasons::refusal(Reason::Deadline, message));
        };
        match answer {
            Ok(answer) => Ok(answer.into_inner().leader_node_id),
            Err(status) => Err(refusal_of(leader, &status)),
        }
    }

    /// Asks a node for the status of its replicas.
    pub(crate) async fn report(
        &self,
        node_id: u64,
        deadline: Instant,
    ) -> Result<v1::GetNodeStatusResponse, String> {
        let Some(peer) = self.get(node_id) else {
            return Err(format!("this node does not know node {node_id}"));
        };
        let mut client = peer.calls.clone();
        let request = self.identity.to(node_id).stamp(Request::new(ReportRequest {}));
        match tokio::time::timeout_at(deadline, client.report(request)).await {
            Ok(Ok(report)) => v1::GetNodeStatusResponse::decode(report.into_inner().node_status)
                .map_err(|error| error.to_string()),
            Ok(Err(status)) => Err(status.message().to_owned()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// Asks `leader` to write a decision on an entry into the log of a shard.
    pub(crate) async fn decide_entry(
        &self,
        leader: u64,
        wanted: &v1::DecideEntryRequest,
        by: &str,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let Some(peer) = self.get(leader) else {
            let message = format!("this node does not know node {leader}");
            return Err(reasons::refusal(Reason::NoLeader, message));
        };
        let mut client = peer.calls.clone();
        let request = self.identity.to(leader).stamp(Request::new(DecideEntryRequest {
            shard: wanted.shard,
            log_index: wanted.log_index,
            rule: wanted.rule.clone(),
            by: by.to_owned(),
        }));
        match tokio::time::timeout_at(deadline, client.decide_entry(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(refusal_of(leader, &status)),
            Err(_) => Err(reasons::refusal(
                Reason::OutcomeUnknown,
                format!(
                    "node {leader} did not answer in time: the shard's status shows whether the entry is decided"
                ),
            )),
        }
    }
}

fn refusal_of(node: u64, status: &Status) -> Refusal {
    reasons::refusal_in(status).unwrap_or_else(|| {
        let told = reasoned::told(&transport_error(status));
        Refusal {
            message: format!("node {node}: {}", told.message),
            ..told
        }
    })
}
