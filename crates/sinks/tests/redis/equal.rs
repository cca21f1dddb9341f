//! The view equals the model, however it was written.

use holdfast_api::v1::{Bucket, Change};
use holdfast_sinks::sink::{Sink as _, SinkError};
use holdfast_test_redis::Cluster;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::model;
use crate::story::{self, SKUS, STOREFRONTS, Step, WAREHOUSES};
use crate::view::*;

/// One act of two writers that do not know of each other.
#[derive(Debug, Clone)]
enum Act {
    /// A writer writes the next entries of its stream.
    Write { writer: usize, entries: usize },
    /// A writer ends, and another one begins where the target is.
    Reopen { writer: usize },
    /// A writer ends, and another one gets the stream from an earlier entry on.
    Replay { writer: usize, entries: usize },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let writer = || 0..2_usize;
    let act = prop_oneof![
        6 => (writer(), 1..20_usize).prop_map(|(writer, entries)| Act::Write { writer, entries }),
        1 => writer().prop_map(|writer| Act::Reopen { writer }),
        1 => (writer(), 1..20_usize).prop_map(|(writer, entries)| Act::Replay { writer, entries }),
    ];
    prop::collection::vec(act, 0..40)
}

async fn play(prefix: &str, changes: &[Change], acts: &[Act]) -> Result<(), SinkError> {
    let sink = sink(&shared().url(), prefix);
    let ends = ends(changes);
    let mut writers = [sink.open(0).await?, sink.open(0).await?];
    // How many entries each writer has got.
    let mut got = [0, 0];
    let through = |entries: usize| if entries == 0 { 0 } else { ends[entries - 1] };
    for act in acts {
        match *act {
            Act::Write { writer, entries } => {
                let to = (got[writer] + entries).min(ends.len());
                writers[writer]
                    .write(&changes[through(got[writer])..through(to)])
                    .await?;
                writers[writer].settle().await?;
                got[writer] = to;
            }
            Act::Reopen { writer } => {
                writers[writer] = sink.open(0).await?;
                let seq = writers[writer].opened_at().through_seq;
                got[writer] = ends.partition_point(|end| (*end as u64) <= seq);
            }
            Act::Replay { writer, entries } => got[writer] = got[writer].saturating_sub(entries),
        }
    }
    let through_seq = deliver(&sink, 0, changes).await?;
    assert_eq!(through_seq, changes.last().map_or(0, |change| change.seq));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_writers_replays_and_batches_of_any_size_make_the_view_of_the_model(
        entries in story::steps(),
        acts in acts(),
    ) {
        let changes = story::tell(0, &entries);
        let (by_two, at_once) = (prefix(), prefix());
        Runtime::new().unwrap().block_on(async {
            play(&by_two, &changes, &acts).await.unwrap();
            play(&at_once, &changes, &[]).await.unwrap();
        });
        let wanted = model::hashes(&CLUSTER.to_string(), &changes);
        prop_assert_eq!(&hashes(shared(), &by_two, 1, 0), &wanted);
        // Replayed from the beginning, the view has the same bytes.
        prop_assert_eq!(&hashes(shared(), &at_once, 1, 0), &wanted);
    }
}

