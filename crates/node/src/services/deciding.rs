//! Decides an entry by a rule, on the request of an operator. This is the way out when no replica can apply
//! an entry.
//!
//! A replica that has applied the entry could not follow such a decision. So all members that have a replica
//! of the shard are asked first. A member that is past the entry prevents the decision. So does one that does
//! not answer, unless the operator decides without it.

use futures::future::join_all;
use holdfast_api::reasons;
use holdfast_api::v1;
use holdfast_api::v1::Reason;
use holdfast_shard::{DecideError, EntryRule, HaltCause};
use tokio::time::{Duration, Instant};

use super::cluster::node_status;
use crate::api::Api;

/// The time in which a member must report its state.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause before the next leader is asked, because leadership moves while replicas are halted.
const PAUSE: Duration = Duration::from_millis(50);

/// The state of the shard's replicas, from the reports of the members.
struct Standing {
    halt: v1::Halt,
    halted: Vec<u64>,
    unreachable: Vec<u64>,
}

/// Checks that the entry may be decided. Then lets the leader decide it, unless this is a dry run.
pub(super) async fn decide(
    api: &Api,
    by: &str,
    request: &v1::DecideEntryRequest,
    deadline: Instant,
) -> Result<v1::DecideEntryResponse, v1::Refusal> {
    api.router.shard("shard", request.shard)?;
    let rule = EntryRule::parse(&request.rule).ok_or_else(|| {
        reasons::invalid(format!(
            "rule: `{}` does not exist, the only rule is `refuse`",
            request.rule
        ))
    })?;
    let standing = ask_all(api, request).await?;
    if !request.dry_run {
        if !standing.unreachable.is_empty() && !request.without_unreachable {
            return Err(reasons::refusal(
                Reason::NoLeader,
                format!(
                    "nodes {:?} do not answer. A node that has applied the entry already could not follow the decision: start them, or decide without them",
                    standing.unreachable
                ),
            ));
        }
        write(api, by, request, rule, deadline).await?;
    }
    Ok(v1::DecideEntryResponse {
        halt: Some(standing.halt),
        decided: !request.dry_run,
        halted_node_ids: standing.halted,
        unreachable_node_ids: standing.unreachable,
    })
}

/// Returns the nodes that have a replica of the shard, or had one before it moved. Returns all nodes while
/// this node does not know them.
fn holders(api: &Api, shard: u32) -> Vec<u64> {
    let directory = api.membership.view();
    let placement = directory.placements.get(shard as usize);
    let replicas = placement
        .into_iter()
        .flat_map(|placement| placement.replicas.iter().chain(&placement.former));
    let mut holders: Vec<u64> = replicas.map(|replica| replica.node()).collect();
    if holders.is_empty() {
        holders.extend(api.nodes().iter().map(|node| node.node_id));
    }
    holders.sort_unstable();
    holders.dedup();
    holders
}

/// Asks all these members for the state of their replica of the shard.
async fn ask_all(api: &Api, request: &v1::DecideEntryRequest) -> Result<Standing, v1::Refusal> {
    let (own_id, shard, index) = (api.identity.node_id, request.shard, request.log_index);
    let nodes = holders(api, shard);
    let reports = join_all(nodes.into_iter().map(|node| async move {
        let report = match node == own_id {
            true => Ok(node_status(api)),
            false => api.peers.report(node, Instant::now() + REPORT_TIMEOUT).await,
        };
        (node, report)
    }))
    .await;
    let mut unreachable = Vec::new();
    let mut halts = Vec::new();
    for (node, report) in reports {
        let Ok(report) = report else {
            unreachable.push(node);
            continue;
        };
        let Some(replica) = report.replicas.into_iter().find(|replica| replica.shard == shard) else {
            continue;
        };
        let no_rule_helps = [HaltCause::State, HaltCause::DecidedOtherwise];
        let at_it = replica.halt.as_ref().filter(|halt| halt.log_index == index);
        if let Some(halt) = at_it
            && let Some(cause) = no_rule_helps
                .into_iter()
                .find(|cause| cause.as_str() == halt.cause)
        {
            return Err(refusal(&DecideError::NoRuleHelps(cause)));
        }
        if replica.applied_index >= index {
            return Err(reasons::refusal(
                Reason::WrongState,
                format!(
                    "node {node} has applied entry {index}: upgrade the other nodes to its version, and they go on by themselves"
                ),
            ));
        }
        if let Some(halt) = replica.halt {
            halts.push((node, halt));
        }
    }
    // A replica that has not reached the entry receives the decision together with it.
    let halted: Vec<u64> = halts.iter().map(|(node, _)| *node).collect();
    let Some((_, halt)) = halts.into_iter().find(|(_, halt)| halt.log_index == index) else {
        return Err(reasons::refusal(
            Reason::WrongState,
            format!(
                "no replica of shard {shard} is halted at entry {index}: `holdfast cluster status` shows which replicas are halted, and where"
            ),
        ));
    };
    Ok(Standing {
        halt,
        halted,
        unreachable,
    })
}

/// Asks the leader to write the decision.
async fn write(
    api: &Api,
    by: &str,
    request: &v1::DecideEntryRequest,
    rule: EntryRule,
    deadline: Instant,
) -> Result<(), v1::Refusal> {
    let shard = api.router.shard("shard", request.shard)?;
    loop {
        let decided = match shard.leader() {
            Some(leader) if leader == api.identity.node_id => shard
                .decide_entry(request.log_index, rule, by.to_owned(), deadline)
                .await
                .map_err(|error| (matches!(error, DecideError::NotLeader { .. }), refusal(&error))),
            Some(leader) => api
                .peers
                .decide_entry(leader, request, by, deadline)
                .await
                .map_err(|refusal| (refusal.reason() == Reason::NoLeader, refusal)),
            None => Err((
                true,
                reasons::refusal(
                    Reason::NoLeader,
                    "the shard has no leader that this node knows of",
                ),
            )),
        };
        match decided {
            Ok(()) => return Ok(()),
            Err((may_move, refusal)) if !may_move || Instant::now() + PAUSE >= deadline => {
                return Err(refusal);
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Converts the reason why an entry was not decided.
pub(crate) fn refusal(error: &DecideError) -> v1::Refusal {
    let reason = match error {
        DecideError::NotLeader { .. } | DecideError::Stopped => Reason::NoLeader,
        DecideError::NotHalted | DecideError::AnotherEntry { .. } | DecideError::NoRuleHelps(_) => {
            Reason::WrongState
        }
        DecideError::OutcomeUnknown => Reason::OutcomeUnknown,
    };
    reasons::refusal(reason, error.to_string())
}
