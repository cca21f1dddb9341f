use std::sync::Arc;

use holdfast_api::v1::{Bucket, BucketMove, Change, ChangeKind};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use proptest::prelude::*;

use super::*;
use crate::archive::{Cut, Format};

const SHARD: u32 = 4;
const START_MS: u64 = 1_700_000_000_000;
const WAREHOUSES: [&str; 2] = ["east", "west"];

/// A draft of one change. It moves one or more units from nowhere or between two buckets, which is enough to
/// see that each change is counted once.
#[derive(Debug, Clone)]
struct Draft {
    warehouse: usize,
    quantity: i64,
    damaged: bool,
    later_ms: u64,
    /// True when it belongs to the entry of the change before it.
    same_entry: bool,
}

fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    let draft = (0..2_usize, 1..5_i64, any::<bool>(), 0..3_u64, any::<bool>()).prop_map(
        |(warehouse, quantity, damaged, later_ms, same_entry)| Draft {
            warehouse,
            quantity,
            damaged,
            later_ms,
            same_entry,
        },
    );
    proptest::collection::vec(draft, 1..24)
}

fn moved(bucket: Bucket, delta: i64, after: i64) -> BucketMove {
    BucketMove {
        bucket: bucket.into(),
        delta,
        after,
    }
}

/// Makes a history in which units come in and some are damaged. `[free, damaged]` by warehouse is tracked.
fn history(drafts: &[Draft]) -> Vec<Change> {
    let mut units = [[0_i64; 2]; 2];
    let mut changes: Vec<Change> = Vec::new();
    let (mut log_time_ms, mut log_index) = (START_MS, 0);
    for (draft, seq) in drafts.iter().zip(1..) {
        let [free, damaged] = &mut units[draft.warehouse];
        let (kind, moves) = if draft.damaged && *free >= draft.quantity {
            *free -= draft.quantity;
            *damaged += draft.quantity;
            let moves = vec![
                moved(Bucket::Free, -draft.quantity, *free),
                moved(Bucket::Damaged, draft.quantity, *damaged),
            ];
            (ChangeKind::BucketMoved, moves)
        } else {
            *free += draft.quantity;
            let moves = vec![
                moved(Bucket::OnHand, draft.quantity, *free + *damaged),
                moved(Bucket::Free, draft.quantity, *free),
            ];
            (ChangeKind::Received, moves)
        };
        let before = changes.last().map_or(0, |last| last.entry_offset + 1);
        let entry_offset = if draft.same_entry { before } else { 0 };
        if entry_offset == 0 {
            log_index += 1;
            log_time_ms += draft.later_ms;
        }
        changes.push(Change {
            shard: SHARD,
            seq,
            entry_offset,
            log_index,
            log_time_ms,
            kind: kind.into(),
            sku: "tea".into(),
            warehouse: WAREHOUSES[draft.warehouse].into(),
            moves,
            cause: Some(Default::default()),
            ..Change::default()
        });
    }
    for at in 0..changes.len() {
        let of_entry = changes
            .iter()
            .filter(|other| other.log_index == changes[at].log_index);
        changes[at].entry_changes = of_entry.count() as u32;
    }
    changes
}

/// Returns free and damaged of each warehouse that had stock: the last after-images until then.
fn naive(changes: &[Change]) -> Vec<(String, i64, i64)> {
    let last = |warehouse: &str, bucket: Bucket| {
        let here = changes.iter().filter(|change| change.warehouse == warehouse);
        let moves = here.flat_map(|change| &change.moves);
        moves
            .filter(|one| one.bucket() == bucket)
            .last()
            .map(|one| one.after)
    };
    let had_stock = WAREHOUSES
        .iter()
        .filter(|name| last(name, Bucket::OnHand).is_some());
    had_stock
        .map(|name| {
            let units = |bucket| last(name, bucket).unwrap_or(0);
            ((*name).to_owned(), units(Bucket::Free), units(Bucket::Damaged))
        })
        .collect()
}

async fn archive_of(changes: &[Change], rows: usize) -> (Arc<InMemory>, Archive) {
    let store = Arc::new(InMemory::new());
    let archive = Archive::new(store.clone(), Path::from("lake"), Format::Parquet);
    let cut = Cut {
        rows,
        ..Cut::default()
    };
    let mut writer = archive.writer(SHARD, cut).await.unwrap();
    writer.push(changes.to_vec()).await.unwrap();
    writer.flush().await.unwrap();
    (store, archive)
}

