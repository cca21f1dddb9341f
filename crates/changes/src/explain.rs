//! The story of one reservation, for people and for programs. A reservation over several shards has decisions
//! in each of them. Sorted by log time they are one story.

use holdfast_api::v1::{BucketMove, Change, ChangeKind, SourcingReason};
use serde::Serialize;

use crate::names;

/// One decision about a reservation, made from one of its changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The log time: milliseconds since the Unix epoch.
    pub log_time_ms: u64,
    /// The kind of change: `reserved`, `committed`, ...
    pub kind: &'static str,
    /// The shard that decided.
    pub shard: u32,
    /// The change.
    pub seq: u64,
    /// The entry in the shard's log.
    pub log_index: u64,
    /// The change's place in its entry, from 0.
    pub entry_offset: u32,
    /// The number of changes that the entry made.
    pub entry_changes: u32,
    /// The shard that decides on an order over several shards; None for other orders.
    pub home: Option<u32>,
    /// The line; None when no units moved.
    pub line: Option<u32>,
    /// The SKU of the line.
    pub sku: Option<String>,
    /// The warehouse of the line.
    pub warehouse: Option<String>,
    /// The units of the line that moved.
    pub quantity: i64,
    /// The reservation's state afterwards.
    pub state: &'static str,
    /// When the hold ends, in log time.
    pub expires_at_ms: u64,
    /// The buckets of the cell that moved.
    pub buckets: Vec<BucketChange>,
    /// The operation. None for an expiry, and for an order that was given up because nobody decided it.
    pub operation_id: Option<String>,
    /// The principal who asked.
    pub principal: Option<String>,
    /// The caller's reason.
    pub reason: Option<String>,
    /// The caller's document.
    pub reference: Option<String>,
    /// Business time, if the operation gave one.
    pub occurred_at_ms: Option<u64>,
    /// Why this warehouse was chosen: `only_source`, `most_available`, ... Only where units were taken.
    pub sourcing: Option<&'static str>,
    /// The whole decision as a sentence.
    pub sentence: String,
}

/// One bucket before and after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BucketChange {
    /// The bucket. `pool` is the pool of the reservation's storefront.
    pub bucket: &'static str,
    /// Units before.
    pub before: i64,
    /// Units afterwards.
    pub after: i64,
}

/// Explains a change of a reservation. Returns None when the change is not about a reservation.
pub fn decision(change: &Change) -> Option<Decision> {
    let effect = change.reservation.as_ref()?;
    let cause = change.cause.clone().unwrap_or_default();
    let kind = change.kind();
    let line = (!change.sku.is_empty()).then_some(effect.line);
    let moved = |one: &BucketMove| BucketChange {
        bucket: names::bucket(one.bucket()),
        before: one.after.wrapping_sub(one.delta),
        after: one.after,
    };
    let buckets = change.moves.iter().map(moved).collect();
    let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let operation_id = uuid::Uuid::from_slice(&cause.operation_id)
        .ok()
        .map(|id| id.to_string());
    let sourcing = Some(effect.sourcing()).filter(|reason| *reason != SourcingReason::Unspecified);
    let sourcing = sourcing.map(names::sourcing);
    let mut decision = Decision {
        log_time_ms: change.log_time_ms,
        kind: names::kind(kind),
        shard: change.shard,
        seq: change.seq,
        log_index: change.log_index,
        entry_offset: change.entry_offset,
        entry_changes: change.entry_changes,
        home: effect.home,
        line,
        sku: filled(&change.sku),
        warehouse: filled(&change.warehouse),
        quantity: effect.quantity,
        state: names::state(effect.state()),
        expires_at_ms: effect.expires_at_ms,
        buckets,
        operation_id,
        principal: filled(&cause.principal),
        reason: filled(&cause.reason),
        reference: filled(&cause.reference),
        occurred_at_ms: cause.occurred_at_ms,
        sourcing,
        sentence: String::new(),
    };
    decision.sentence = sentence(kind, change, &decision);
    Some(decision)
}

