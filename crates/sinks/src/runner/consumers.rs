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
            let location = locations.get(name).map(String::as_str);
            if let Err(error) = tell_of(&client, name, location, &of_sink, &mut told).await {
                // The place of the consumer may have changed: it is looked up again.
                told.remove(name);
                tracing::warn!(sink = %name, %error, "the cluster was not told how far the sink is");
            }
        }
    }
}

async fn tell_of(
    client: &Client,
    name: &str,
    location: Option<&str>,
    reports: &[&Report],
    told: &mut BTreeMap<String, Told>,
) -> Result<(), ClientError> {
    if !told.contains_key(name) {
        let location = register(client, name, location).await?;
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

/// Registers the consumer unless somebody has. Returns the location to advance it at.
async fn register(client: &Client, name: &str, location: Option<&str>) -> Result<String, ClientError> {
    let consumers = client.list_consumers(ListConsumersRequest {}).await?.consumers;
    let known = consumers.iter().find(|consumer| consumer.name == name);
    let registered = known.map(|consumer| consumer.location.as_str());
    let location = location_to_advance(location, registered);
    if known.is_some() {
        return Ok(location);
    }
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

/// Returns the location to advance at. A sink that has a place says that place and no other: what it has
/// written there is not at another place, and nodes must not drop it for that one. The cluster refuses such
/// an advance.
fn location_to_advance(own: Option<&str>, registered: Option<&str>) -> String {
    own.or(registered).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_advances_at_its_own_place_whatever_is_registered() {
        assert_eq!(location_to_advance(Some("/old"), Some("/new")), "/old");
        assert_eq!(location_to_advance(Some("/old"), None), "/old");
        assert_eq!(location_to_advance(None, Some("/any")), "/any");
        assert_eq!(location_to_advance(None, None), "");
    }
}
