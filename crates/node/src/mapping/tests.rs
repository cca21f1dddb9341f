use bytes::Bytes;
use holdfast_api::v1;
use holdfast_ledger::{Action, ReserveMode, Source, Sourcing};
use proptest::prelude::*;
use prost::Message;

use super::inbound::{self, Taken};
use crate::validation::Invalid;

fn operation() -> Option<v1::Operation> {
    let operation_id = Bytes::copy_from_slice(uuid::Uuid::now_v7().as_bytes());
    Some(v1::Operation {
        operation_id,
        reference: "order#1".into(),
        reason: "sale".into(),
        repeats: false,
        ..v1::Operation::default()
    })
}

/// Decodes and converts a request. Returns None when the bytes are not a message.
fn taken<M: Message + Default>(
    bytes: &[u8],
    take: fn(M) -> Result<Taken, Invalid>,
) -> Option<Result<Taken, Invalid>> {
    M::decode(bytes).ok().map(take)
}

/// Decodes and converts the bytes as each kind of mutating request.
fn take_as_every_request(bytes: &[u8]) -> Vec<Result<Taken, Invalid>> {
    let mut results: Vec<_> = [
        taken(bytes, inbound::reserve),
        taken(bytes, inbound::extend),
        taken(bytes, inbound::commit),
        taken(bytes, inbound::release),
        taken(bytes, inbound::ship),
        taken(bytes, inbound::cancel),
        taken(bytes, inbound::take_back),
        taken(bytes, inbound::receive),
        taken(bytes, inbound::adjust),
        taken(bytes, inbound::count),
        taken(bytes, inbound::move_bucket),
        taken(bytes, inbound::set_policy),
        taken(bytes, inbound::allocate_pool),
        taken(bytes, inbound::expect_supply),
        taken(bytes, inbound::transfer_out),
        taken(bytes, inbound::transfer_in),
        taken(bytes, inbound::close_transfer),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let Ok(batch) = v1::BatchRequest::decode(bytes) {
        results.extend(
            batch
                .items
                .into_iter()
                .map(|item| inbound::batch_item(item.request)),
        );
    }
    results
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,140}",
        "[A-Za-z0-9._:/-]{1,64}",
        "[ -~]{1,30}|[а-яё]{1,20}|[ァ-ヶ]{1,10}-[A-Z]",
        Just(String::new())
    ]
}

prop_compose! {
    fn any_operation()(
        operation_id in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            Just(uuid::Uuid::now_v7().as_bytes().to_vec()),
        ],
        reference in any_text(),
        reason in any_text(),
    ) -> v1::Operation {
        v1::Operation { operation_id: operation_id.into(), reference, reason, repeats: false, ..v1::Operation::default() }
    }
}

fn any_source() -> impl Strategy<Value = v1::Source> {
    let list = prop::collection::vec(any_text(), 0..70);
    prop_oneof![
        Just(v1::Source { kind: None }),
        any_text().prop_map(|name| v1::Source {
            kind: Some(v1::source::Kind::Warehouse(name))
        }),
        list.prop_map(|warehouses| v1::Source {
            kind: Some(v1::source::Kind::Preference(v1::WarehouseList { warehouses }))
        }),
    ]
}

prop_compose! {
    fn any_reserve()(
        operation in prop::option::of(any_operation()),
        storefront in any_text(),
        lines in prop::collection::vec((any_text(), any::<i64>(), prop::option::of(any_source())), 0..5),
        ttl_ms in any::<u64>(),
        mode in any::<i32>(),
        sourcing in -1..6_i32,
    ) -> v1::ReserveRequest {
        let lines = lines.into_iter().map(|(sku, quantity, source)| v1::ReserveLine { sku, quantity, source });
        v1::ReserveRequest { operation, storefront, lines: lines.collect(), ttl_ms, mode, sourcing, ..v1::ReserveRequest::default() }
    }
}

