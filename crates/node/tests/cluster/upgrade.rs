//! A data folder that the release before this one made.
//!
//! `first-release.bin` holds the files of one node with one shard, stopped in good order, as that release
//! left them. For each file it has the path, the length, and the blocks that are not all zeros. It is not
//! made again: a difference is a difference between two releases.

use std::path::Path;

use holdfast_api::v1;

use crate::support::TestCluster;

const FOLDER: &[u8] = include_bytes!("first-release.bin");

/// Reads numbers and bytes off a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn u32(&mut self) -> usize {
        u32::from_le_bytes(self.bytes(4).try_into().unwrap()) as usize
    }

    fn u64(&mut self) -> usize {
        u64::from_le_bytes(self.bytes(8).try_into().unwrap()) as usize
    }
}

fn unpack(into: &Path) {
    let mut reader = Reader(FOLDER);
    while !reader.0.is_empty() {
        let length = reader.u32();
        let path = into.join(std::str::from_utf8(reader.bytes(length)).unwrap());
        let mut content = vec![0; reader.u64()];
        for _ in 0..reader.u32() {
            let (offset, length) = (reader.u64(), reader.u32());
            content[offset..offset + length].copy_from_slice(reader.bytes(length));
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

async fn status(cluster: &TestCluster, index: usize) -> v1::GetNodeStatusResponse {
    let mut client = cluster.cluster(index);
    let status = client.get_node_status(v1::GetNodeStatusRequest {}).await;
    status.unwrap().into_inner()
}

async fn rules(cluster: &TestCluster) -> u32 {
    status(cluster, 0).await.replicas[0].rules
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_the_release_before_opens_decides_as_before_and_adopts_the_newest_rules() {
    let mut cluster = TestCluster::start_with(1, |config| {
        config.shards.count = 1;
        unpack(&config.node.data_dir);
    })
    .await;
    assert_eq!(rules(&cluster).await, 1, "nobody has asked for other rules");
    assert_eq!(cluster.cell(0, "tea").await.on_hand, 27);
    assert_eq!(cluster.cell(0, "cup").await.on_hand, 7);
    let kinds: Vec<v1::ChangeKind> = cluster
        .all_changes(0, 0)
        .await
        .iter()
        .take(9)
        .map(v1::Change::kind)
        .collect();
    let wrote = [
        v1::ChangeKind::Received,
        v1::ChangeKind::Received,
        v1::ChangeKind::Reserved,
        v1::ChangeKind::Reserved,
        v1::ChangeKind::Reserved,
        v1::ChangeKind::Committed,
        v1::ChangeKind::Released,
        v1::ChangeKind::Shipped,
        v1::ChangeKind::Adjusted,
    ];
    assert_eq!(kinds, wrote);
    let changes = cluster.all_changes(0, 0).await.len();
    cluster.receive(0, "tea", 3).await;
    // The earlier release could not read such a name in its log.
    let named = |sku: &str| v1::ReceiveRequest {
        operation: crate::support::operation(),
        sku: sku.into(),
        warehouse: "W1".into(),
        quantity: 1,
        supply_id: String::new(),
    };
    for sku in ["Größe-XL rot", &"x".repeat(65)] {
        let refused = cluster.stock(0).receive(named(sku)).await.unwrap_err();
        assert_eq!(crate::support::reason(&refused), v1::Reason::InvalidRequest);
        let told = refused.message();
        assert!(told.contains("holdfast cluster adopt-rules"), "{told}");
    }

    let adopt = |dry_run| v1::AdoptRulesRequest { rules: 0, dry_run };
    let planned = cluster
        .admin(0)
        .adopt_rules(adopt(true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((planned.shards[0].before, planned.shards[0].adopted), (1, false));
    assert_eq!(rules(&cluster).await, 1, "a dry run changes nothing");
    let adopted = cluster
        .admin(0)
        .adopt_rules(adopt(false))
        .await
        .unwrap()
        .into_inner();
    assert!(adopted.shards[0].adopted);
    assert_eq!(rules(&cluster).await, adopted.rules);
    let again = cluster
        .admin(0)
        .adopt_rules(adopt(false))
        .await
        .unwrap()
        .into_inner();
    assert!(!again.shards[0].adopted, "{again:?}");
    cluster.receive(0, "Größe-XL rot", 4).await;

    cluster.stop(0).await;
    cluster.start_again(0).await;
    cluster.ready().await;
    assert_eq!(rules(&cluster).await, adopted.rules);
    // The goods went to a warehouse of its own, which is the first by name.
    assert_eq!(cluster.cell(0, "tea").await.on_hand, 3);
    assert_eq!(cluster.cell(0, "cup").await.on_hand, 7);
    assert_eq!(cluster.cell(0, "Größe-XL rot").await.on_hand, 4);
    assert_eq!(cluster.all_changes(0, 0).await.len(), changes + 2);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_cluster_decides_by_the_newest_rules_and_rules_are_not_adopted_while_a_member_is_silent() {
    let mut cluster = TestCluster::start().await;
    let newest = status(&cluster, 0).await.newest_rules;
    crate::support::eventually("every shard has adopted the newest rules", || async {
        let replicas = status(&cluster, 1).await.replicas;
        replicas
            .iter()
            .all(|replica| replica.rules == newest)
            .then_some(())
    })
    .await;
    cluster.stop(2).await;
    let refused = cluster
        .admin(0)
        .adopt_rules(v1::AdoptRulesRequest {
            rules: 0,
            dry_run: false,
        })
        .await
        .unwrap_err();
    assert_eq!(crate::support::reason(&refused), v1::Reason::WrongState);
    cluster.stop_all().await;
}
