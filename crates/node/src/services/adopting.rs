//! Lets every shard adopt newer rules, on the request of an operator. This is done once, after all nodes are
//! upgraded.

use futures::future::join_all;
use holdfast_api::reasons;
use holdfast_api::v1;
use holdfast_ledger::{
    Action, CallerReason, Command, Details, OperationId, Principal, Reference, Rules, Success,
};
use tokio::time::{Duration, Instant};

use super::cluster::node_status;
use crate::api::Api;

/// The time in which a member must report its state.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// Checks that every member knows the rules. Then lets every shard adopt them, unless this is a dry run.
pub(super) async fn adopt(
    api: &Api,
    principal: &Principal,
    request: v1::AdoptRulesRequest,
    deadline: Instant,
) -> Result<v1::AdoptRulesResponse, v1::Refusal> {
    let rules = wanted(request.rules)?;
    let reports = ask_all(api, rules).await?;
    let before = |shard: u32| {
        let replicas = reports.iter().flat_map(|report| &report.replicas);
        let of_shard = replicas.filter(|replica| replica.shard == shard);
        of_shard.map(|replica| replica.rules).max().unwrap_or(0)
    };
    let mut shards = Vec::new();
    for handle in api.router.shards().iter() {
        let shard = handle.shard();
        let before = before(shard);
        let adopted = !request.dry_run && before < rules.number();
        if adopted {
            let decided = handle.submit(vec![command(principal, rules)?], deadline).await;
            match decided.into_iter().next() {
                Some(Ok(Ok(Success::Stocked { .. }))) => {}
                Some(Err(error)) => return Err(stopped_at(shard, &error.to_string())),
                other => return Err(stopped_at(shard, &format!("{other:?}"))),
            }
        }
        shards.push(v1::ShardRules {
            shard,
            before,
            adopted,
        });
    }
    Ok(v1::AdoptRulesResponse {
        rules: rules.number(),
        shards,
    })
}

fn wanted(number: u32) -> Result<Rules, v1::Refusal> {
    if number == 0 {
        return Ok(Rules::NEWEST);
    }
    Rules::numbered(number).ok_or_else(|| {
        reasons::invalid(format!(
            "rules: this node knows the versions 1 to {}, not {number}",
            Rules::NEWEST.number()
        ))
    })
}

/// Returns the reports of all members, or a refusal when one of them does not know the rules or does not
/// report.
async fn ask_all(api: &Api, rules: Rules) -> Result<Vec<v1::GetNodeStatusResponse>, v1::Refusal> {
    let nodes: Vec<u64> = api.nodes().iter().map(|node| node.node_id).collect();
    let reports = join_all(nodes.into_iter().map(|node| async move {
        let report = match node == api.identity.node_id {
            true => Ok(node_status(api)),
            false => api.peers.report(node, Instant::now() + REPORT_TIMEOUT).await,
        };
        (node, report)
    }))
    .await;
    let mut known = Vec::new();
    let mut obstacles = Vec::new();
    for (node, report) in reports {
        match report {
            Ok(report) if report.newest_rules >= rules.number() => known.push(report),
            Ok(report) => obstacles.push(format!(
                "node {node} (version {}) does not know them",
                report.version
            )),
            Err(why) => obstacles.push(format!("node {node} did not say whether it knows them: {why}")),
        }
    }
    if obstacles.is_empty() {
        return Ok(known);
    }
    Err(reasons::refusal(
        v1::Reason::WrongState,
        format!(
            "every member must know rules {} before they are adopted: {}",
            rules.number(),
            obstacles.join("; ")
        ),
    ))
}

/// Returns the refusal for a shard that did not adopt the rules. The shards before it have adopted them, and
/// a repeat of the call continues with this one.
fn stopped_at(shard: u32, why: &str) -> v1::Refusal {
    reasons::refusal(
        v1::Reason::OutcomeUnknown,
        format!(
            "shard {shard} did not answer ({why}), and the shards before it have adopted the rules: repeat the request"
        ),
    )
}

fn command(principal: &Principal, rules: Rules) -> Result<Command, v1::Refusal> {
    let id = OperationId::from_slice(uuid::Uuid::now_v7().as_bytes());
    Ok(Command {
        operation_id: id.map_err(|error| reasons::refusal(v1::Reason::Internal, error.to_string()))?,
        principal: principal.clone(),
        reference: Reference::default(),
        reason: CallerReason::default(),
        details: Details::default(),
        action: Action::AdoptRules { rules },
    })
}