proptest! {
    #[test]
    fn garbage_never_panics_and_a_refusal_names_its_field(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for result in take_as_every_request(&bytes) {
            if let Err(invalid) = result {
                prop_assert!(!invalid.field.is_empty() && !invalid.message.is_empty());
            }
        }
    }

    #[test]
    fn truncated_and_flipped_messages_never_panic(
        request in any_reserve(), cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(),
    ) {
        let bytes = request.encode_to_vec();
        if !bytes.is_empty() {
            take_as_every_request(&bytes[..cut.index(bytes.len())]);
            let mut flipped = bytes.clone();
            flipped[flip.index(bytes.len())] ^= 0x10;
            take_as_every_request(&flipped);
        }
    }

    #[test]
    fn what_passes_keeps_every_rule(request in any_reserve()) {
        if let Ok(taken) = inbound::reserve(request.clone()) {
            let Action::Reserve { storefront, lines, ttl_ms, .. } = taken.command.action else {
                return Err(TestCaseError::fail("another action"));
            };
            prop_assert_eq!(storefront.as_str(), &request.storefront);
            prop_assert_eq!(lines.len(), request.lines.len());
            prop_assert!((1..=2_592_000_000).contains(&ttl_ms));
            for (line, sent) in lines.iter().zip(&request.lines) {
                prop_assert!(line.quantity >= 1 && line.quantity == sent.quantity && line.sku.as_str() == sent.sku);
                if let Source::Preference(list) = &line.source {
                    prop_assert!((1..=64).contains(&list.len()));
                }
            }
        }
    }
}

#[test]
fn a_good_reserve_arrives_as_it_was_sent() {
    let request = v1::ReserveRequest {
        operation: operation(),
        storefront: "web".into(),
        lines: vec![v1::ReserveLine {
            sku: "A".into(),
            quantity: 2,
            source: Some(v1::Source {
                kind: Some(v1::source::Kind::Warehouse("W1".into())),
            }),
        }],
        ttl_ms: 900_000,
        mode: v1::ReserveMode::BestEffort.into(),
        sourcing: v1::Sourcing::FewestShipments.into(),
        ..v1::ReserveRequest::default()
    };
    let sent = request.operation.clone().unwrap();
    let taken = inbound::reserve(request).unwrap();
    assert_eq!(
        taken.command.operation_id.as_bytes().as_slice(),
        sent.operation_id.as_ref()
    );
    assert_eq!(taken.command.principal.as_str(), "anonymous");
    assert_eq!(
        (taken.command.reference.as_str(), taken.command.reason.as_str()),
        ("order#1", "sale")
    );
    let Action::Reserve {
        lines,
        mode,
        sourcing,
        ..
    } = taken.command.action
    else {
        panic!("another action")
    };
    assert_eq!(
        (mode, sourcing),
        (ReserveMode::BestEffort, Sourcing::FewestShipments)
    );
    assert!(matches!(&lines[0].source, Source::Warehouse(name) if name.as_str() == "W1"));
}

#[test]
fn a_receipt_is_taken_from_a_batch_as_from_a_call() {
    for quantity in [1, 0] {
        let request = v1::ReceiveRequest {
            operation: operation(),
            sku: "A".into(),
            warehouse: "W".into(),
            quantity,
            supply_id: "po#1".into(),
        };
        let item = v1::batch_item::Request::Receive(request.clone());
        assert_eq!(inbound::batch_item(Some(item)), inbound::receive(request));
    }
}