/// Returns the hold that the Reserve with this id replaced, if this change ended that hold. Both are changes
/// of one entry.
pub fn replaced_hold(change: &Change, reservation_id: &[u8]) -> Option<uuid::Uuid> {
    let effect = change.reservation.as_ref()?;
    let is_other = effect.reservation_id != reservation_id;
    let by = &change.cause.as_ref()?.operation_id;
    let ended = change.kind() == ChangeKind::Released && is_other && by == reservation_id;
    ended
        .then(|| uuid::Uuid::from_slice(&effect.reservation_id).ok())
        .flatten()
}

/// Explains to people why a warehouse was chosen.
fn chosen_because(name: &str, warehouse: &str) -> String {
    match name {
        "only_source" => format!("the line names no other warehouse than {warehouse}"),
        "first_filling_all" => format!("{warehouse} is the first by name that had the whole line"),
        "preferred" => format!("{warehouse} is the first of the line's list that had anything"),
        "most_available" => format!("{warehouse} had most"),
        "fewest_shipments" => format!("{warehouse} keeps the number of shipments small"),
        "spill_over" => format!("{warehouse} has what the warehouses before it did not have"),
        "backordered" => format!("nothing was in stock, so the line waits for {warehouse}"),
        other => other.to_owned(),
    }
}

fn sentence(kind: ChangeKind, change: &Change, decision: &Decision) -> String {
    let units = match decision.quantity {
        1 => "1 unit".to_owned(),
        quantity => format!("{quantity} units"),
    };
    let (sku, warehouse, storefront) = (&change.sku, &change.warehouse, &change.storefront);
    let what = format!("{units} of {sku} in {warehouse}");
    let asked = change.reservation.as_ref().map_or(0, |effect| effect.requested);
    let home = decision.home.unwrap_or(change.shard);
    let of_an_order = decision.home.is_some();
    let told = match kind {
        ChangeKind::Reserved if asked == decision.quantity => format!("{what} were taken for {storefront}"),
        ChangeKind::Reserved => format!("{what} were taken for {storefront}, of {asked} asked for"),
        ChangeKind::Prepared => {
            format!("{what} were taken for {storefront}, of {asked} asked for, until shard {home} decides")
        }
        ChangeKind::Confirmed if home == change.shard => {
            "all shards have their part, so the order is held".to_owned()
        }
        ChangeKind::Confirmed => format!("the order is held, as shard {home} decided"),
        ChangeKind::Extended => "the hold was prolonged, and no units moved".to_owned(),
        ChangeKind::Aborted if change.sku.is_empty() => "the order failed".to_owned(),
        ChangeKind::Aborted => format!("{what} went back because the order failed"),
        ended if of_an_order && change.sku.is_empty() => {
            format!(
                "the order is {}, its units are in other shards",
                names::kind(ended)
            )
        }
        ChangeKind::Committed => format!("{what} were paid and committed"),
        ChangeKind::Released => format!("{what} were given back by their holder"),
        ChangeKind::Expired => format!("{what} went back because the hold's time ran out"),
        ChangeKind::Shipped => format!("{what} left the warehouse"),
        ChangeKind::TransferredOut => {
            let to = change
                .transfer
                .as_ref()
                .map_or("", |effect| effect.to_warehouse.as_str());
            format!("{what} left for {to}")
        }
        ChangeKind::Cancelled => format!("{what} were cancelled and went back"),
        ChangeKind::Returned => format!("{what} came back"),
        other => format!("{what}: {}", names::kind(other)),
    };
    let told = match decision.sourcing.map(|name| chosen_because(name, warehouse)) {
        Some(why) => format!("{told}; {why}"),
        None => told,
    };
    let told = if decision.quantity == 1 {
        told.replace(" were ", " was ")
    } else {
        told
    };
    let follows = matches!(
        kind,
        ChangeKind::Committed | ChangeKind::Released | ChangeKind::Expired | ChangeKind::Extended
    );
    let told = if follows && home != change.shard {
        format!("{told}, as shard {home} decided")
    } else {
        told
    };
    let moved = |one: &BucketChange| format!("{} {} -> {}", one.bucket, one.before, one.after);
    let moves: Vec<String> = decision.buckets.iter().map(moved).collect();
    let mut sentence = told;
    if !moves.is_empty() {
        sentence.push_str(&format!(": {}", moves.join(", ")));
    }
    let by = match (&decision.principal, &decision.operation_id) {
        (Some(principal), Some(operation)) => format!("; asked by {principal} in operation {operation}"),
        (None, Some(operation)) => format!("; asked in operation {operation}"),
        _ if kind == ChangeKind::Aborted => {
            format!("; nobody decided it in time, so shard {home} aborted it")
        }
        _ => "; nobody asked, it follows from log time".to_owned(),
    };
    sentence.push_str(&by);
    for (name, text) in [("reference", &decision.reference), ("reason", &decision.reason)] {
        if let Some(text) = text {
            sentence.push_str(&format!(", {name} {text}"));
        }
    }
    sentence
}

