//! Sinks for tests, and what their views are in Redis.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use holdfast_api::v1::Change;
use holdfast_sinks::settings::SecretReference;
use holdfast_sinks::redis::{RedisConfig, RedisSink};
use holdfast_sinks::sink::{Sink as _, SinkError, Writer};
use holdfast_test_redis::{Options, Server};
use uuid::Uuid;

/// The hashes of a shard, by what follows the shard's part of their keys.
pub(crate) type Hashes = BTreeMap<String, BTreeMap<String, String>>;

/// The cluster whose changes are written.
pub(crate) const CLUSTER: Uuid = Uuid::from_u128(0x0191_0000_0000_7000_8000_0000_0000_0001);

/// Returns a server that all tests share which neither stop it nor fill it.
pub(crate) fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| Server::start_with(Options::default()).unwrap())
}

/// Returns a prefix that no other test uses.
pub(crate) fn prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("view-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn config(url: &str, prefix: &str) -> RedisConfig {
    RedisConfig {
        url: url.to_owned(),
        cluster: false,
        username: None,
        password: None,
        prefix: prefix.to_owned(),
        timeout: Duration::from_secs(20),
    }
}

/// Makes a sink for a cluster of `shards` shards.
pub(crate) fn sink_of(config: RedisConfig, shards: u32) -> RedisSink {
    RedisSink::new("pages", config, CLUSTER, shards).unwrap()
}

/// Makes a sink for a cluster of one shard.
pub(crate) fn sink(url: &str, prefix: &str) -> RedisSink {
    sink_of(config(url, prefix), 1)
}

/// Writes a password into a file of a folder that stays until the process ends.
pub(crate) fn secret(password: &str) -> SecretReference {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().unwrap());
    let path: PathBuf = folder.path().join(prefix());
    std::fs::write(&path, password).unwrap();
    SecretReference::File(path)
}

/// Opens a writer, and writes what its target lacks. Returns where the target is.
pub(crate) async fn deliver(sink: &RedisSink, shard: u32, changes: &[Change]) -> Result<u64, SinkError> {
    let mut writer = sink.open(shard).await?;
    let rest = after(changes, writer.opened_at().through_seq);
    writer.write(rest).await?;
    Ok(writer.settle().await?.through_seq)
}

/// Delivers as a runner does: opens again after every error that passes.
pub(crate) async fn deliver_patiently(sink: &RedisSink, shard: u32, changes: &[Change]) {
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        match deliver(sink, shard, changes).await {
            Ok(_) => return,
            Err(error) => {
                assert!(!error.needs_a_person(), "{error}");
                assert!(tokio::time::Instant::now() < until, "{error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// Returns the changes after a position.
pub(crate) fn after(changes: &[Change], seq: u64) -> &[Change] {
    &changes[changes.partition_point(|change| change.seq <= seq)..]
}

/// Returns the places at which changes can be cut: the ends of their entries.
pub(crate) fn ends(changes: &[Change]) -> Vec<usize> {
    let ends = (1..).zip(changes);
    ends.filter(|(_, change)| change.entry_offset + 1 == change.entry_changes)
        .map(|(end, _)| end)
        .collect()
}

/// Reads all hashes of one shard of a generation. When the view is current is left out.
pub(crate) fn hashes(server: &Server, prefix: &str, generation: u64, shard: u32) -> Hashes {
    let of_shard = format!("{prefix}:{generation}:{{{shard:04}}}:");
    let keys: BTreeSet<String> = server.ask(&["KEYS", "*"]).unwrap();
    let mut hashes = Hashes::new();
    for key in &keys {
        let Some(rest) = key.strip_prefix(&of_shard) else {
            continue;
        };
        let mut hash: BTreeMap<String, String> = server.ask(&["HGETALL", key]).unwrap();
        hash.remove("current_at_ms");
        hashes.insert(rest.to_owned(), hash);
    }
    hashes
}

/// Returns the live generation.
pub(crate) fn live(server: &Server, prefix: &str) -> Option<u64> {
    server
        .ask(&["HGET", &format!("{{{prefix}}}:live"), "generation"])
        .unwrap()
}

/// Returns the generation that is being built.
pub(crate) fn building(server: &Server, prefix: &str) -> Option<u64> {
    server
        .ask(&["HGET", &format!("{{{prefix}}}:building"), "generation"])
        .unwrap()
}

/// Tells a writer that it is current, until its generation is live.
pub(crate) async fn make_live(server: &Server, prefix: &str, writer: &mut dyn Writer) {
    for at_ms in 1.. {
        writer.current(at_ms).await.unwrap();
        if live(server, prefix).is_some() {
            return;
        }
        assert!(at_ms < 1_000, "the view did not become live");
    }
}