#[test]
fn stock_rules_are_kept_at_their_edges() {
    let receive = |quantity| {
        inbound::receive(v1::ReceiveRequest {
            operation: operation(),
            sku: "A".into(),
            warehouse: "W".into(),
            quantity,
            supply_id: String::new(),
        })
    };
    assert!(receive(1).is_ok() && receive(i64::MAX).is_ok());
    assert_eq!(receive(0).unwrap_err().field, "quantity");
    let adjust = |delta, reason: &str| {
        inbound::adjust(v1::AdjustRequest {
            operation: operation().map(|operation| v1::Operation {
                reason: reason.into(),
                ..operation
            }),
            sku: "A".into(),
            warehouse: "W".into(),
            delta,
        })
    };
    assert!(adjust(-1, "shrinkage").is_ok() && adjust(i64::MIN, "x").is_ok());
    assert_eq!(adjust(0, "x").unwrap_err().field, "delta");
    assert_eq!(adjust(1, "").unwrap_err().field, "operation.reason");
    let move_bucket = |from: v1::Bucket, to: v1::Bucket| {
        inbound::move_bucket(v1::MoveBucketRequest {
            operation: operation(),
            sku: "A".into(),
            warehouse: "W".into(),
            from_bucket: from.into(),
            to_bucket: to.into(),
            quantity: 1,
        })
    };
    assert!(move_bucket(v1::Bucket::Free, v1::Bucket::Damaged).is_ok());
    assert_eq!(
        move_bucket(v1::Bucket::Free, v1::Bucket::Free).unwrap_err().field,
        "to_bucket"
    );
    assert_eq!(
        move_bucket(v1::Bucket::Held, v1::Bucket::Free).unwrap_err().field,
        "from_bucket"
    );
    assert_eq!(
        move_bucket(v1::Bucket::Free, v1::Bucket::Unspecified)
            .unwrap_err()
            .field,
        "to_bucket"
    );
}

#[test]
fn what_is_said_beside_an_action_keeps_its_rules_and_names_the_field() {
    let with = |said: v1::Operation| {
        inbound::receive(v1::ReceiveRequest {
            operation: operation().map(|operation| v1::Operation {
                occurred_at_ms: said.occurred_at_ms,
                as_of: said.as_of,
                ..operation
            }),
            sku: "A".into(),
            warehouse: "W".into(),
            quantity: 1,
            supply_id: String::new(),
        })
    };
    let at = |occurred_at_ms| {
        with(v1::Operation {
            occurred_at_ms: Some(occurred_at_ms),
            ..v1::Operation::default()
        })
    };
    assert_eq!(at(7).unwrap().command.details.occurred_at_ms, Some(7));
    assert_eq!(at(1 << 48).unwrap_err().field, "operation.occurred_at_ms");
    let as_of = |positions: &[(Option<u32>, u64)]| {
        let named = positions.iter().map(|(shard, seq)| v1::AsOfPosition {
            shard: *shard,
            seq: *seq,
        });
        with(v1::Operation {
            as_of: named.collect(),
            ..v1::Operation::default()
        })
    };
    let position = |positions: &[(Option<u32>, u64)], shard| {
        let positioned = as_of(positions).unwrap().positioned(shard);
        positioned.map(|taken| taken.command.details.as_of_seq)
    };
    assert_eq!(position(&[], 3), Ok(None));
    assert_eq!(position(&[(None, 9)], 3), Ok(Some(9)));
    assert_eq!(position(&[(Some(3), 9), (Some(1), 8)], 3), Ok(Some(9)));
    assert!(position(&[(Some(1), 8)], 3).is_err());
    for bad in [
        &[(Some(3), 1), (Some(3), 2)][..],
        &[(None, 1), (None, 2)],
        &[(None, 1), (Some(3), 2)],
        &[(Some(3), 1); 1_025],
    ] {
        assert_eq!(as_of(bad).unwrap_err().field, "operation.as_of");
    }
    let replace = |reference: &str, replaces: Option<&[u8]>, unique_reference| {
        inbound::reserve(v1::ReserveRequest {
            operation: operation().map(|operation| v1::Operation {
                reference: reference.into(),
                operation_id: bytes::Bytes::copy_from_slice(&OWN_ID),
                ..operation
            }),
            storefront: "web".into(),
            lines: vec![v1::ReserveLine {
                sku: "A".into(),
                quantity: 1,
                source: None,
            }],
            ttl_ms: 1,
            replaces: replaces.map(|id| v1::ReservationKey {
                reservation_id: bytes::Bytes::copy_from_slice(id),
                shard: Some(2),
            }),
            unique_reference,
            ..v1::ReserveRequest::default()
        })
    };
    let other = operation().unwrap().operation_id;
    let taken = replace("doc-1", Some(&other), true).unwrap();
    assert_eq!(taken.replaced_shard_hint, Some(2));
    assert!(taken.command.details.unique_reference && taken.command.details.replaces.is_some());
    assert_eq!(replace("", None, true).unwrap_err().field, "operation.reference");
    assert_eq!(
        replace("", Some(b"short"), false).unwrap_err().field,
        "replaces.reservation_id"
    );
    assert_eq!(
        replace("", Some(&OWN_ID), false).unwrap_err().field,
        "replaces.reservation_id"
    );
}