/// Returns many receipts of all SKUs and warehouses, and some pools.
pub(crate) fn long_story(entries: usize) -> Vec<Change> {
    let entries: Vec<Vec<Step>> = (0..entries)
        .map(|entry| {
            let cell = (entry % SKUS.len(), entry / 3 % WAREHOUSES.len());
            vec![
                Step::Receive { cell, units: 5 },
                Step::Allocate {
                    cell,
                    storefront: entry % STOREFRONTS.len(),
                    units: 2,
                },
            ]
        })
        .collect();
    story::tell(0, &entries)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_that_race_bring_each_change_once() {
    let (changes, prefix) = (long_story(600), prefix());
    let sink = sink(&shared().url(), &prefix);
    let race = |size: usize| {
        let (sink, changes) = (sink.clone(), changes.clone());
        tokio::spawn(async move {
            let mut writer = sink.open(0).await.unwrap();
            for part in changes.chunks(size * 2) {
                writer.write(part).await.unwrap();
                writer.settle().await.unwrap();
            }
            writer.settle().await.unwrap().through_seq
        })
    };
    let (fast, slow) = (race(7), race(3));
    let last = changes.last().unwrap().seq;
    assert_eq!((fast.await.unwrap(), slow.await.unwrap()), (last, last));
    let wanted = model::hashes(&CLUSTER.to_string(), &changes);
    assert_eq!(hashes(shared(), &prefix, 1, 0), wanted);
}

#[tokio::test]
async fn a_writer_that_is_behind_goes_on_where_the_other_one_is() {
    let (changes, prefix) = (long_story(600), prefix());
    let sink = sink(&shared().url(), &prefix);
    let mut behind = sink.open(0).await.unwrap();
    // The other one ends in the middle of the first call of this one.
    deliver(&sink, 0, &changes[..100]).await.unwrap();
    behind.write(&changes).await.unwrap();
    let wanted = model::hashes(&CLUSTER.to_string(), &changes);
    assert_eq!(hashes(shared(), &prefix, 1, 0), wanted);
}

#[tokio::test]
async fn an_entry_of_ten_thousand_changes_is_written_at_once() {
    let steps: Vec<Step> = (0..10_000)
        .map(|step| Step::Receive {
            cell: (step % SKUS.len(), step / 7 % WAREHOUSES.len()),
            units: 1,
        })
        .collect();
    let (changes, prefix) = (story::tell(0, &[steps]), prefix());
    let sink = sink(&shared().url(), &prefix);
    assert_eq!(deliver(&sink, 0, &changes).await.unwrap(), 10_000);
    let wanted = model::hashes(&CLUSTER.to_string(), &changes);
    assert_eq!(hashes(shared(), &prefix, 1, 0), wanted);
}

#[tokio::test]
async fn a_cell_with_more_pools_than_lua_can_unpack_is_written() {
    let prefix = prefix();
    let sink = sink(&shared().url(), &prefix);
    let mut changes = story::tell(0, &[story::receive(0, 0, 10_000)]);
    // The first rules of a ledger have no limit on the pools of a cell.
    for pool in 0..5_000_u64 {
        let mut change = changes[0].clone();
        change.storefront = format!("shop-{pool}");
        change.moves = vec![holdfast_api::v1::BucketMove {
            bucket: Bucket::Pool.into(),
            delta: 1,
            after: 1,
        }];
        changes.push(change);
    }
    let count = changes.len() as u32;
    for (change, offset) in changes.iter_mut().zip(0..) {
        change.seq = u64::from(offset) + 1;
        (change.entry_offset, change.entry_changes) = (offset, count);
    }
    deliver(&sink, 0, &changes).await.unwrap();
    let wanted = model::hashes(&CLUSTER.to_string(), &changes);
    assert_eq!(hashes(shared(), &prefix, 1, 0), wanted);
}

#[tokio::test]
async fn a_policy_that_came_before_the_goods_keeps_a_storefront_from_them() {
    let prefix = prefix();
    let policy = vec![Step::Policy {
        sku: 0,
        storefront: 0,
        may_borrow: false,
    }];
    let changes = story::tell(0, &[policy, story::receive(0, 0, 5)]);
    deliver(&sink(&shared().url(), &prefix), 0, &changes)
        .await
        .unwrap();
    let view = hashes(shared(), &prefix, 1, 0);
    let sku = &view["sku:SHIRT-1"];
    assert_eq!((sku["*"].as_str(), sku["web"].as_str()), ("5", "0"));
}

#[tokio::test]
async fn a_cell_with_nothing_and_one_that_is_unknown_are_different_answers() {
    let prefix = prefix();
    let changes = story::tell(0, &[vec![Step::Expect { cell: (0, 0) }]]);
    deliver(&sink(&shared().url(), &prefix), 0, &changes)
        .await
        .unwrap();
    let view = hashes(shared(), &prefix, 1, 0);
    assert_eq!(view["sku:SHIRT-1"]["*"], "0");
    assert_eq!(view["sku:SHIRT-1"]["*@LDN-1"], "0");
    assert!(!view.contains_key("sku:A{x}|B"));
}

#[tokio::test]
async fn units_that_do_not_fit_are_refused_and_nothing_of_the_batch_is_written() {
    let prefix = prefix();
    let sink = sink(&shared().url(), &prefix);
    let mut changes = story::tell(
        0,
        &[
            story::receive(0, 0, 7),
            vec![Step::Allocate {
                cell: (0, 0),
                storefront: 0,
                units: 3,
            }],
            story::receive(1, 1, 9),
            story::receive(0, 1, 11),
        ],
    );
    deliver(&sink, 0, &changes[..2]).await.unwrap();
    let before = hashes(shared(), &prefix, 1, 0);
    // Each cell fits into 64 bits, their sum does not.
    for moved in &mut changes[3].moves {
        (moved.delta, moved.after) = (i64::MAX, i64::MAX);
    }
    let error = deliver(&sink, 0, &changes).await.unwrap_err();
    assert!(
        error.needs_a_person() && error.to_string().contains("sinks rebuild"),
        "{error}"
    );
    let now = hashes(shared(), &prefix, 1, 0);
    assert_eq!(now, before);
    // Without the change that does not fit, everything is as if nothing had happened.
    for moved in &mut changes[3].moves {
        let there = if moved.bucket() == Bucket::Pool { 3 } else { 0 };
        (moved.delta, moved.after) = (11, 11 + there);
    }
    deliver(&sink, 0, &changes).await.unwrap();
    let wanted = model::hashes(&CLUSTER.to_string(), &changes);
    assert_eq!(hashes(shared(), &prefix, 1, 0), wanted);
}

#[tokio::test]
async fn a_bucket_of_a_later_version_is_named_and_nothing_is_skipped() {
    let prefix = prefix();
    let sink = sink(&shared().url(), &prefix);
    let mut changes = story::tell(0, &[story::receive(0, 0, 7), story::receive(0, 0, 1)]);
    changes[1].moves[0].bucket = 99;
    let mut writer = sink.open(0).await.unwrap();
    let error = writer.write(&changes).await.unwrap_err();
    assert!(
        matches!(&error, SinkError::Unwritable { shard: 0, seq: 2, what } if what.contains("99")),
        "{error}"
    );
    assert!(hashes(shared(), &prefix, 1, 0).is_empty());
}

#[tokio::test]
async fn a_cluster_of_three_has_each_shard_on_one_node() {
    let cluster = Cluster::start().unwrap();
    let mut config = config(&cluster.url(), "view");
    config.cluster = true;
    let sink = sink_of(config, 8);
    let mut writers = Vec::new();
    for shard in 0..8 {
        let mut changes = long_story(200);
        changes.iter_mut().for_each(|change| change.shard = shard);
        deliver(&sink, shard, &changes).await.unwrap();
        let mut writer = sink.open(shard).await.unwrap();
        assert_eq!(sink.position(shard).await.unwrap(), writer.opened_at());
        writer.current(5).await.unwrap();
        writers.push(writer);
        let there = cluster
            .servers
            .iter()
            .map(|server| hashes(server, "view", 1, shard));
        let there: Vec<_> = there.filter(|hashes| !hashes.is_empty()).collect();
        assert_eq!(there, [model::hashes(&CLUSTER.to_string(), &changes)]);
    }
    let live: Vec<Option<u64>> = cluster
        .servers
        .iter()
        .filter_map(|server| server.ask(&["HGET", "{view}:live", "generation"]).ok())
        .collect();
    assert_eq!(live, [Some(1)]);
}
