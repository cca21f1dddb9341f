//! Which view is live, and who may write to one that is not.

use std::time::Duration;

use holdfast_sinks::sink::{Position, Sink as _, SinkError};

use crate::equal::long_story;
use crate::view::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// Makes a rebuild that builds a generation. It lives as long as its lease.
fn rebuild(prefix: &str, generation: u64, lives: bool) {
    let building = format!("{{{prefix}}}:building");
    let generation = generation.to_string();
    let cluster = CLUSTER.to_string();
    let words = [
        "HSET",
        &building,
        "generation",
        &generation,
        "cluster",
        &cluster,
        "rebuild",
        "1",
    ];
    let _: u8 = shared().ask(&words).unwrap();
    let lease = format!("{{{prefix}}}:rebuilding");
    if lives {
        let _: () = shared()
            .ask(&["SET", &lease, "its owner", "PX", "600000"])
            .unwrap();
    } else {
        let _: u8 = shared().ask(&["DEL", &lease]).unwrap();
    }
}

#[tokio::test]
async fn a_view_is_live_when_every_shard_of_it_is_current() {
    let prefix = prefix();
    let sink = sink_of(config(&shared().url(), &prefix), 3);
    let changes = long_story(10);
    for shard in [2, 0, 1] {
        deliver(&sink, shard, &changes).await.unwrap();
        let mut writer = sink.open(shard).await.unwrap();
        assert_eq!(live(shared(), &prefix), None);
        for at_ms in [5, 6, 7] {
            writer.current(at_ms).await.unwrap();
        }
    }
    assert_eq!(live(shared(), &prefix), Some(1));
    assert_eq!(building(shared(), &prefix), None);
    let key = format!("{{{prefix}}}:live");
    let shards: u32 = shared().ask(&["HGET", &key, "shards"]).unwrap();
    assert_eq!(shards, 3);
    let age: u64 = shared()
        .ask(&["HGET", &format!("{prefix}:1:{{0002}}:shard"), "current_at_ms"])
        .unwrap();
    assert_eq!(age, 7);
}

#[tokio::test]
async fn asking_for_a_position_writes_nothing() {
    let prefix = prefix();
    let sink = sink(&shared().url(), &prefix);
    assert_eq!(sink.position(0).await.unwrap(), Position::default());
    assert_eq!(building(shared(), &prefix), None);
    rebuild(&prefix, 4, false);
    assert_eq!(sink.position(0).await.unwrap(), Position::default());
    assert_eq!(building(shared(), &prefix), Some(4));
    let key = format!("{{{prefix}}}:*");
    let keys: Vec<String> = shared().ask(&["KEYS", &key]).unwrap();
    assert_eq!(keys, [format!("{{{prefix}}}:building")]);
}

#[tokio::test]
async fn a_runner_does_not_touch_what_a_rebuild_builds() {
    let prefix = prefix();
    let sink = sink(&shared().url(), &prefix);
    rebuild(&prefix, 1, true);
    let error = sink.open(0).await.map(drop).unwrap_err();
    assert!(
        matches!(&error, SinkError::Unavailable { what, .. } if what.contains("rebuild")),
        "{error}"
    );
    assert!(hashes(shared(), &prefix, 1, 0).is_empty());

    // Beside a live view, the runner keeps that one current.
    let changes = long_story(10);
    let key = format!("{{{prefix}}}:building");
    let _: u8 = shared().ask(&["DEL", &key]).unwrap();
    let mut writer = sink.open(0).await.unwrap();
    make_live(shared(), &prefix, &mut *writer).await;
    rebuild(&prefix, 2, true);
    deliver(&sink, 0, &changes).await.unwrap();
    assert!(hashes(shared(), &prefix, 2, 0).is_empty());
    assert_eq!(
        hashes(shared(), &prefix, 1, 0)["shard"]["seq"],
        changes.len().to_string()
    );
    assert_eq!(building(shared(), &prefix), Some(2));
}

#[tokio::test]
async fn a_rebuild_that_died_is_given_up_once() {
    let prefix = prefix();
    let sink = sink(&shared().url(), &prefix);
    // What it wrote before it died.
    let key = format!("{prefix}:4:{{0000}}:shard");
    let _: u8 = shared()
        .ask(&["HSET", &key, "cluster", &CLUSTER.to_string(), "seq", "99"])
        .unwrap();
    rebuild(&prefix, 4, false);
    let many = futures::future::join_all((0..16).map(|_| sink.open(0))).await;
    for opened in many {
        match opened {
            Ok(writer) => assert_eq!(writer.opened_at(), Position::default()),
            // Another runner has just given it up.
            Err(error) => assert!(matches!(error, SinkError::Unavailable { .. }), "{error}"),
        }
    }
    assert_eq!(building(shared(), &prefix), Some(5));
    let changes = long_story(10);
    deliver(&sink, 0, &changes).await.unwrap();
    assert_eq!(
        hashes(shared(), &prefix, 5, 0)["shard"]["seq"],
        changes.len().to_string()
    );
}

#[tokio::test]
async fn a_writer_leaves_a_view_that_is_not_live_any_more() {
    let prefix = prefix();
    let sink = sink(&shared().url(), &prefix);
    let changes = long_story(20);
    let mut writer = sink.open(0).await.unwrap();
    writer.write(&changes[..20]).await.unwrap();
    make_live(shared(), &prefix, &mut *writer).await;
    // A rebuild makes its generation live.
    let key = format!("{{{prefix}}}:live");
    let _: u8 = shared().ask(&["HSET", &key, "generation", "2"]).unwrap();
    let error = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Err(error) = writer.settle().await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert!(matches!(error, SinkError::Moved { .. }), "{error}");
    deliver(&sink, 0, &changes).await.unwrap();
    assert_eq!(hashes(shared(), &prefix, 1, 0)["shard"]["seq"], "20");
    assert_eq!(
        hashes(shared(), &prefix, 2, 0)["shard"]["seq"],
        changes.len().to_string()
    );
}

#[tokio::test]
async fn prefixes_that_begin_alike_do_not_meet() {
    let first = prefix();
    let second = format!("{first}:1");
    let changes = long_story(10);
    deliver(&sink(&shared().url(), &first), 0, &changes)
        .await
        .unwrap();
    deliver(&sink(&shared().url(), &second), 0, &changes[..2])
        .await
        .unwrap();
    assert_eq!(
        hashes(shared(), &first, 1, 0)["shard"]["seq"],
        changes.len().to_string()
    );
    assert_eq!(hashes(shared(), &second, 1, 0)["shard"]["seq"], "2");
}