const OWN_ID: [u8; 16] = [1, 2, 3, 4, 5, 6, 0x70, 8, 0x80, 10, 11, 12, 13, 14, 15, 16];

#[test]
fn transfers_and_supplies_keep_their_rules_and_name_the_field() {
    let send = |quantity, to: &str, expected_at_ms| {
        inbound::transfer_out(v1::TransferOutRequest {
            operation: operation(),
            lines: vec![v1::TransferLine {
                sku: "A".into(),
                quantity,
            }],
            from_warehouse: "W".into(),
            to_warehouse: to.into(),
            expected_at_ms,
        })
    };
    let last_ms = (1 << 48) - 1;
    assert!(send(1, "V", last_ms).is_ok());
    assert_eq!(send(0, "V", 1).unwrap_err().field, "lines[0].quantity");
    assert_eq!(send(1, "W", 1).unwrap_err().field, "to_warehouse");
    assert_eq!(send(1, "V", last_ms + 1).unwrap_err().field, "expected_at_ms");
    let take = |transfer_id: &[u8], disposition| {
        inbound::transfer_in(v1::TransferInRequest {
            operation: operation(),
            transfer: Some(v1::TransferKey {
                transfer_id: bytes::Bytes::copy_from_slice(transfer_id),
                shard: Some(3),
            }),
            lines: vec![],
            disposition,
        })
    };
    let id = operation().unwrap().operation_id;
    assert_eq!(take(&id, 0).unwrap().shard_hint, Some(3));
    assert_eq!(take(b"short", 0).unwrap_err().field, "transfer.transfer_id");
    assert_eq!(take(&id, 9).unwrap_err().field, "disposition");
    let expect = |supply_id: &str, quantity| {
        inbound::expect_supply(v1::ExpectSupplyRequest {
            operation: operation(),
            sku: "A".into(),
            warehouse: "W".into(),
            supply_id: supply_id.into(),
            quantity,
            expected_at_ms: 0,
        })
    };
    assert!(expect("po#1", 0).is_ok());
    assert_eq!(expect("", 1).unwrap_err().field, "supply_id");
    assert_eq!(expect("po#1", -1).unwrap_err().field, "quantity");
    let policy = |backorder_limit, preorder_limit| {
        inbound::set_policy(v1::SetPolicyRequest {
            operation: operation(),
            sku: "A".into(),
            storefront: "web".into(),
            backorder_limit,
            preorder_limit,
            ..v1::SetPolicyRequest::default()
        })
    };
    assert!(policy(1, 1).is_ok());
    assert_eq!(policy(-1, 0).unwrap_err().field, "backorder_limit");
    assert_eq!(policy(0, -1).unwrap_err().field, "preorder_limit");
}

