//! Servers that die, come back with less, or lose everything.

use std::time::Duration;

use holdfast_sinks::sink::{Sink as _, SinkError};
use holdfast_test_redis::{AppendFsync, Options, Server};

use crate::equal::long_story;
use crate::model;
use crate::view::*;

/// Checks that the view is what the model says for the position that it has. Returns that position.
fn check_it_is_consistent(
    server: &Server,
    prefix: &str,
    generation: u64,
    changes: &[holdfast_api::v1::Change],
) -> usize {
    let view = hashes(server, prefix, generation, 0);
    let seq: usize = view.get("shard").map_or(0, |shard| shard["seq"].parse().unwrap());
    assert_eq!(view, model::hashes(&CLUSTER.to_string(), &changes[..seq]));
    seq
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_under_load_comes_back_with_cells_that_fit_its_position() {
    for append_fsync in [AppendFsync::Always, AppendFsync::EverySecond] {
        let mut server = Server::start_with(Options {
            append_fsync: Some(append_fsync),
            ..Options::default()
        })
        .unwrap();
        let changes = long_story(4_000);
        let sink = sink(&server.url(), "view");
        let delivering = tokio::spawn({
            let (sink, changes) = (sink.clone(), changes.clone());
            async move {
                for part in changes.chunks(20) {
                    deliver_patiently(&sink, 0, &changes[..part.last().unwrap().seq as usize]).await;
                }
            }
        });
        let mut before = 0;
        for _ in 0..4 {
            // Killed after some more changes, while others are under way.
            let key = "view:1:{0000}:shard";
            let wanted = before as u64 + 200;
            server
                .wait_until(&["HGET", key, "seq"], |seq: &Option<u64>| {
                    seq.is_some_and(|seq| seq >= wanted)
                })
                .unwrap();
            server.kill().unwrap();
            server.restart().unwrap();
            let seq: Option<usize> = server.ask(&["HGET", key, "seq"]).unwrap();
            assert!(seq.unwrap_or_default() >= before, "it lost what it had synced");
            before = seq.unwrap_or_default();
        }
        delivering.await.unwrap();
        assert_eq!(
            check_it_is_consistent(&server, "view", 1, &changes),
            changes.len()
        );
        // With nobody writing: what is in the file is consistent, too.
        server.kill().unwrap();
        server.restart().unwrap();
        assert_eq!(
            check_it_is_consistent(&server, "view", 1, &changes),
            changes.len()
        );
    }
}

#[tokio::test]
async fn a_file_that_ends_in_the_middle_of_a_batch_has_none_of_it() {
    let mut server = Server::start_with(Options {
        append_fsync: Some(AppendFsync::Always),
        ..Options::default()
    })
    .unwrap();
    let changes = long_story(300);
    let sink = sink(&server.url(), "view");
    deliver(&sink, 0, &changes[..200]).await.unwrap();
    deliver(&sink, 0, &changes[..400]).await.unwrap();
    server.kill().unwrap();
    for cut in [1, 500, 5_000] {
        server.cut_append_only_file(cut).unwrap();
        server.restart().unwrap();
        let seq = check_it_is_consistent(&server, "view", 1, &changes);
        assert!(seq < 400, "nothing of the last batch is missing");
        server.kill().unwrap();
    }
    server.restart().unwrap();
    deliver(&sink, 0, &changes).await.unwrap();
    assert_eq!(
        check_it_is_consistent(&server, "view", 1, &changes),
        changes.len()
    );
}

#[tokio::test]
async fn a_server_that_lost_everything_is_noticed_also_while_nothing_changes() {
    let server = Server::start().unwrap();
    let changes = long_story(100);
    let sink = sink(&server.url(), "view");
    deliver(&sink, 0, &changes).await.unwrap();
    let mut writer = sink.open(0).await.unwrap();
    make_live(&server, "view", &mut *writer).await;

    let _: () = server.ask(&["FLUSHALL"]).unwrap();
    let error = writer.current(1_000).await.unwrap_err();
    assert!(
        matches!(error, SinkError::Moved { through_seq: 0, .. }),
        "{error}"
    );
    assert_eq!(
        server.ask::<u64>(&["DBSIZE"]).unwrap(),
        0,
        "an empty view is called current"
    );

    let mut writer = sink.open(0).await.unwrap();
    assert_eq!(writer.opened_at().through_seq, 0);
    writer.write(&changes).await.unwrap();
    assert_eq!(live(&server, "view"), None, "a view is live before it is current");
    make_live(&server, "view", &mut *writer).await;
    assert_eq!(
        check_it_is_consistent(&server, "view", 1, &changes),
        changes.len()
    );
}

#[tokio::test]
async fn everything_lost_between_two_batches_is_delivered_again() {
    let server = Server::start().unwrap();
    let changes = long_story(100);
    let sink = sink(&server.url(), "view");
    let mut writer = sink.open(0).await.unwrap();
    writer.write(&changes[..100]).await.unwrap();
    let _: () = server.ask(&["FLUSHALL"]).unwrap();
    let error = writer.write(&changes[100..]).await.unwrap_err();
    assert!(!error.needs_a_person(), "{error}");
    deliver(&sink, 0, &changes).await.unwrap();
    assert_eq!(
        check_it_is_consistent(&server, "view", 1, &changes),
        changes.len()
    );
}

#[tokio::test]
async fn a_replica_that_takes_over_with_less_gets_the_rest_again() {
    let primary = Server::start().unwrap();
    let replica = Server::start_with(Options {
        replica_of: Some(primary.port()),
        ..Options::default()
    })
    .unwrap();
    let changes = long_story(200);
    deliver(&sink(&primary.url(), "view"), 0, &changes[..200])
        .await
        .unwrap();
    let wanted = model::hashes(&CLUSTER.to_string(), &changes[..200]);
    replica
        .wait_until(&["HGET", "view:1:{0000}:shard", "seq"], |seq: &Option<u64>| {
            *seq == Some(200)
        })
        .unwrap();
    let _: () = replica.ask(&["REPLICAOF", "NO", "ONE"]).unwrap();
    deliver(&sink(&primary.url(), "view"), 0, &changes[..300])
        .await
        .unwrap();
    assert_eq!(hashes(&replica, "view", 1, 0), wanted);

    // A writer that still thinks of the old primary's position does not call the replica current.
    let sink = sink(&replica.url(), "view");
    let mut writer = sink.open(0).await.unwrap();
    assert_eq!(writer.opened_at().through_seq, 200);
    writer.write(&changes[200..300]).await.unwrap();
    let _: u8 = replica
        .ask(&["HSET", "view:1:{0000}:shard", "seq", "200"])
        .unwrap();
    let error = writer.current(9).await.unwrap_err();
    let at = SinkErrorPosition::of(&error);
    assert_eq!(
        at,
        SinkErrorPosition {
            through_seq: 200,
            expected_seq: 300
        }
    );
    let age: Option<u64> = replica
        .ask(&["HGET", "view:1:{0000}:shard", "current_at_ms"])
        .unwrap();
    assert_eq!(age, None);
}

#[derive(Debug, PartialEq, Eq)]
struct SinkErrorPosition {
    through_seq: u64,
    expected_seq: u64,
}

impl SinkErrorPosition {
    fn of(error: &SinkError) -> Self {
        match error {
            SinkError::Moved {
                through_seq,
                expected_seq,
            } => Self {
                through_seq: *through_seq,
                expected_seq: *expected_seq,
            },
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_server_busy_with_a_script_is_tried_again_and_moves_no_position() {
    let server = Server::start_with(Options {
        settings: vec![("busy-reply-threshold".to_owned(), "50".to_owned())],
        ..Options::default()
    })
    .unwrap();
    let changes = long_story(4_000);
    let mut config = config(&server.url(), "view");
    config.timeout = Duration::from_millis(300);
    let sink = sink_of(config, 1);
    let mut writer = sink.open(0).await.unwrap();
    writer.write(&changes[..100]).await.unwrap();

    let busy = std::thread::spawn({
        let url = server.url();
        move || {
            let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
            redis::cmd("EVAL")
                .arg("while true do end")
                .arg(0)
                .query::<()>(&mut connection)
        }
    });
    // Until the script runs, the server answers as usual.
    let mut at = 100;
    let error = loop {
        match writer.write(&changes[at..at + 2]).await {
            Ok(()) => at += 2,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error}");
    let killed: String = server.ask(&["SCRIPT", "KILL"]).unwrap();
    assert_eq!(killed, "OK");
    assert!(busy.join().unwrap().is_err());
    deliver_patiently(&sink, 0, &changes).await;
    assert_eq!(
        check_it_is_consistent(&server, "view", 1, &changes),
        changes.len()
    );
}