#[cfg(test)]
mod tests {
    use holdfast_api::v1::{Bucket, Cause, ReservationEffect, ReservationState};

    use super::*;

    fn change(
        kind: ChangeKind,
        state: ReservationState,
        quantity: i64,
        moves: &[(Bucket, i64, i64)],
    ) -> Change {
        let moved = |(bucket, delta, after): &(Bucket, i64, i64)| BucketMove {
            bucket: (*bucket).into(),
            delta: *delta,
            after: *after,
        };
        Change {
            shard: 2,
            seq: 17,
            log_index: 30,
            log_time_ms: 1_700_000_000_000,
            kind: kind.into(),
            sku: "SHIRT".into(),
            warehouse: "EAST".into(),
            storefront: "web".into(),
            moves: moves.iter().map(moved).collect(),
            reservation: Some(ReservationEffect {
                reservation_id: vec![1; 16].into(),
                line: 0,
                state: state.into(),
                expires_at_ms: 1_700_000_060_000,
                requested: 3,
                quantity,
                home: None,
                sourcing: 0,
            }),
            cause: Some(Cause {
                operation_id: vec![1; 16].into(),
                principal: "anonymous".into(),
                reference: "order#1".into(),
                ..Cause::default()
            }),
            ..Change::default()
        }
    }

    #[test]
    fn a_reserve_says_what_was_taken_from_where_and_why() {
        let moves = [(Bucket::Free, -2, 8), (Bucket::Held, 2, 2)];
        let decision = decision(&change(ChangeKind::Reserved, ReservationState::Held, 2, &moves)).unwrap();
        assert_eq!(
            decision.sentence,
            "2 units of SHIRT in EAST were taken for web, of 3 asked for: free 10 -> 8, held 0 -> 2; asked by \
             anonymous in operation 01010101-0101-0101-0101-010101010101, reference order#1"
        );
        assert_eq!(
            (decision.kind, decision.state, decision.line),
            ("reserved", "held", Some(0))
        );
        let before: Vec<i64> = decision.buckets.iter().map(|bucket| bucket.before).collect();
        assert_eq!(before, [10, 0]);
    }

    #[test]
    fn a_reserve_says_why_a_warehouse_was_chosen_and_what_is_beyond_stock() {
        let moves = [(Bucket::Held, 2, 2), (Bucket::Backordered, 2, 2)];
        let mut reserved = change(ChangeKind::Reserved, ReservationState::Held, 2, &moves);
        for (reason, says) in [
            (
                SourcingReason::MostAvailable,
                "of 3 asked for; EAST had most: held 0 -> 2, backordered 0 -> 2;",
            ),
            (
                SourcingReason::Backordered,
                "nothing was in stock, so the line waits for EAST",
            ),
        ] {
            let effect = reserved.reservation.as_mut().unwrap();
            effect.sourcing = reason.into();
            let decision = decision(&reserved).unwrap();
            assert_eq!(decision.sourcing, Some(names::sourcing(reason)));
            assert!(decision.sentence.contains(says), "{}", decision.sentence);
        }
    }

