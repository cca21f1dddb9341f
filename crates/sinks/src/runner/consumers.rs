//! Tells the cluster how far each sink is, as a consumer with the sink's name.
//!
//! An operator can then see it from the cluster, and can make a sink required: nodes keep every change that a
//! required consumer has not passed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_api::v1::{
    AdvanceConsumerRequest, ConsumerPosition, ListConsumersRequest, Operation, RegisterConsumerRequest,
};
use holdfast_client::{Client, ClientError, new_operation_id};

use crate::status::{Board, Report, State};

/// How often the cluster is told. Each time costs an entry in the log of each shard that moved.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// The news that the cluster has of one sink.
#[derive(Debug, Default)]
struct Told {
    location: String,
    through_seq: BTreeMap<u32, u64>,
}

/// Tells the cluster without end. `locations` has the sinks' places by name, for those that have one.
pub(super) async fn tell(client: Client, locations: BTreeMap<String, String>, board: Board) {
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    loop {
        tokio::time::sleep(TELL_EVERY).await;
        let reports = board.all();
        let names: BTreeSet<&String> = reports.iter().map(|report| &report.sink).collect();
        for name in names {
            let of_sink: Vec<&Report> = reports.iter().filter(|report| report.sink == *name).collect();
            if let Err(error) = tell_of(&client, name, &locations, &of_sink, &mut told).await {
                // The place of the consumer may have changed: it is looked up again.
                told.remove(name);
                tracing::debug!(sink = %name, %error, "the cluster was not told how far the sink is");
            }
        }
    }
}

async fn tell_of(
    client: &Client,
    name: &str,
    locations: &BTreeMap<String, String>,
    reports: &[&Report],
    told: &mut BTreeMap<String, Told>,
) -> Result<(), ClientError> {
    if !told.contains_key(name) {
        let location = register(client, name, locations.get(name)).await?;
        let new = Told {
            location,
            through_seq: BTreeMap::new(),
        };
        told.insert(name.to_owned(), new);
    }
    let Some(told) = told.get_mut(name) else {
        return Ok(());
    };
    // A position is known once the target was asked for it.
    let known = reports
        .iter()
        .filter(|report| matches!(report.status.state, State::Delivering | State::Stopped));
    let moved: Vec<ConsumerPosition> = known
        .filter(|report| told.through_seq.get(&report.shard) != Some(&report.status.through_seq))
        .map(|report| ConsumerPosition {
            shard: report.shard,
            through_seq: report.status.through_seq,
        })
        .collect();
    if moved.is_empty() {
        return Ok(());
    }
    let request = AdvanceConsumerRequest {
        name: name.to_owned(),
        location: told.location.clone(),
        positions: moved.clone(),
    };
    client.advance_consumer(request).await?;
    told.through_seq.extend(
        moved
            .iter()
            .map(|position| (position.shard, position.through_seq)),
    );
    Ok(())
}

/// Registers the consumer unless somebody has. Returns its registered location.
async fn register(client: &Client, name: &str, location: Option<&String>) -> Result<String, ClientError> {
    let consumers = client.list_consumers(ListConsumersRequest {}).await?.consumers;
    if let Some(known) = consumers.iter().find(|consumer| consumer.name == name) {
        return Ok(known.location.clone());
    }
    let location = location.cloned().unwrap_or_default();
    let request = RegisterConsumerRequest {
        operation: Some(Operation {
            operation_id: new_operation_id(),
            ..Operation::default()
        }),
        name: name.to_owned(),
        required: false,
        location: location.clone(),
    };
    client.register_consumer(request).await?;
    Ok(location)
}
