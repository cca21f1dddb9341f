//! The metrics of a runner, in the OpenMetrics format. Each is defined here once.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::status::{Board, Report, State};

/// Returns all metrics as text.
///
/// # Errors
/// The text cannot be written.
pub(crate) fn print(board: &Board) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("holdfast_sink");
    registry.register_collector(Box::new(Sinks(board.all())));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Sinks(Vec<Report>);

impl Sinks {
    fn gauge(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help, unit): (&str, &str, Option<&Unit>),
        value: impl Fn(&Report) -> f64,
    ) -> std::fmt::Result {
        let kind = ConstGauge::new(0.0).metric_type();
        let mut family = encoder.encode_descriptor(name, help, unit, kind)?;
        for report in &self.0 {
            let labels = [("sink", report.sink.clone()), ("shard", report.shard.to_string())];
            ConstGauge::new(value(report)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counter(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        value: impl Fn(&Report) -> u64,
    ) -> std::fmt::Result {
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut family = encoder.encode_descriptor(name, help, None, kind)?;
        for report in &self.0 {
            let labels = [("sink", report.sink.clone()), ("shard", report.shard.to_string())];
            ConstCounter::new(value(report)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// Counts of changes stay exact as floating point up to 2^53.
fn as_float(count: u64) -> f64 {
    count as f64
}

fn is(state: State) -> impl Fn(&Report) -> f64 {
    move |report| f64::from(u8::from(report.status.state == state))
}

impl Collector for Sinks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let encoder = &mut encoder;
        self.gauge(
            encoder,
            (
                "lag",
                "Age of the oldest change that the sink's target lacks",
                Some(&Unit::Seconds),
            ),
            |report| as_float(report.lag_ms) / 1_000.0,
        )?;
        self.gauge(
            encoder,
            ("lag_changes", "Changes that the sink's target lacks", None),
            |report| as_float(report.lag_changes),
        )?;
        self.gauge(
            encoder,
            ("position", "Last change that the sink's target has", None),
            |report| as_float(report.status.through_seq),
        )?;
        self.gauge(
            encoder,
            (
                "delivering",
                "1 while the sink delivers changes of the shard",
                None,
            ),
            is(State::Delivering),
        )?;
        self.gauge(
            encoder,
            (
                "refused",
                "1 while the sink's target says no, so somebody must act",
                None,
            ),
            is(State::Refused),
        )?;
        self.gauge(
            encoder,
            ("standby", "1 while another runner delivers the shard", None),
            is(State::Standby),
        )?;
        self.counter(
            encoder,
            (
                "changes",
                "Changes that the sink's target took, since the runner began",
            ),
            |report| report.status.delivered,
        )?;
        self.counter(
            encoder,
            (
                "errors",
                "Errors of the sink's target or of the stream, since the runner began",
            ),
            |report| report.status.errors,
        )
    }
}
