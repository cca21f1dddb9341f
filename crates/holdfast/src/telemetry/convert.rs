//! The node's metrics in the form of OTLP: the same names, labels and numbers as on `/metrics`.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};
use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model as model;

/// Times of a reading, in nanoseconds since the Unix epoch: when the counting began, and when the metrics
/// were read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) start_ns: u64,
    pub(super) now_ns: u64,
}

/// Converts all metrics that have a value.
pub(super) fn metrics(families: Vec<model::MetricFamily>, times: Times) -> Vec<Metric> {
    let families = families.into_iter();
    families.filter_map(|family| metric(family, times)).collect()
}

fn metric(family: model::MetricFamily, times: Times) -> Option<Metric> {
    let (mut sums, mut gauges, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
    for each in family.metric {
        let attributes: Vec<KeyValue> = each.label.into_iter().map(attribute).collect();
        if let Some(counter) = each.counter {
            sums.push(number(counter.value, attributes, times));
        } else if let Some(gauge) = each.gauge {
            gauges.push(number(gauge.value, attributes, times));
        } else if let Some(histogram) = each.histogram {
            histograms.push(histogram_point(&histogram, attributes, times));
        }
    }
    let cumulative = AggregationTemporality::Cumulative.into();
    let data = if !sums.is_empty() {
        Data::Sum(Sum {
            data_points: sums,
            aggregation_temporality: cumulative,
            is_monotonic: true,
        })
    } else if !gauges.is_empty() {
        Data::Gauge(Gauge { data_points: gauges })
    } else if !histograms.is_empty() {
        Data::Histogram(Histogram {
            data_points: histograms,
            aggregation_temporality: cumulative,
        })
    } else {
        return None;
    };
    Some(Metric {
        name: family.name,
        description: family.help,
        unit: ucum(family.unit),
        metadata: Vec::new(),
        data: Some(data),
    })
}

/// Returns OTLP's name of a unit.
fn ucum(unit: String) -> String {
    match unit.as_str() {
        "seconds" => "s".to_owned(),
        "bytes" => "By".to_owned(),
        _ => unit,
    }
}

fn attribute(label: model::LabelPair) -> KeyValue {
    KeyValue {
        key: label.name,
        value: Some(AnyValue {
            value: Some(Value::StringValue(label.value)),
        }),
        ..KeyValue::default()
    }
}

fn number(value: f64, attributes: Vec<KeyValue>, times: Times) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        start_time_unix_nano: times.start_ns,
        time_unix_nano: times.now_ns,
        value: Some(Number::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

/// Converts a histogram. A Prometheus bucket also counts the values of all buckets before it, and an OTLP
/// bucket does not. The last OTLP bucket has no upper bound.
fn histogram_point(
    histogram: &model::Histogram,
    attributes: Vec<KeyValue>,
    times: Times,
) -> HistogramDataPoint {
    let bounded = histogram
        .bucket
        .iter()
        .filter(|bucket| bucket.upper_bound < f64::MAX);
    let (mut bounds, mut counts, mut before) = (Vec::new(), Vec::new(), 0);
    for bucket in bounded {
        bounds.push(bucket.upper_bound);
        counts.push(bucket.cumulative_count.saturating_sub(before));
        before = bucket.cumulative_count;
    }
    counts.push(histogram.sample_count.saturating_sub(before));
    HistogramDataPoint {
        attributes,
        start_time_unix_nano: times.start_ns,
        time_unix_nano: times.now_ns,
        count: histogram.sample_count,
        sum: Some(histogram.sample_sum),
        bucket_counts: counts,
        explicit_bounds: bounds,
        ..HistogramDataPoint::default()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::prometheus_protobuf::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge as PrometheusGauge;
    use prometheus_client::metrics::histogram::Histogram as PrometheusHistogram;
    use prometheus_client::registry::{Registry, Unit};

    use super::*;

    const TIMES: Times = Times {
        start_ns: 5,
        now_ns: 9,
    };

    fn only(registry: &Registry) -> Metric {
        let [metric] = metrics(encode(registry).unwrap(), TIMES).try_into().unwrap();
        metric
    }

    #[test]
    fn a_counter_is_a_monotonic_sum_under_the_name_that_prometheus_shows() {
        let mut registry = Registry::with_prefix("shop");
        let counter: Counter = Counter::default();
        registry.register_with_unit("written", "What was written", Unit::Bytes, counter.clone());
        counter.inc_by(7);
        let metric = only(&registry);
        assert_eq!(
            (metric.name.as_str(), metric.unit.as_str()),
            ("shop_written_bytes_total", "By")
        );
        let Some(Data::Sum(sum)) = metric.data else {
            panic!("not a sum")
        };
        assert!(sum.is_monotonic);
        let point = &sum.data_points[0];
        assert_eq!(point.value, Some(Number::AsDouble(7.0)));
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (5, 9));
    }

    #[test]
    fn a_histogram_has_one_bucket_more_than_bounds_and_each_observation_once() {
        let mut registry = Registry::default();
        let histogram = PrometheusHistogram::new([0.1, 1.0]);
        registry.register("took", "How long", histogram.clone());
        for seconds in [0.05, 0.5, 0.7, 3.0] {
            histogram.observe(seconds);
        }
        let Some(Data::Histogram(histogram)) = only(&registry).data else {
            panic!("not a histogram")
        };
        let point = &histogram.data_points[0];
        assert_eq!(point.explicit_bounds, [0.1, 1.0]);
        assert_eq!(point.bucket_counts, [1, 2, 1]);
        assert_eq!(point.count, 4);
        assert!((point.sum.unwrap() - 4.25).abs() < 1e-9);
    }

    #[test]
    fn a_gauge_keeps_its_labels_and_one_without_any_value_is_left_out() {
        let mut registry = Registry::default();
        let skew: Family<[(&str, &str); 1], PrometheusGauge> = Family::default();
        registry.register("skew", "A difference", skew.clone());
        registry.register(
            "none",
            "Nothing",
            Family::<[(&str, &str); 1], PrometheusGauge>::default(),
        );
        skew.get_or_create(&[("peer", "2")]).set(-3);
        let Some(Data::Gauge(gauge)) = only(&registry).data else {
            panic!("not a gauge")
        };
        let point = &gauge.data_points[0];
        assert_eq!(point.value, Some(Number::AsDouble(-3.0)));
        let peer = AnyValue {
            value: Some(Value::StringValue("2".to_owned())),
        };
        assert_eq!(
            (
                point.attributes[0].key.as_str(),
                point.attributes[0].value.clone()
            ),
            ("peer", Some(peer))
        );
    }
}