    #[test]
    fn an_expiry_says_that_nobody_asked() {
        let moves = [(Bucket::Free, 1, 9), (Bucket::Held, -1, 1)];
        let mut expired = change(ChangeKind::Expired, ReservationState::Expired, 1, &moves);
        expired.cause = Some(Cause {
            reference: "order#1".into(),
            ..Cause::default()
        });
        let decision = decision(&expired).unwrap();
        assert_eq!(
            decision.sentence,
            "1 unit of SHIRT in EAST went back because the hold's time ran out: free 8 -> 9, held 2 -> 1; \
             nobody asked, it follows from log time, reference order#1"
        );
        assert_eq!(decision.operation_id, None);
    }

    /// Makes a change of shard 1 in an order that shard 0 decides.
    fn of_an_order(
        kind: ChangeKind,
        state: ReservationState,
        quantity: i64,
        moves: &[(Bucket, i64, i64)],
    ) -> Change {
        let mut change = change(kind, state, quantity, moves);
        change.shard = 1;
        change.reservation.as_mut().unwrap().home = Some(0);
        if quantity == 0 {
            change.sku.clear();
            change.warehouse.clear();
        }
        change
    }

    #[test]
    fn an_order_over_several_shards_says_who_decides() {
        let taken = [(Bucket::Free, -2, 8), (Bucket::Held, 2, 2)];
        let prepared = of_an_order(ChangeKind::Prepared, ReservationState::Prepared, 2, &taken);
        let prepared = decision(&prepared).unwrap();
        assert_eq!(
            (prepared.home, prepared.state, prepared.line),
            (Some(0), "prepared", Some(0))
        );
        let what = "2 units of SHIRT in EAST were taken for web, of 3 asked for, until shard 0 decides: free 10 -> 8";
        assert!(prepared.sentence.starts_with(what), "{}", prepared.sentence);

        let mut confirmed = of_an_order(ChangeKind::Confirmed, ReservationState::Held, 0, &[]);
        let followed = decision(&confirmed).unwrap();
        assert!(
            followed
                .sentence
                .starts_with("the order is held, as shard 0 decided; asked by anonymous"),
            "{}",
            followed.sentence
        );
        assert_eq!((followed.line, followed.quantity), (None, 0));
        confirmed.shard = 0;
        let decided = decision(&confirmed).unwrap().sentence;
        assert!(
            decided.starts_with("all shards have their part, so the order is held; asked"),
            "{decided}"
        );

        let back = [(Bucket::Free, 2, 10), (Bucket::Held, -2, 0)];
        let paid = [(Bucket::Held, -2, 0), (Bucket::Committed, 2, 2)];
        let committed = of_an_order(ChangeKind::Committed, ReservationState::Committed, 2, &paid);
        let committed = decision(&committed).unwrap().sentence;
        assert!(
            committed.starts_with(
                "2 units of SHIRT in EAST were paid and committed, as shard 0 decided: held 2 -> 0"
            ),
            "{committed}"
        );
        let mut aborted = of_an_order(ChangeKind::Aborted, ReservationState::Released, 2, &back);
        aborted.cause = None;
        assert_eq!(
            decision(&aborted).unwrap().sentence,
            "2 units of SHIRT in EAST went back because the order failed: free 8 -> 10, held 2 -> 0; \
             nobody decided it in time, so shard 0 aborted it"
        );
    }

    #[test]
    fn a_home_without_units_tells_what_it_decided() {
        let mut committed = of_an_order(ChangeKind::Committed, ReservationState::Committed, 0, &[]);
        committed.shard = 0;
        let told = decision(&committed).unwrap().sentence;
        assert!(
            told.starts_with("the order is committed, its units are in other shards; asked by"),
            "{told}"
        );
    }

    #[test]
    fn a_change_of_no_reservation_is_no_decision() {
        let mut received = change(ChangeKind::Received, ReservationState::Held, 1, &[]);
        received.reservation = None;
        assert_eq!(decision(&received), None);
    }
}
