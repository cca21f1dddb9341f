//! Bad input: malformed, oversized, empty, negative, overflowing, unknown, over-long and non-UTF-8. It gets a
//! clear error with the right code, has no effect, causes no panic, and does not flood the log.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use holdfast_api::v1;
use holdfast_api::v1::admin_client::AdminClient;
use holdfast_api::v1::availability_client::AvailabilityClient;
use holdfast_api::v1::changes_client::ChangesClient;
use holdfast_api::v1::reservations_client::ReservationsClient;
use holdfast_api::v1::stock_client::StockClient;
use holdfast_tests::{Cluster, Shards, requests};
use tonic::{Code, Status};

/// The name of the input, the answer, and the code that it should have.
type Case = (&'static str, Result<(), Status>, Code);

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_the_right_code_and_change_nothing() -> Result<()> {
    let cluster = Cluster::start(Shards(2)).await?;
    let client = cluster.client()?;
    client.receive(requests::receive("SKU-1", 10)).await?;
    let granted = client.reserve(requests::reserve("SKU-1", 2)).await?;
    ensure!(granted.lines[0].granted == 2);
    let before = client.get_positions(v1::GetPositionsRequest {}).await?.shards;

    let mut cases = reservation_cases(&cluster).await?;
    cases.extend(stock_cases(&cluster).await?);
    cases.extend(read_cases(&cluster).await?);
    for (what, answer, code) in cases {
        let status = answer.err().with_context(|| format!("{what} was accepted"))?;
        ensure!(status.code() == code, "{what}: {status:?}");
        ensure!(!status.message().is_empty(), "{what}: no message");
        ensure!(
            requests::refusal(&status).is_some() || code == Code::OutOfRange,
            "{what}: no refusal in {status:?}"
        );
    }

    let after = client.get_positions(v1::GetPositionsRequest {}).await?.shards;
    let sequences =
        |shards: &[v1::ShardPosition]| shards.iter().map(|shard| shard.last_seq).collect::<Vec<_>>();
    ensure!(sequences(&before) == sequences(&after), "something changed");
    for node in 0..cluster.len() {
        let log = cluster.log(node);
        ensure!(!log.contains("panicked"), "a panic on node {node}:\n{log}");
        ensure!(
            log.lines().count() < 200,
            "{} lines logged by node {node}",
            log.lines().count()
        );
    }
    cluster.verify()?;
    Ok(())
}

async fn reservation_cases(cluster: &Cluster) -> Result<Vec<Case>> {
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

async fn stock_cases(cluster: &Cluster) -> Result<Vec<Case>> {
    let mut node = StockClient::new(cluster.channel(1)?);
    let operation = || Some(requests::operation());
    let (sku, warehouse) = ("SKU-1".to_owned(), requests::WAREHOUSE.to_owned());
    let invalid = Code::InvalidArgument;
    let mut cases: Vec<Case> = Vec::new();

    for (what, request, code) in [
        ("receive nothing", requests::receive("SKU-1", 0), invalid),
        (
            "receive without a warehouse",
            v1::ReceiveRequest {
                warehouse: String::new(),
                ..requests::receive("SKU-1", 1)
            },
            invalid,
        ),
        (
            "receive more than fits",
            requests::receive("SKU-1", i64::MAX),
            Code::OutOfRange,
        ),
    ] {
        cases.push((what, node.receive(request).await.map(drop), code));
    }
    let adjust = |delta| v1::AdjustRequest {
        operation: operation(),
        sku: sku.clone(),
        warehouse: warehouse.clone(),
        delta,
    };
    cases.push((
        "adjust by nothing",
        node.adjust(adjust(0)).await.map(drop),
        invalid,
    ));
    cases.push((
        "adjust below what is free",
        node.adjust(adjust(-9)).await.map(drop),
        Code::FailedPrecondition,
    ));
    cases.push((
        "adjust by the smallest number",
        node.adjust(adjust(i64::MIN)).await.map(drop),
        Code::OutOfRange,
    ));
    let count = |counted, as_of_seq| v1::CountRequest {
        operation: operation(),
        sku: sku.clone(),
        warehouse: warehouse.clone(),
        counted,
        as_of_seq,
    };
    cases.push((
        "count less than nothing",
        node.count(count(-1, None)).await.map(drop),
        invalid,
    ));
    cases.push((
        "count in the future",
        node.count(count(5, Some(u64::MAX))).await.map(drop),
        Code::OutOfRange,
    ));
    let shift = |from: v1::Bucket, to: v1::Bucket, quantity| v1::MoveBucketRequest {
        operation: operation(),
        sku: sku.clone(),
        warehouse: warehouse.clone(),
        from_bucket: from.into(),
        to_bucket: to.into(),
        quantity,
    };
    cases.push((
        "move to where it is",
        node.move_bucket(shift(v1::Bucket::Free, v1::Bucket::Free, 1))
            .await
            .map(drop),
        invalid,
    ));
    cases.push((
        "move out of held",
        node.move_bucket(shift(v1::Bucket::Held, v1::Bucket::Free, 1))
            .await
            .map(drop),
        invalid,
    ));
    cases.push((
        "move more than there is",
        node.move_bucket(shift(v1::Bucket::Free, v1::Bucket::Damaged, 99))
            .await
            .map(drop),
        Code::FailedPrecondition,
    ));
    let policy = v1::SetPolicyRequest {
        operation: operation(),
        sku: sku.clone(),
        storefront: "web".to_owned(),
        may_borrow: true,
        max_per_reservation: -1,
        ..v1::SetPolicyRequest::default()
    };
    cases.push((
        "a negative limit",
        node.set_policy(policy).await.map(drop),
        invalid,
    ));
    let pool = |target| v1::AllocatePoolRequest {
        operation: operation(),
        sku: sku.clone(),
        warehouse: warehouse.clone(),
        storefront: "web".to_owned(),
        target,
    };
    cases.push((
        "a negative pool",
        node.allocate_pool(pool(-1)).await.map(drop),
        invalid,
    ));
    cases.push((
        "a pool larger than free",
        node.allocate_pool(pool(1_000)).await.map(drop),
        Code::FailedPrecondition,
    ));
    Ok(cases)
}

async fn read_cases(cluster: &Cluster) -> Result<Vec<Case>> {
    let invalid = Code::InvalidArgument;
    let mut cases: Vec<Case> = Vec::new();
    let mut stock = StockClient::new(cluster.channel(2)?);
    let get = v1::GetStockRequest {
        sku: "a  b".to_owned(),
        ..Default::default()
    };
    cases.push(("stock of no SKU", stock.get_stock(get).await.map(drop), invalid));
    let list = v1::ListStockRequest {
        shard: Some(77),
        consistency: 0,
    };
    cases.push((
        "stock of no shard",
        first(stock.list_stock(list).await).await,
        invalid,
    ));

    let mut availability = AvailabilityClient::new(cluster.channel(2)?);
    let ask = |skus: Vec<String>| v1::CheckAvailabilityRequest {
        storefront: "web".to_owned(),
        skus,
        consistency: 0,
    };
    cases.push((
        "availability of nothing",
        availability.check_availability(ask(vec![])).await.map(drop),
        invalid,
    ));
    let many = (0..257).map(|sku| format!("SKU-{sku}")).collect();
    cases.push((
        "availability of 257 SKUs",
        availability.check_availability(ask(many)).await.map(drop),
        invalid,
    ));

    let mut changes = ChangesClient::new(cluster.channel(2)?);
    let tail = v1::TailChangesRequest {
        shard: 77,
        ..Default::default()
    };
    cases.push((
        "changes of no shard",
        first(changes.tail_changes(tail).await).await,
        invalid,
    ));
    let tail = v1::TailChangesRequest {
        reservation_id: Bytes::from_static(b"short"),
        ..Default::default()
    };
    cases.push((
        "changes of half an id",
        first(changes.tail_changes(tail).await).await,
        invalid,
    ));

    let mut admin = AdminClient::new(cluster.admin_channel(2)?);
    let transfer = v1::TransferLeaderRequest {
        shard: 77,
        to_node_id: 0,
    };
    cases.push((
        "a leader for no shard",
        admin.transfer_leader(transfer).await.map(drop),
        invalid,
    ));
    let transfer = v1::TransferLeaderRequest {
        shard: 0,
        to_node_id: 99,
    };
    cases.push((
        "a leader that is no node",
        admin.transfer_leader(transfer).await.map(drop),
        invalid,
    ));
    let decide = |shard, rule: &str| v1::DecideEntryRequest {
        shard,
        log_index: 5,
        rule: rule.to_owned(),
        dry_run: false,
        without_unreachable: true,
    };
    cases.push((
        "a decision on an entry of no shard",
        admin.decide_entry(decide(77, "refuse")).await.map(drop),
        invalid,
    ));
    cases.push((
        "a decision by no rule",
        admin.decide_entry(decide(0, "forget")).await.map(drop),
        invalid,
    ));
    let adopt = v1::AdoptRulesRequest {
        rules: 77,
        dry_run: false,
    };
    cases.push((
        "rules that nobody knows",
        admin.adopt_rules(adopt).await.map(drop),
        invalid,
    ));

    let mut reservations = ReservationsClient::new(cluster.channel(2)?);
    let huge = v1::ReserveRequest {
        storefront: "x".repeat(8 << 20),
        ..requests::reserve("SKU-1", 1)
    };
    cases.push((
        "eight mebibytes",
        reservations.reserve(huge).await.map(drop),
        Code::OutOfRange,
    ));
    Ok(cases)
}

/// Returns the error of a stream, whether it comes at once or with the first message.
async fn first<T>(answer: Result<tonic::Response<tonic::Streaming<T>>, Status>) -> Result<(), Status> {
    answer?.into_inner().message().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_arguments_of_the_command_line_are_told_and_change_nothing() -> Result<()> {
    let cluster = Cluster::start(Shards(1)).await?;
    cluster.client()?.receive(requests::receive("SKU-1", 10)).await?;
    let unknown = uuid::Uuid::now_v7().to_string();
    let usage = 2;
    let refused = 1;
    for (arguments, exit_code, says) in [
        (&["stock", "receive", "SKU-1"][..], usage, "required"),
        (
            &[
                "stock",
                "receive",
                "SKU-1",
                "--warehouse",
                "LDN-1",
                "--quantity",
                "many",
            ],
            usage,
            "many",
        ),
        (
            &[
                "stock",
                "receive",
                "SKU–1",
                "--warehouse",
                "LDN-1",
                "--quantity",
                "1",
            ],
            refused,
            "sku",
        ),
        (
            &[
                "stock",
                "receive",
                "SKU-1",
                "--warehouse",
                "LDN-1",
                "--quantity",
                "99999999999999999999",
            ],
            usage,
            "quantity",
        ),
        (&["reserve", "--storefront", "web"], usage, "required"),
        (&["reserve", "SKU-1", "--storefront", "web"], usage, "="),
        (&["reserve", "SKU-1=11", "--storefront", "web"], refused, "10"),
        (
            &["reserve", "SKU-1=1", "--storefront", "web", "--ttl", "soon"],
            usage,
            "soon",
        ),
        (&["commit", "not-a-uuid"], usage, "not-a-uuid"),
        (&["commit", &unknown], refused, "reservation"),
        (&["explain", &unknown], refused, "reservation"),
        (&["changes", "tail", "--shard", "77"], refused, "shard"),
        (
            &["config", "check", "no-such-file.toml"],
            refused,
            "no-such-file.toml",
        ),
        (
            &["serve", "--config", "no-such-file.toml"],
            refused,
            "no-such-file.toml",
        ),
        (
            &["import", "orders", "no-such-file.csv"],
            refused,
            "no-such-file.csv",
        ),
        (&["no-such-command"], usage, "no-such-command"),
    ] {
        let output = cluster.holdfast(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(exit_code),
            "holdfast {arguments:?} ended with {}: {said}",
            output.status
        );
        ensure!(
            said.contains(says),
            "holdfast {arguments:?} does not say {says:?}: {said}"
        );
        ensure!(
            !said.contains("panicked"),
            "holdfast {arguments:?} panicked: {said}"
        );
    }
    let positions = cluster
        .client()?
        .get_positions(v1::GetPositionsRequest {})
        .await?;
    ensure!(positions.shards[0].last_seq == 1, "{positions:?}");
    Ok(())
}
