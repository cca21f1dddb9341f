//! The metrics of the change streams that are served: how many there are, and how far the slowest is behind.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_shard::ShardHandle;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use tokio::time::Instant;

use super::ShardLabels;

/// The streams that are served. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Streams {
    last_number: Arc<AtomicU64>,
    live: Arc<Mutex<BTreeMap<u64, Stream>>>,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    shard: u32,
    began: Instant,
    /// The sequence number of the last change that was sent. `through_ms` is the log time of that change, and
    /// 0 before the first.
    through_seq: u64,
    through_ms: u64,
    /// The moment when the stream last had sent everything.
    caught_up: Option<Instant>,
}

impl Stream {
    /// Returns how many changes the stream has not sent, and the age of the oldest of them in seconds. The
    /// age is at most the time since the stream last had sent everything.
    fn lag(&self, last_seq: u64, log_time_ms: u64) -> (u64, f64) {
        let changes = last_seq.saturating_sub(self.through_seq);
        if changes == 0 {
            return (0, 0.0);
        }
        let by_log = log_time_ms.saturating_sub(self.through_ms) as f64 / 1e3;
        let seconds = match self.caught_up {
            Some(at) if self.through_ms == 0 => at.elapsed().as_secs_f64(),
            Some(at) => by_log.min(at.elapsed().as_secs_f64()),
            None if self.through_ms == 0 => self.began.elapsed().as_secs_f64(),
            None => by_log,
        };
        (changes, seconds)
    }
}

/// A stream that counts as served until this is dropped.
#[derive(Debug)]
pub(crate) struct Following {
    streams: Streams,
    number: u64,
}

impl Streams {
    pub(super) fn begin(&self, shard: u32, from_seq: u64) -> Following {
        let number = self.last_number.fetch_add(1, Ordering::Relaxed);
        let stream = Stream {
            shard,
            began: Instant::now(),
            through_seq: from_seq.saturating_sub(1),
            through_ms: 0,
            caught_up: None,
        };
        self.live.lock().insert(number, stream);
        Following {
            streams: self.clone(),
            number,
        }
    }
}

impl Following {
    /// Notes that everything through this change was sent. The change was made at this log time.
    pub(crate) fn sent(&self, through_seq: u64, log_time_ms: u64) {
        if let Some(stream) = self.streams.live.lock().get_mut(&self.number) {
            (stream.through_seq, stream.through_ms) = (through_seq, log_time_ms);
        }
    }

    /// Notes that there is nothing more to send at this moment.
    pub(crate) fn caught_up(&self) {
        if let Some(stream) = self.streams.live.lock().get_mut(&self.number) {
            stream.caught_up = Some(Instant::now());
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.streams.live.lock().remove(&self.number);
    }
}

/// Compares the streams with their shards whenever the metrics are read.
pub(super) struct StreamsCollector {
    pub(super) streams: Streams,
    pub(super) shards: Arc<[ShardHandle]>,
}

impl fmt::Debug for StreamsCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamsCollector")
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

impl Collector for StreamsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let live: Vec<Stream> = self.streams.live.lock().values().copied().collect();
        let count = ConstGauge::new(i64::try_from(live.len()).unwrap_or(i64::MAX));
        let help = "Change streams that this node serves at the moment";
        count.encode(encoder.encode_descriptor("change_streams", help, None, count.metric_type())?)?;

        let mut lags: BTreeMap<u32, (u64, f64)> = BTreeMap::new();
        for stream in live {
            let Some(shard) = self.shards.get(stream.shard as usize) else {
                continue;
            };
            let status = shard.status();
            let (changes, seconds) = stream.lag(status.last_seq, status.log_time_ms);
            let slowest = lags.entry(stream.shard).or_default();
            *slowest = (slowest.0.max(changes), slowest.1.max(seconds));
        }
        let help = "Changes that the slowest change stream of this node has not been sent";
        let mut family =
            encoder.encode_descriptor("change_stream_lag_changes", help, None, MetricType::Gauge)?;
        for (shard, (changes, _)) in &lags {
            let changes = ConstGauge::new(i64::try_from(*changes).unwrap_or(i64::MAX));
            changes.encode(family.encode_family(&ShardLabels { shard: *shard })?)?;
        }
        let help = "Age of the oldest change that the slowest change stream of this node has not been sent; 0 when it has all";
        let unit = Some(&Unit::Seconds);
        let mut family = encoder.encode_descriptor("change_stream_lag", help, unit, MetricType::Gauge)?;
        for (shard, (_, seconds)) in &lags {
            ConstGauge::new(*seconds).encode(family.encode_family(&ShardLabels { shard: *shard })?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOON: u64 = 1_800_000_000_000;

    fn only(streams: &Streams) -> Stream {
        let live = streams.live.lock();
        assert_eq!(live.len(), 1);
        *live.values().next().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_was_never_up_to_date_is_as_old_as_what_it_reads() {
        let streams = Streams::default();
        let following = streams.begin(0, 1);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(only(&streams).lag(100, NOON), (100, 3.0));
        following.sent(40, NOON - 7_200_000);
        assert_eq!(only(&streams).lag(100, NOON), (60, 7_200.0));
        following.sent(100, NOON);
        assert_eq!(only(&streams).lag(100, NOON), (0, 0.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_after_a_quiet_night_is_not_old() {
        let streams = Streams::default();
        let following = streams.begin(0, 1);
        following.sent(10, NOON);
        tokio::time::advance(Duration::from_secs(28_800)).await;
        following.caught_up();
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(only(&streams).lag(11, NOON + 28_802_000), (1, 2.0));
        drop(following);
        assert!(streams.live.lock().is_empty());
    }
}
