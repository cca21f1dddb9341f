//! Metrics of the registered consumers of the change stream, by shard and consumer. A shard has at most 32.

use std::fmt;

use holdfast_shard::{ConsumerStatus, ShardHandle};
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConsumerLabels {
    shard: u32,
    consumer: String,
    required: &'static str,
}

/// A value of a consumer: its name, its help and the value.
struct ValueOf(&'static str, &'static str, fn(&ConsumerStatus) -> u64);

const COUNTS: [ValueOf; 1] = [ValueOf(
    "consumer_lag_changes",
    "Changes that a registered consumer has not passed; a required one holds them in the change logs",
    |status| status.lag_changes,
)];

/// Times, as seconds. The values are in milliseconds.
const TIMES: [ValueOf; 2] = [
    ValueOf(
        "consumer_lag",
        "How long the oldest change that a registered consumer has not passed has waited",
        |status| status.lag_ms,
    ),
    ValueOf(
        "consumer_advanced_ago",
        "Time since the last advance of a registered consumer",
        |status| status.advanced_ago_ms,
    ),
];

pub(super) fn encode(shards: &[ShardHandle], encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let all: Vec<(u32, ConsumerStatus)> = shards
        .iter()
        .flat_map(|shard| {
            shard
                .consumers()
                .into_iter()
                .map(|status| (shard.shard(), status))
        })
        .collect();
    let labels = |(shard, status): &(u32, ConsumerStatus)| ConsumerLabels {
        shard: *shard,
        consumer: status.consumer.name.to_string(),
        required: if status.consumer.required { "true" } else { "false" },
    };
    let kind = ConstGauge::new(1_i64).metric_type();
    for ValueOf(name, help, value) in COUNTS {
        let mut family = encoder.encode_descriptor(name, help, None, kind)?;
        for one in &all {
            let count = ConstGauge::new(i64::try_from(value(&one.1)).unwrap_or(i64::MAX));
            count.encode(family.encode_family(&labels(one))?)?;
        }
    }
    for ValueOf(name, help, value) in TIMES {
        let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), kind)?;
        for one in &all {
            let seconds = ConstGauge::new(value(&one.1) as f64 / 1e3);
            seconds.encode(family.encode_family(&labels(one))?)?;
        }
    }
    Ok(())
}
