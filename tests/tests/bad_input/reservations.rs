//! Bad requests about reservations.

use anyhow::Result;
use bytes::Bytes;
use holdfast_api::v1;
use holdfast_api::v1::reservations_client::ReservationsClient;
use holdfast_tests::{Cluster, requests};
use tonic::Code;

use super::Case;

pub(crate) async fn cases(cluster: &Cluster) -> Result<Vec<Case>> {
    let mut node = ReservationsClient::new(cluster.channel(0)?);
    let good = || requests::reserve("SKU-1", 1);
    let with_line = |line: v1::ReserveLine| v1::ReserveRequest {
        lines: vec![line],
        ..good()
    };
    let line = |sku: &str, quantity: i64| v1::ReserveLine {
        sku: sku.to_owned(),
        quantity,
        source: None,
    };
    let with_id = |id: &'static [u8]| v1::ReserveRequest {
        operation: Some(v1::Operation {
            operation_id: Bytes::from_static(id),
            ..Default::default()
        }),
        ..good()
    };
    let invalid = Code::InvalidArgument;
    let bad_reserves = [
        ("an empty request", v1::ReserveRequest::default(), invalid),
        (
            "no operation",
            v1::ReserveRequest {
                operation: None,
                ..good()
            },
            invalid,
        ),
        ("a short operation id", with_id(b"short"), invalid),
        (
            "a UUID of version 4",
            with_id(b"\x0e\x5d\x0d\x55\x8a\xa4\x4b\x2c\x9f\x58\x6a\x3c\x11\x22\x33\x44"),
            invalid,
        ),
        (
            "no lines",
            v1::ReserveRequest {
                lines: vec![],
                ..good()
            },
            invalid,
        ),
        (
            "1,025 lines",
            v1::ReserveRequest {
                lines: vec![line("SKU-1", 1); 1025],
                ..good()
            },
            invalid,
        ),
        ("no SKU", with_line(line("", 1)), invalid),
        (
            "a SKU of 129 bytes",
            with_line(line(&"x".repeat(129), 1)),
            invalid,
        ),
        (
            "a SKU with a blank at its end",
            with_line(line("SKU ", 1)),
            invalid,
        ),
        (
            "a SKU with an invisible space",
            with_line(line("SKU\u{200b}1", 1)),
            invalid,
        ),
        (
            "a SKU that turns text around",
            with_line(line("SKU\u{202e}1", 1)),
            invalid,
        ),
        (
            "a SKU with a control character",
            with_line(line("SKU\u{1b}[31m", 1)),
            invalid,
        ),
        ("a quantity of 0", with_line(line("SKU-1", 0)), invalid),
        ("a negative quantity", with_line(line("SKU-1", -1)), invalid),
        (
            "the smallest quantity",
            with_line(line("SKU-1", i64::MIN)),
            invalid,
        ),
        (
            "lines that overflow together",
            v1::ReserveRequest {
                lines: vec![line("SKU-1", i64::MAX), line("SKU-1", i64::MAX)],
                ..good()
            },
            Code::OutOfRange,
        ),
        (
            "more than there is",
            with_line(line("SKU-1", i64::MAX)),
            Code::FailedPrecondition,
        ),
        (
            "an unknown SKU",
            with_line(line("NEVER-SEEN", 1)),
            Code::FailedPrecondition,
        ),
        (
            "no time to live",
            v1::ReserveRequest { ttl_ms: 0, ..good() },
            invalid,
        ),
        (
            "31 days to live",
            v1::ReserveRequest {
                ttl_ms: 31 * 86_400_000,
                ..good()
            },
            invalid,
        ),
        (
            "an unknown mode",
            v1::ReserveRequest { mode: 77, ..good() },
            invalid,
        ),
        (
            "no storefront",
            v1::ReserveRequest {
                storefront: String::new(),
                ..good()
            },
            invalid,
        ),
        (
            "an e-mail for a reference",
            with_reference("someone@example.org"),
            invalid,
        ),
        (
            "a reference of 65 bytes",
            with_reference(&"9".repeat(65)),
            invalid,
        ),
    ];
    let mut cases: Vec<Case> = Vec::new();
    for (what, request, code) in bad_reserves {
        cases.push((what, node.reserve(request).await.map(drop), code));
    }

    let unknown = holdfast_client::new_operation_id();
    cases.push((
        "commit of nothing known",
        node.commit(requests::commit(&unknown)).await.map(drop),
        Code::NotFound,
    ));
    cases.push((
        "commit without a key",
        node.commit(v1::CommitRequest {
            operation: Some(requests::operation()),
            reservation: None,
        })
        .await
        .map(drop),
        invalid,
    ));
    let key = requests::key(&unknown);
    let operation = Some(requests::operation());
    let extend = v1::ExtendRequest {
        operation: operation.clone(),
        reservation: key.clone(),
        ttl_ms: 0,
    };
    cases.push(("extend by nothing", node.extend(extend).await.map(drop), invalid));
    let wrong_shard = v1::ReservationKey {
        reservation_id: unknown.clone(),
        shard: Some(99),
    };
    let release = v1::ReleaseRequest {
        operation: operation.clone(),
        reservation: Some(wrong_shard),
    };
    cases.push((
        "a shard that is not there",
        node.release(release).await.map(drop),
        invalid,
    ));
    let lines = vec![v1::LineQuantity {
        line: 0,
        quantity: -5,
        warehouse: String::new(),
    }];
    let ship = v1::ShipRequest {
        operation: operation.clone(),
        reservation: key.clone(),
        lines: lines.clone(),
    };
    cases.push(("ship less than nothing", node.ship(ship).await.map(drop), invalid));
    let cancel = v1::CancelRequest {
        operation: operation.clone(),
        reservation: key,
        lines,
    };
    cases.push((
        "cancel less than nothing",
        node.cancel(cancel).await.map(drop),
        invalid,
    ));
    let nothing = v1::ReturnRequest {
        operation,
        what: None,
        disposition: 0,
    };
    cases.push((
        "return of nothing",
        node.r#return(nothing).await.map(drop),
        invalid,
    ));
    let get = v1::GetReservationRequest {
        reservation: None,
        consistency: 0,
    };
    cases.push((
        "get without a key",
        node.get_reservation(get).await.map(drop),
        invalid,
    ));
    Ok(cases)
}

fn with_reference(reference: &str) -> v1::ReserveRequest {
    v1::ReserveRequest {
        operation: Some(v1::Operation {
            reference: reference.to_owned(),
            ..requests::operation()
        }),
        ..requests::reserve("SKU-1", 1)
    }
}
