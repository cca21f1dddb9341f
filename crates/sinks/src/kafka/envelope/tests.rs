use holdfast_api::v1::{BucketMove, Cause, PolicyEffect, ReservationEffect, SupplyEffect};
use serde_json::{Value as Json, json};

use super::*;

const ID: &str = "018bcfe5-6800-7000-8000-000000000001";

fn origin() -> Origin {
    Origin {
        sink: "events".into(),
        cluster_id: ID.parse().unwrap(),
    }
}

fn id_bytes() -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(ID.parse::<Uuid>().unwrap().as_bytes())
}

fn moved(bucket: Bucket, delta: i64, after: i64) -> BucketMove {
    BucketMove {
        bucket: bucket.into(),
        delta,
        after,
    }
}

fn reserved() -> Change {
    Change {
        shard: 2,
        seq: 7,
        entry_changes: 3,
        entry_offset: 1,
        log_index: 12,
        log_time_ms: 1_700_000_000_123,
        kind: ChangeKind::Reserved.into(),
        sku: "Tee 1".into(),
        warehouse: "W1".into(),
        storefront: "web".into(),
        moves: vec![
            moved(Bucket::Free, -1, 8),
            moved(Bucket::Pool, -2, 0),
            moved(Bucket::Held, 3, 9_007_199_254_740_993),
        ],
        reservation: Some(ReservationEffect {
            reservation_id: id_bytes(),
            line: 4,
            state: ReservationState::Held.into(),
            expires_at_ms: 1_700_000_060_000,
            requested: 3,
            quantity: 3,
            home: Some(5),
            sourcing: SourcingReason::OnlySource.into(),
        }),
        cause: Some(Cause {
            operation_id: id_bytes(),
            principal: "shop".into(),
            reference: "order#1".into(),
            occurred_at_ms: Some(1_699_999_999_000),
            ..Cause::default()
        }),
        ..Change::default()
    }
}

fn json(envelope: &Envelope) -> Json {
    serde_json::from_slice(&envelope.value).unwrap()
}

#[test]
fn a_change_of_a_reservation_is_a_record_in_each_topic() {
    let envelopes = origin().envelopes(&reserved()).unwrap();
    let [cell, reservation] = envelopes.as_slice() else {
        panic!("{envelopes:?}")
    };
    let source = |table: &str| {
        json!({
            "version": env!("CARGO_PKG_VERSION"), "connector": "holdfast", "name": "events",
            "ts_ms": 1_700_000_000_123u64, "snapshot": "false", "table": table, "cluster_id": ID, "shard": 2,
            "seq": 7, "entry_changes": 3, "entry_offset": 1, "log_index": 12, "kind": "reserved",
            "storefront": "web", "reservation_id": ID, "operation_id": ID, "principal": "shop", "reason": null,
            "reference": "order#1", "occurred_at_ms": 1_699_999_999_000u64
        })
    };
    assert_eq!((cell.topic, cell.key.as_str()), (Topic::Cells, "Tee 1"));
    assert_eq!(
        json(cell),
        json!({
            "before": {"sku": "Tee 1", "warehouse": "W1",
                       "buckets": {"free": 9, "held": 9_007_199_254_740_990i64}, "pools": {"web": 2}},
            "after": {"sku": "Tee 1", "warehouse": "W1",
                      "buckets": {"free": 8, "held": 9_007_199_254_740_993i64}, "pools": {"web": 0}},
            "source": source("cells"), "op": "u", "ts_ms": 1_700_000_000_123u64
        })
    );
    assert_eq!(
        (reservation.topic, reservation.key.as_str()),
        (Topic::Reservations, ID)
    );
    assert_eq!(
        json(reservation),
        json!({
            "before": null,
            "after": {"reservation_id": ID, "line": 4, "state": "held", "sku": "Tee 1", "warehouse": "W1",
                      "storefront": "web", "requested": 3, "quantity": 3, "expires_at_ms": 1_700_000_060_000u64,
                      "home": 5, "sourcing": "only_source"},
            "source": source("reservations"), "op": "c", "ts_ms": 1_700_000_000_123u64
        })
    );
}