fn whole_entries(changes: &[Change], at_least: usize) -> usize {
    let ends = |change: &Change| change.entry_offset + 1 == change.entry_changes;
    let rest = &changes[at_least.min(changes.len() - 1)..];
    changes.len() - rest.len() + 1 + rest.iter().position(ends).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn an_archive_continued_by_a_stream_stands_at_each_moment_as_one_history(
        drafts in drafts(), split in 0..24_usize, overlap in 0..6_usize, rows in 2..9_usize,
    ) {
        let changes = history(&drafts);
        let archived = whole_entries(&changes, split % changes.len());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (_, archive) = runtime.block_on(archive_of(&changes[..archived], rows));
        let ends_at_ms = changes.last().unwrap().log_time_ms;
        let moments = (1..=changes.len() as u64).map(At::Seq);
        for at in moments.chain((START_MS..=ends_at_ms + 1).map(At::LogTimeMs)) {
            let until: Vec<Change> = changes
                .iter()
                .filter(|change| match at {
                    At::Seq(seq) => change.seq <= seq,
                    At::LogTimeMs(at_ms) => change.log_time_ms <= at_ms,
                })
                .cloned()
                .collect();
            let mut reading = Reading::new(SHARD, at, Stock::new("tea", ""));
            runtime.block_on(read_archive(&archive, &mut reading)).unwrap();
            let next = changes.get(until.len());
            prop_assert_eq!(reading.next_seq() as usize, until.len().min(archived) + 1);
            // A stream may repeat changes that the archive has.
            let from = (reading.next_seq() as usize - 1).saturating_sub(overlap);
            for change in &changes[from..] {
                reading.observe(change).unwrap();
            }
            let Some(last) = until.last() else {
                let first_log_time_ms = next.unwrap().log_time_ms;
                let error = AsOfError::BeforeFirst { shard: SHARD, first_log_time_ms };
                prop_assert_eq!(reading.finish().map(|_| ()), Err(error));
                continue;
            };
            let (as_of, stock) = reading.finish().unwrap();
            let cells = stock.cells();
            let told: Vec<_> = cells.iter().map(|cell| (cell.warehouse.clone(), cell.free, cell.damaged)).collect();
            prop_assert_eq!(told, naive(&until));
            prop_assert!(cells.iter().all(|cell| cell.on_hand == cell.free + cell.damaged));
            prop_assert_eq!(as_of.position.unwrap().seq, last.seq);
            prop_assert_eq!(as_of.log_time_ms, last.log_time_ms);
        }
    }
}

fn plain(count: usize) -> Vec<Change> {
    let draft = Draft {
        warehouse: 0,
        quantity: 1,
        damaged: false,
        later_ms: 1,
        same_entry: false,
    };
    history(&vec![draft; count])
}

#[tokio::test]
async fn a_gap_between_archive_and_stream_is_a_fault() {
    let changes = plain(9);
    let (_, archive) = archive_of(&changes[..4], 2).await;
    let mut reading = Reading::new(SHARD, At::Seq(9), Stock::new("tea", ""));
    read_archive(&archive, &mut reading).await.unwrap();
    assert!(!reading.is_passed() && reading.next_seq() == 5);
    let fault = reading.observe(&changes[5]).unwrap_err();
    assert!(fault.to_string().contains("change 5 is missing"), "{fault}");
}

#[tokio::test]
async fn files_behind_the_moment_are_not_read() {
    let changes = plain(8);
    let (store, archive) = archive_of(&changes, 2).await;
    let mut chain = archive.chain(SHARD).await.unwrap();
    let mut last = None;
    while let Some(entry) = chain.next().await.unwrap() {
        last = Some(Path::from(format!("lake/{}", entry.file)));
    }
    let last = last.unwrap();
    store
        .put(&last, PutPayload::from_static(b"damaged"))
        .await
        .unwrap();
    let read = async |seq| {
        let mut reading = Reading::new(SHARD, At::Seq(seq), Stock::new("tea", ""));
        read_archive(&archive, &mut reading)
            .await
            .map(|()| reading.is_passed())
    };
    assert!(read(6).await.unwrap());
    assert!(matches!(
        read(7).await,
        Err(ReadError::Archive(ArchiveError::Read(_)))
    ));
}
