//! Names for the enums of the stream: the proto's names without their prefix, in lower case.

use holdfast_api::v1::{Bucket, ChangeKind, ReservationState, SourcingReason};

/// Returns the name of a bucket: `on_hand`, `free`, ...
pub fn bucket(bucket: Bucket) -> &'static str {
    match bucket {
        Bucket::Unspecified => "unspecified",
        Bucket::OnHand => "on_hand",
        Bucket::Free => "free",
        Bucket::Pool => "pool",
        Bucket::Safety => "safety",
        Bucket::Held => "held",
        Bucket::Committed => "committed",
        Bucket::Damaged => "damaged",
        Bucket::QualityHold => "quality_hold",
        Bucket::Deficit => "deficit",
        Bucket::Backordered => "backordered",
        Bucket::InTransit => "in_transit",
    }
}

/// Returns the name of a change's kind: `reserved`, `bucket_moved`, ...
pub fn kind(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Unspecified => "unspecified",
        ChangeKind::Reserved => "reserved",
        ChangeKind::Extended => "extended",
        ChangeKind::Committed => "committed",
        ChangeKind::Released => "released",
        ChangeKind::Expired => "expired",
        ChangeKind::Shipped => "shipped",
        ChangeKind::Cancelled => "cancelled",
        ChangeKind::Returned => "returned",
        ChangeKind::Received => "received",
        ChangeKind::Adjusted => "adjusted",
        ChangeKind::Counted => "counted",
        ChangeKind::BucketMoved => "bucket_moved",
        ChangeKind::PolicySet => "policy_set",
        ChangeKind::PoolAllocated => "pool_allocated",
        ChangeKind::Prepared => "prepared",
        ChangeKind::Confirmed => "confirmed",
        ChangeKind::Aborted => "aborted",
        ChangeKind::TransferredOut => "transferred_out",
        ChangeKind::TransferredIn => "transferred_in",
        ChangeKind::TransferClosed => "transfer_closed",
        ChangeKind::SupplyExpected => "supply_expected",
    }
}

/// Returns the name of a reservation's state: `held`, `committed`, ...
pub fn state(state: ReservationState) -> &'static str {
    match state {
        ReservationState::Unspecified => "unspecified",
        ReservationState::Prepared => "prepared",
        ReservationState::Held => "held",
        ReservationState::Committed => "committed",
        ReservationState::Shipped => "shipped",
        ReservationState::Released => "released",
        ReservationState::Expired => "expired",
        ReservationState::Cancelled => "cancelled",
        ReservationState::Returned => "returned",
    }
}

/// Returns the name of the reason for which a warehouse was chosen: `only_source`, `spill_over`, ...
pub fn sourcing(reason: SourcingReason) -> &'static str {
    match reason {
        SourcingReason::Unspecified => "unspecified",
        SourcingReason::OnlySource => "only_source",
        SourcingReason::FirstFillingAll => "first_filling_all",
        SourcingReason::Preferred => "preferred",
        SourcingReason::MostAvailable => "most_available",
        SourcingReason::FewestShipments => "fewest_shipments",
        SourcingReason::SpillOver => "spill_over",
        SourcingReason::Backordered => "backordered",
    }
}

/// Returns the bucket with a name.
pub fn bucket_of(name: &str) -> Option<Bucket> {
    Bucket::from_str_name(&format!("BUCKET_{}", name.to_ascii_uppercase()))
}

/// Returns the kind with a name.
pub fn kind_of(name: &str) -> Option<ChangeKind> {
    ChangeKind::from_str_name(&format!("CHANGE_KIND_{}", name.to_ascii_uppercase()))
}

/// Returns the state with a name.
pub fn state_of(name: &str) -> Option<ReservationState> {
    ReservationState::from_str_name(&format!("RESERVATION_STATE_{}", name.to_ascii_uppercase()))
}

/// Returns the reason with a name, for which a warehouse was chosen.
pub fn sourcing_of(name: &str) -> Option<SourcingReason> {
    SourcingReason::from_str_name(&format!("SOURCING_REASON_{}", name.to_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_the_protos_in_lower_case() {
        for number in 0..=11 {
            let value = Bucket::try_from(number).unwrap();
            assert_eq!(
                value.as_str_name(),
                format!("BUCKET_{}", bucket(value).to_uppercase())
            );
            assert_eq!(bucket_of(bucket(value)), Some(value));
        }
        for number in 0..=21 {
            let value = ChangeKind::try_from(number).unwrap();
            assert_eq!(
                value.as_str_name(),
                format!("CHANGE_KIND_{}", kind(value).to_uppercase())
            );
            assert_eq!(kind_of(kind(value)), Some(value));
        }
        for number in 0..=8 {
            let value = ReservationState::try_from(number).unwrap();
            assert_eq!(
                value.as_str_name(),
                format!("RESERVATION_STATE_{}", state(value).to_uppercase())
            );
            assert_eq!(state_of(state(value)), Some(value));
        }
        for number in 0..=7 {
            let value = SourcingReason::try_from(number).unwrap();
            assert_eq!(
                value.as_str_name(),
                format!("SOURCING_REASON_{}", sourcing(value).to_uppercase())
            );
            assert_eq!(sourcing_of(sourcing(value)), Some(value));
        }
        assert!(Bucket::try_from(12).is_err() && ChangeKind::try_from(22).is_err());
        assert!(SourcingReason::try_from(8).is_err());
        assert!(
            ReservationState::try_from(9).is_err(),
            "a new value needs a name here"
        );
    }
}