#[test]
fn headers_are_those_of_cloud_events_in_binary_mode() {
    let envelopes = origin().envelopes(&reserved()).unwrap();
    let headers = |at: usize| {
        envelopes[at]
            .headers
            .iter()
            .map(|(name, value)| (*name, value.clone()))
            .collect::<Vec<_>>()
    };
    let expected = |table: &str, kind: &str, subject: &str| {
        vec![
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", format!("{ID}/2/7")),
            ("ce_source", format!("/holdfast/{ID}/{table}")),
            ("ce_type", kind.to_owned()),
            ("ce_time", "2023-11-14T22:13:20.123Z".to_owned()),
            ("ce_subject", subject.to_owned()),
            ("content-type", "application/json".to_owned()),
        ]
    };
    assert_eq!(
        headers(0),
        expected("cells", "holdfast.cell.reserved", "W1/Tee 1")
    );
    assert_eq!(
        headers(1),
        expected("reservations", "holdfast.reservation.reserved", ID)
    );
}

#[test]
fn what_was_set_is_in_after_and_before_is_not_known() {
    let policy = Change {
        kind: ChangeKind::PolicySet.into(),
        warehouse: String::new(),
        moves: Vec::new(),
        reservation: None,
        policy: Some(PolicyEffect {
            may_borrow: true,
            backorder_limit: 5,
            ..PolicyEffect::default()
        }),
        ..reserved()
    };
    let supply = Change {
        kind: ChangeKind::SupplyExpected.into(),
        moves: Vec::new(),
        reservation: None,
        supply: Some(SupplyEffect {
            supply_id: "PO-1".into(),
            quantity: 40,
            expected_at_ms: 1_700_000_999_000,
        }),
        ..reserved()
    };
    for (change, after) in [
        (
            policy,
            json!({"sku": "Tee 1", "buckets": {}, "pools": {}, "policy": {"storefront": "web",
                   "may_borrow": true, "max_per_reservation": 0, "backorder_limit": 5, "preorder_limit": 0,
                   "preorder_until_ms": 0}}),
        ),
        (
            supply,
            json!({"sku": "Tee 1", "warehouse": "W1", "buckets": {}, "pools": {}, "supply": {
                   "supply_id": "PO-1", "quantity": 40, "expected_at_ms": 1_700_000_999_000u64}}),
        ),
    ] {
        let envelopes = origin().envelopes(&change).unwrap();
        assert_eq!(envelopes.len(), 1);
        let value = json(&envelopes[0]);
        assert_eq!((&value["before"], &value["after"]), (&Json::Null, &after));
    }
}

#[test]
fn a_note_is_a_record_of_its_reservation_alone() {
    let note = Change {
        kind: ChangeKind::Extended.into(),
        sku: String::new(),
        warehouse: String::new(),
        moves: Vec::new(),
        ..reserved()
    };
    let envelopes = origin().envelopes(&note).unwrap();
    assert_eq!(envelopes.len(), 1);
    let value = json(&envelopes[0]);
    assert_eq!(value["op"], "u");
    assert_eq!(value["after"]["sku"], Json::Null);
}

#[test]
fn what_this_version_does_not_know_is_an_error_with_the_number() {
    type Damage = fn(&mut Change);
    let damages: [(Damage, &str); 8] = [
        (|change| change.kind = 99, "its kind is 99"),
        (|change| change.moves[0].bucket = 77, "it moves bucket 77"),
        (|change| change.moves[0].delta = i64::MIN, "bucket free has 8"),
        (|change| change.storefront.clear(), "a pool of no storefront"),
        (|change| change.log_time_ms = u64::MAX, "its log time is"),
        (
            |change| change.reservation.as_mut().unwrap().state = 55,
            "reservation is 55",
        ),
        (
            |change| change.reservation.as_mut().unwrap().reservation_id = bytes::Bytes::new(),
            "its reservation_id has 0 bytes",
        ),
        (
            |change| {
                change.sku.clear();
                change.reservation = None;
            },
            "neither a SKU nor a reservation",
        ),
    ];
    for (damage, part) in damages {
        let mut change = reserved();
        damage(&mut change);
        let error = origin().envelopes(&change).unwrap_err().to_string();
        assert!(
            error.contains("change 7 of shard 2") && error.contains(part),
            "{part}: {error}"
        );
    }
}
