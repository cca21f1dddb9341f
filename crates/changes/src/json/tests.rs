use proptest::prelude::*;

use super::*;

fn reserved() -> v1::Change {
    let id = uuid::Uuid::parse_str("018bcfe5-6800-7000-8000-000000000001").unwrap();
    let id = Bytes::copy_from_slice(id.as_bytes());
    v1::Change {
        shard: 2,
        seq: 7,
        entry_changes: 1,
        log_index: 12,
        log_time_ms: 1_700_000_000_000,
        kind: v1::ChangeKind::Reserved.into(),
        sku: "SKU-1".into(),
        warehouse: "W1".into(),
        moves: vec![v1::BucketMove {
            bucket: v1::Bucket::OnHand.into(),
            delta: -2,
            after: 8,
        }],
        reservation: Some(v1::ReservationEffect {
            reservation_id: id.clone(),
            line: 1,
            state: v1::ReservationState::Held.into(),
            expires_at_ms: 1_700_000_060_000,
            requested: 2,
            quantity: 2,
            home: None,
            sourcing: 0,
        }),
        cause: Some(v1::Cause {
            operation_id: id,
            principal: "anonymous".into(),
            ..v1::Cause::default()
        }),
        ..v1::Change::default()
    }
}

#[test]
fn a_line_has_the_protos_field_names_uuid_text_and_lower_case_names() {
    let line: serde_json::Value = serde_json::from_str(&encode(&reserved()).unwrap()).unwrap();
    let expected = serde_json::json!({
        "shard": 2, "seq": 7, "entry_changes": 1, "entry_offset": 0, "log_index": 12,
        "log_time_ms": 1_700_000_000_000u64, "kind": "reserved", "sku": "SKU-1", "warehouse": "W1",
        "storefront": null, "moves": [{"bucket": "on_hand", "delta": -2, "after": 8}],
        "reservation": {
            "reservation_id": "018bcfe5-6800-7000-8000-000000000001", "line": 1, "state": "held",
            "expires_at_ms": 1_700_000_060_000u64, "requested": 2, "quantity": 2, "home": null
        },
        "policy": null,
        "cause": {
            "operation_id": "018bcfe5-6800-7000-8000-000000000001", "principal": "anonymous",
            "reason": null, "reference": null
        }
    });
    assert_eq!(line, expected);
}

#[test]
fn an_unknown_number_is_an_error_and_names_the_change() {
    let unknown = v1::Change {
        seq: 9,
        kind: 99,
        ..reserved()
    };
    assert_eq!(
        encode(&unknown).unwrap_err().to_string(),
        "change 9: kind is not allowed to be \"99\""
    );
}

proptest! {
    #[test]
    fn every_change_survives_its_line(change in crate::arbitrary::change()) {
        let line = encode(&change).unwrap();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(decode(line.as_bytes()).unwrap(), change);
    }

    #[test]
    fn a_truncated_line_is_an_error(change in crate::arbitrary::change(), cut in any::<prop::sample::Index>()) {
        let line = encode(&change).unwrap();
        prop_assert!(decode(&line.as_bytes()[..cut.index(line.len())]).is_err());
    }

    #[test]
    fn garbage_is_an_error(garbage in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&garbage).is_err());
    }
}