/// Returns every mutating request that names a SKU, with the field that has the name. The first list has the
/// requests that can make a SKU known, the second those that only take from existing units.
fn naming(sku: &str) -> [Vec<(&'static str, Result<Taken, Invalid>)>; 2] {
    let sku = || sku.to_owned();
    let place = || "W".to_owned();
    let lines = || {
        vec![v1::TransferLine {
            sku: sku(),
            quantity: 1,
        }]
    };
    let adjust = |delta| {
        inbound::adjust(v1::AdjustRequest {
            operation: operation(),
            sku: sku(),
            warehouse: place(),
            delta,
        })
    };
    let unreferenced = inbound::take_back(v1::ReturnRequest {
        operation: operation(),
        what: Some(v1::return_request::What::Unreferenced(v1::UnreferencedReturn {
            sku: sku(),
            warehouse: place(),
            quantity: 1,
        })),
        disposition: 0,
    });
    let receive = inbound::receive(v1::ReceiveRequest {
        operation: operation(),
        sku: sku(),
        warehouse: place(),
        quantity: 1,
        supply_id: String::new(),
    });
    let count = inbound::count(v1::CountRequest {
        operation: operation(),
        sku: sku(),
        warehouse: place(),
        ..v1::CountRequest::default()
    });
    let policy = inbound::set_policy(v1::SetPolicyRequest {
        operation: operation(),
        sku: sku(),
        storefront: "web".into(),
        ..v1::SetPolicyRequest::default()
    });
    let pool = inbound::allocate_pool(v1::AllocatePoolRequest {
        operation: operation(),
        sku: sku(),
        warehouse: place(),
        storefront: "web".into(),
        ..v1::AllocatePoolRequest::default()
    });
    let supply = inbound::expect_supply(v1::ExpectSupplyRequest {
        operation: operation(),
        sku: sku(),
        warehouse: place(),
        supply_id: "po#1".into(),
        quantity: 1,
        expected_at_ms: 0,
    });
    let reserve = inbound::reserve(v1::ReserveRequest {
        operation: operation(),
        storefront: "web".into(),
        lines: vec![v1::ReserveLine {
            sku: sku(),
            quantity: 1,
            source: None,
        }],
        ttl_ms: 1,
        ..v1::ReserveRequest::default()
    });
    let move_bucket = inbound::move_bucket(v1::MoveBucketRequest {
        operation: operation(),
        sku: sku(),
        warehouse: place(),
        from_bucket: v1::Bucket::Free.into(),
        to_bucket: v1::Bucket::Damaged.into(),
        quantity: 1,
    });
    let transfer_out = inbound::transfer_out(v1::TransferOutRequest {
        operation: operation(),
        lines: lines(),
        from_warehouse: place(),
        to_warehouse: "V".into(),
        expected_at_ms: 1,
    });
    let transfer_in = inbound::transfer_in(v1::TransferInRequest {
        operation: operation(),
        transfer: Some(v1::TransferKey {
            transfer_id: operation().unwrap().operation_id,
            shard: None,
        }),
        lines: lines(),
        disposition: 0,
    });
    [
        vec![
            ("unreferenced.sku", unreferenced),
            ("sku", receive),
            ("sku", adjust(1)),
            ("sku", count),
            ("sku", policy),
            ("sku", pool),
            ("sku", supply),
        ],
        vec![
            ("lines[0].sku", reserve),
            ("sku", adjust(-1)),
            ("sku", move_bucket),
            ("lines[0].sku", transfer_out),
            ("lines[0].sku", transfer_in),
        ],
    ]
}

#[test]
fn a_name_that_looks_like_another_is_refused_wherever_it_could_become_known() {
    for name in ["SHIRT-1", "Größe-XL rot", "サイズ-M"] {
        for (field, result) in naming(name).into_iter().flatten() {
            assert!(result.is_ok(), "{field}: {result:?}");
        }
    }
    let [making, taking] = naming("СОК-1");
    for (field, result) in making {
        let invalid = result.unwrap_err();
        assert_eq!(invalid.field, field);
        assert!(
            invalid.message.contains("U+0421 at byte 0 looks like `C`"),
            "{invalid}"
        );
    }
    // Existing stock can be sold and moved, whatever its name looks like.
    for (field, result) in taking {
        assert!(result.is_ok(), "{field}: {result:?}");
    }
    for (field, result) in naming("a\u{202e}b").into_iter().flatten() {
        let invalid = result.unwrap_err();
        assert_eq!(invalid.field, field);
        assert!(invalid.message.contains("U+202E at byte 1"), "{invalid}");
    }
}
