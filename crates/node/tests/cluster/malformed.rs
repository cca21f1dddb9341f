//! Messages that are malformed: whatever a client sends, it gets the right code, and nothing changes.

use bytes::{Buf as _, BufMut as _, Bytes};
use holdfast_api::v1::{self, Reason};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};

use crate::support::*;

/// A codec that sends and receives bytes unchanged.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        *self
    }
    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// The methods of the public API.
const METHODS: [&str; 24] = [
    "Reservations/Reserve",
    "Reservations/Extend",
    "Reservations/Commit",
    "Reservations/Release",
    "Reservations/Ship",
    "Reservations/Cancel",
    "Reservations/Return",
    "Reservations/GetReservation",
    "Reservations/Batch",
    "Stock/Receive",
    "Stock/Adjust",
    "Stock/Count",
    "Stock/MoveBucket",
    "Stock/SetPolicy",
    "Stock/AllocatePool",
    "Stock/GetStock",
    "Stock/ListStock",
    "Availability/CheckAvailability",
    "Changes/TailChanges",
    "Changes/GetPositions",
    "Cluster/GetTopology",
    "Admin/TransferLeader",
    "History/GetStockAsOf",
    "History/GetReservationAsOf",
];

/// Sends one message and waits for the end of the answers.
async fn send_raw(cluster: &TestCluster, method: &str, message: Bytes) -> Result<usize, Status> {
    let node = cluster.node(0);
    let address = match method.starts_with("Admin/") {
        true => node.admin_address(),
        false => node.client_address(),
    };
    let mut grpc = tonic::client::Grpc::new(cluster.channel_to(address));
    grpc.ready().await.unwrap();
    let path = format!("/holdfast.v1.{method}").parse().unwrap();
    let messages = futures::stream::iter([message]);
    let mut answers = grpc
        .streaming(Request::new(messages), path, Raw)
        .await?
        .into_inner();
    let mut count = 0;
    while answers.message().await?.is_some() {
        count += 1;
    }
    Ok(count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_message_are_refused_by_every_method() {
    let cluster = TestCluster::start_with(1, |_| {}).await;
    // The tests send a length beyond the end, text that is not UTF-8, and a message over 4 MiB.
    let truncated = Bytes::from_static(&[0x0a, 0x7f, 0x01]);
    for method in METHODS {
        let status = send_raw(&cluster, method, truncated.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{method}: {status:?}");
        let status = send_raw(&cluster, method, Bytes::from(vec![0; 5 << 20]))
            .await
            .unwrap_err();
        assert!(
            matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted),
            "{method}: {status:?}"
        );
    }
    // Field 2 is the SKU of a Receive and the storefront of a Reserve.
    for method in ["Stock/Receive", "Stock/GetStock", "Reservations/Reserve"] {
        let field = if method == "Stock/GetStock" { 0x0a } else { 0x12 };
        let not_text = Bytes::copy_from_slice(&[field, 2, 0xff, 0xfe]);
        let status = send_raw(&cluster, method, not_text).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{method}: {status:?}");
    }
    let status = send_raw(&cluster, "Stock/Destroy", Bytes::new())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_message_is_refused_by_every_method_that_needs_something() {
    let cluster = TestCluster::start_with(1, |_| {}).await;
    for method in METHODS {
        let answer = send_raw(&cluster, method, Bytes::new()).await;
        let needs_nothing = [
            "Stock/ListStock",
            "Changes/TailChanges",
            "Changes/GetPositions",
            "Cluster/GetTopology",
            "Reservations/Batch",
        ];
        if needs_nothing.contains(&method) {
            assert!(answer.is_ok(), "{method}: {answer:?}");
        } else if method == "Admin/TransferLeader" {
            // The request is well formed, but a single node has no other node to hand over to.
            assert_eq!(reason(&answer.unwrap_err()), Reason::NoLeader);
        } else {
            let status = answer.unwrap_err();
            assert_eq!(
                (status.code(), reason(&status)),
                (Code::InvalidArgument, Reason::InvalidRequest),
                "{method}"
            );
        }
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_a_rule_is_refused_with_its_field_and_changes_nothing() {
    let cluster = TestCluster::start_with(1, |_| {}).await;
    let shard = cluster
        .receive(0, "A", 10)
        .await
        .receipt
        .unwrap()
        .position
        .unwrap()
        .shard;
    let good = || reserve(&id(), "A", 1);
    let line = |sku: &str, quantity| v1::ReserveLine {
        sku: sku.into(),
        quantity,
        source: None,
    };
    let with_line = |line| v1::ReserveRequest {
        lines: vec![line],
        ..good()
    };
    let operation_id = |bytes: &[u8]| v1::ReserveRequest {
        operation: operation_with(Bytes::copy_from_slice(bytes)),
        ..good()
    };
    let reference = |text: &str| v1::ReserveRequest {
        operation: operation().map(|operation| v1::Operation {
            reference: text.into(),
            ..operation
        }),
        ..good()
    };
    let preference = |names: &[&str]| {
        let warehouses = names.iter().map(|name| (*name).to_owned()).collect();
        let kind = v1::source::Kind::Preference(v1::WarehouseList { warehouses });
        with_line(v1::ReserveLine {
            source: Some(v1::Source { kind: Some(kind) }),
            ..line("A", 1)
        })
    };
    let requests = [
        (
            "operation:",
            v1::ReserveRequest {
                operation: None,
                ..good()
            },
        ),
        ("operation.operation_id", operation_id(&[])),
        ("operation.operation_id", operation_id(&[1; 17])),
        (
            "operation.operation_id",
            operation_id(uuid::Uuid::nil().as_bytes()),
        ),
        ("operation.reference", reference("a@b.example")),
        ("operation.reference", reference(&"r".repeat(65))),
        (
            "storefront",
            v1::ReserveRequest {
                storefront: String::new(),
                ..good()
            },
        ),
        (
            "storefront",
            v1::ReserveRequest {
                storefront: "s".repeat(33),
                ..good()
            },
        ),
        (
            "lines:",
            v1::ReserveRequest {
                lines: vec![],
                ..good()
            },
        ),
        (
            "lines:",
            v1::ReserveRequest {
                lines: vec![line("A", 1); 1_025],
                ..good()
            },
        ),
        ("lines[0].sku", with_line(line("", 1))),
        ("lines[0].sku", with_line(line(&"S".repeat(129), 1))),
        ("lines[0].sku", with_line(line("no-break\u{a0}space", 1))),
        ("lines[0].quantity", with_line(line("A", 0))),
        ("lines[0].quantity", with_line(line("A", i64::MIN))),
        ("lines[0].source.preference", preference(&[])),
        ("lines[0].source.preference", preference(&["W", "W"])),
        ("ttl_ms", v1::ReserveRequest { ttl_ms: 0, ..good() }),
        (
            "ttl_ms",
            v1::ReserveRequest {
                ttl_ms: u64::MAX,
                ..good()
            },
        ),
        ("mode", v1::ReserveRequest { mode: 77, ..good() }),
    ];
    for (field, request) in requests {
        let status = cluster.reservations(0).reserve(request).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::InvalidArgument, Reason::InvalidRequest),
            "{field}"
        );
        assert!(
            status.message().starts_with(field),
            "`{field}` is not named in `{}`",
            status.message()
        );
    }

    // These requests are well formed but impossible, each for a reason of its own.
    let mut too_much = with_line(line("A", i64::MAX));
    too_much.lines.push(line("A", i64::MAX));
    let status = cluster.reservations(0).reserve(too_much).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::OutOfRange, Reason::Overflow)
    );
    let many = v1::ReceiveRequest {
        operation: operation(),
        sku: "A".into(),
        warehouse: "W1".into(),
        supply_id: String::new(),
        quantity: i64::MAX,
    };
    let status = cluster.stock(0).receive(many).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::OutOfRange, Reason::Overflow)
    );
    let unknown = v1::GetReservationRequest {
        reservation: key(&id()),
        consistency: 0,
    };
    let status = cluster
        .reservations(0)
        .get_reservation(unknown)
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::NotFound, Reason::UnknownReservation)
    );
    let no_shard = v1::ReservationKey {
        reservation_id: id(),
        shard: Some(64),
    };
    let hinted = v1::GetReservationRequest {
        reservation: Some(no_shard),
        consistency: 0,
    };
    let status = cluster.reservations(0).get_reservation(hinted).await.unwrap_err();
    assert_eq!(reason(&status), Reason::InvalidRequest);
    let no_consistency = v1::GetStockRequest {
        sku: "A".into(),
        consistency: -5,
        ..Default::default()
    };
    let status = cluster.stock(0).get_stock(no_consistency).await.unwrap_err();
    assert_eq!(reason(&status), Reason::InvalidRequest);
    let twice = v1::CheckAvailabilityRequest {
        storefront: "web".into(),
        skus: vec!["A".into(), "A".into()],
        consistency: 0,
    };
    let status = holdfast_api::v1::availability_client::AvailabilityClient::new(cluster.channel(0))
        .check_availability(twice)
        .await
        .unwrap_err();
    assert_eq!(reason(&status), Reason::InvalidRequest);

    assert_eq!(
        cluster.all_changes(0, shard).await.len(),
        1,
        "something had an effect"
    );
    cluster.stop_all().await;
}
