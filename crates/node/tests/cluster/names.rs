//! SKUs in the spelling of shops, through every node and every read.

use holdfast_api::v1::{self, Reason};
use tonic::Code;

use crate::support::{TestCluster, id, key, operation, reason, reserve};

const NAMES: [&str; 6] = [
    "Größe-XL rot",
    "サイズ-M",
    "АБВГД-1",
    "=1+1, \"x\"",
    "🎁",
    // 128 bytes.
    "öööööööööööööööööööööööööööööööööööööööööööööööööööööööööööööööö",
];

/// Returns the SKUs of all cells of the cluster.
async fn listed(cluster: &TestCluster, index: usize) -> Vec<String> {
    let request = v1::ListStockRequest::default();
    let mut answers = cluster
        .stock(index)
        .list_stock(request)
        .await
        .unwrap()
        .into_inner();
    let mut skus = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        skus.extend(answer.cells.into_iter().map(|cell| cell.sku));
    }
    skus.sort_unstable();
    skus
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_in_any_script_goes_through_an_order_and_comes_back_from_every_read_as_it_was() {
    let cluster = TestCluster::start().await;
    for (index, name) in NAMES.iter().enumerate() {
        // The first request of a new cluster may be one of these.
        cluster.receive(index % 3, name, 5).await;
    }
    let mut expected = NAMES.map(str::to_owned);
    expected.sort_unstable();
    // One order of all names spans several shards.
    let order = id();
    let mut request = reserve(&order, "", 1);
    request.lines = NAMES
        .map(|name| v1::ReserveLine {
            sku: name.to_owned(),
            quantity: 2,
            source: None,
        })
        .to_vec();
    let granted = cluster
        .reservations(1)
        .reserve(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(granted.lines.iter().map(|line| line.granted).sum::<i64>(), 12);
    for index in 0..3 {
        for name in NAMES {
            let cell = cluster.cell(index, name).await;
            assert_eq!((cell.sku.as_str(), cell.on_hand, cell.held), (name, 5, 2));
        }
        assert_eq!(listed(&cluster, index).await, expected);
        let request = v1::CheckAvailabilityRequest {
            storefront: "web".into(),
            skus: NAMES.map(str::to_owned).to_vec(),
            ..Default::default()
        };
        let mut availability = v1::availability_client::AvailabilityClient::new(cluster.channel(index));
        let answer = availability
            .check_availability(request)
            .await
            .unwrap()
            .into_inner();
        let found = answer.skus.iter().map(|sku| (sku.sku.as_str(), sku.available));
        assert!(found.eq(NAMES.map(|name| (name, 3))));
        let request = v1::GetReservationRequest {
            reservation: key(&order),
            ..Default::default()
        };
        let read = cluster.reservations(index).get_reservation(request).await;
        let lines = read.unwrap().into_inner().reservation.unwrap().lines;
        assert!(lines.iter().map(|line| line.sku.as_str()).eq(NAMES));
    }
    for name in NAMES {
        let mut told = Vec::new();
        for shard in 0..cluster.topology(0).await.shards.len() as u32 {
            let request = v1::TailChangesRequest {
                shard,
                sku: name.to_owned(),
                ..Default::default()
            };
            let mut stream = cluster
                .changes(2)
                .tail_changes(request)
                .await
                .unwrap()
                .into_inner();
            while let Some(message) = stream.message().await.unwrap() {
                told.extend(message.changes);
            }
        }
        assert_eq!(told.len(), 2, "{name}: {told:?}");
        assert!(told.iter().all(|change| change.sku == name));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_looks_like_another_is_not_made_known_and_may_be_asked_for() {
    let cluster = TestCluster::start_with(1, |_| {}).await;
    let receive = |sku: &str| v1::ReceiveRequest {
        operation: operation(),
        sku: sku.to_owned(),
        warehouse: "W1".into(),
        quantity: 1,
        supply_id: String::new(),
    };
    for (name, told) in [
        (
            "SHIRТ-1",
            "sku: the character U+0422 at byte 4 belongs to the script Cyrillic",
        ),
        ("Gro\u{308}ße", "which has U+00F6 at byte 2"),
        ("СОК", "U+0421 at byte 0 looks like `C`"),
    ] {
        let status = cluster.stock(0).receive(receive(name)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(reason(&status), Reason::InvalidRequest);
        assert!(status.message().contains(told), "{}", status.message());
        let request = v1::GetStockRequest {
            sku: name.to_owned(),
            ..Default::default()
        };
        let read = cluster.stock(0).get_stock(request).await.unwrap().into_inner();
        assert!(read.cells.is_empty(), "{read:?}");
    }
    // A name that no ledger can have is refused in a read too.
    let request = v1::GetStockRequest {
        sku: "a\u{200b}b".into(),
        ..Default::default()
    };
    let status = cluster.stock(0).get_stock(request).await.unwrap_err();
    assert!(
        status.message().contains("U+200B at byte 1"),
        "{}",
        status.message()
    );
    assert!(listed(&cluster, 0).await.is_empty());
}
