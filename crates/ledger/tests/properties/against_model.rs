//! The ledger gives the same answers as a naive model of it, and has the same units.

use std::collections::BTreeMap;

use holdfast_ledger::*;
use proptest::prelude::*;

use crate::{
    generate::{DraftEntry, SKUS, STOREFRONTS, Writer, log, log_of_large_entries, options},
    model::{Model, OnHandMoves, Place},
};

/// Returns an outcome without the text of a refusal, because only the kind of refusal counts.
fn comparable(outcome: Outcome) -> Outcome {
    match outcome {
        Err(Refusal::InvalidRequest(_)) => Err(Refusal::InvalidRequest(String::new())),
        other => other,
    }
}

/// The cells as a consumer of the change stream knows them.
#[derive(Default)]
struct Shadow {
    seq: u64,
    buckets: BTreeMap<(Sku, WarehouseId, Bucket, Option<StorefrontId>), i64>,
}

impl Shadow {
    fn take(&mut self, changes: &[Change], log_index: u64, log_time_ms: u64) {
        for (offset, change) in changes.iter().enumerate() {
            self.seq += 1;
            assert_eq!(change.seq, self.seq);
            assert_eq!(
                (change.entry_offset as usize, change.entry_changes as usize),
                (offset, changes.len())
            );
            assert_eq!((change.log_index, change.log_time_ms), (log_index, log_time_ms));
            assert!(
                change.moves.is_sorted_by(|a, b| a.bucket < b.bucket),
                "{change:?}"
            );
            let mut into_buckets = 0;
            let mut into_warehouse = 0;
            for BucketMove { bucket, delta, after } in &change.moves {
                assert!(*delta != 0 && *after >= 0, "{change:?}");
                match bucket {
                    Bucket::OnHand => into_warehouse += delta,
                    Bucket::InTransit => {}
                    Bucket::Deficit | Bucket::Backordered => into_buckets -= delta,
                    _ => into_buckets += delta,
                }
                let storefront = change.storefront.clone().filter(|_| *bucket == Bucket::Pool);
                let key = (
                    change.sku.clone().unwrap(),
                    change.warehouse.clone().unwrap(),
                    *bucket,
                    storefront,
                );
                let value = self.buckets.entry(key).or_default();
                *value += delta;
                assert_eq!(value, after, "{change:?}");
            }
            assert_eq!(into_buckets, into_warehouse, "{change:?}");
        }
    }

    fn compare(&self, cells: &[CellView]) {
        let mut known: BTreeMap<_, i64> = BTreeMap::new();
        for cell in cells {
            let at = |bucket, storefront| (cell.sku.clone(), cell.warehouse.clone(), bucket, storefront);
            for (bucket, value) in [
                (Bucket::OnHand, cell.on_hand),
                (Bucket::Free, cell.free),
                (Bucket::Safety, cell.safety),
                (Bucket::Held, cell.held),
                (Bucket::Committed, cell.committed),
                (Bucket::Damaged, cell.damaged),
                (Bucket::QualityHold, cell.quality_hold),
                (Bucket::Deficit, cell.deficit),
                (Bucket::Backordered, cell.backordered),
                (Bucket::InTransit, cell.in_transit),
            ] {
                known.insert(at(bucket, None), value);
            }
            for pool in &cell.pools {
                known.insert(at(Bucket::Pool, Some(pool.storefront.clone())), pool.quantity);
            }
        }
        known.retain(|_, value| *value != 0);
        let mut told = self.buckets.clone();
        told.retain(|_, value| *value != 0);
        assert_eq!(
            told, known,
            "the change stream tells another story than the cells"
        );
    }
}

fn cells_of(ledger: &Ledger) -> Vec<CellView> {
    let mut all: Vec<CellView> = Vec::new();
    loop {
        let after = all.last().map(|cell| (cell.sku.clone(), cell.warehouse.clone()));
        match ledger.query(&Query::ListCells { after, limit: 5 }).unwrap() {
            QueryReply::Cells(page) if page.is_empty() => return all,
            QueryReply::Cells(page) => all.extend(page),
            other => panic!("{other:?}"),
        }
    }
}

fn compare(ledger: &Ledger, model: &Model) {
    let cells = cells_of(ledger);
    let expected: Vec<CellView> = model.cells.keys().map(|key| model.view(key)).collect();
    assert_eq!(cells, expected);
    let live = [ReservationState::Held, ReservationState::Committed];
    let live = model
        .reservations
        .values()
        .filter(|r| live.contains(&r.state))
        .count();
    assert_eq!(ledger.live_reservation_count(), live as u64);
    assert_eq!(ledger.consumers().collect::<Vec<_>>(), model.consumers);
    for (id, reservation) in &model.reservations {
        let lines = reservation.lines.iter().map(|line| LineView {
            line: line.number,
            sku: line.sku.clone(),
            requested: line.requested,
            granted: line.units.len() as i64,
            held: line.count(Place::Held),
            committed: line.count(Place::Committed),
            shipped: line.count(Place::Shipped) + line.count(Place::Returned),
            released: line.count(Place::Released),
            cancelled: line.count(Place::Cancelled),
            returned: line.count(Place::Returned),
            allocations: line.allocations(),
        });
        let expected = ReservationView {
            order: None,
            reservation_id: *id,
            storefront: reservation.storefront.clone(),
            state: reservation.state,
            created_at_ms: reservation.created_at_ms,
            expires_at_ms: reservation.expires_at_ms,
            reference: reservation.reference.clone(),
            lines: lines.collect(),
        };
        let found = ledger.query(&Query::Reservation { reservation_id: *id }).unwrap();
        assert_eq!(found, QueryReply::Reservation(Some(expected)));
    }
    for name in STOREFRONTS {
        let storefront = StorefrontId::new(name).unwrap();
        for (sku, _) in model.cells.keys() {
            let may_borrow = model.policy(sku, &storefront).may_borrow;
            let mut warehouses = Vec::new();
            for ((_, warehouse), cell) in model.cells.iter().filter(|(key, _)| key.0 == *sku) {
                let pooled = cell.pools.get(&storefront).copied().unwrap_or(0);
                let units = pooled + if may_borrow { cell.free } else { 0 };
                if units > 0 {
                    warehouses.push((warehouse.clone(), units));
                }
            }
            let query = Query::Availability {
                storefront: storefront.clone(),
                skus: vec![sku.clone()],
            };
            let expected = vec![AvailabilityView {
                sku: sku.clone(),
                warehouses,
                backorderable: model.backorderable(sku, &storefront, &model.cells),
            }];
            assert_eq!(ledger.query(&query).unwrap(), QueryReply::Availability(expected));
            let until_ms = model.now_ms + 20_000;
            let query = Query::Promise {
                storefront: storefront.clone(),
                sku: sku.clone(),
                until_ms,
            };
            let expected = model.promise(&storefront, sku, until_ms);
            assert_eq!(ledger.query(&query).unwrap(), QueryReply::Promise(expected));
        }
    }
}

fn compare_plans(ledger: &Ledger, model: &Model) {
    for id in model.transfers.keys() {
        let found = ledger.query(&Query::Transfer { transfer_id: *id }).unwrap();
        assert_eq!(found, QueryReply::Transfer(model.transfer(id)));
    }
    let open = model
        .transfers
        .iter()
        .filter(|(_, transfer)| transfer.closed_at_ms == 0);
    let open: Vec<TransferView> = open.filter_map(|(id, _)| model.transfer(id)).collect();
    let mut listed: Vec<TransferView> = Vec::new();
    loop {
        let after = listed.last().map(|transfer| transfer.transfer_id);
        match ledger.query(&Query::OpenTransfers { after, limit: 2 }).unwrap() {
            QueryReply::Transfers(page) if page.is_empty() => break,
            QueryReply::Transfers(page) => listed.extend(page),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(listed, open);
    for sku in SKUS {
        let sku = Sku::new(sku).unwrap();
        let expected = model
            .supplies
            .iter()
            .filter(|((key, _), (quantity, _))| key.0 == sku && *quantity > 0);
        let expected = expected.map(|((key, supply_id), (quantity, expected_at_ms))| SupplyView {
            warehouse: key.1.clone(),
            supply_id: supply_id.clone(),
            quantity: *quantity,
            expected_at_ms: *expected_at_ms,
        });
        let expected = QueryReply::Supplies(expected.collect());
        let query = Query::Supplies { sku, warehouse: None };
        assert_eq!(ledger.query(&query).unwrap(), expected);
    }
    let mut listed: Vec<DeficitView> = Vec::new();
    loop {
        let after = listed
            .last()
            .map(|deficit| (deficit.cell.sku.clone(), deficit.cell.warehouse.clone()));
        match ledger.query(&Query::Deficits { after, limit: 1 }).unwrap() {
            QueryReply::Deficits(page) if page.is_empty() => break,
            QueryReply::Deficits(page) => listed.extend(page),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(listed, model.deficits());
}

/// Returns the last change before each command of an entry.
fn last_seqs(mut last_seq: u64, entry: &Entry, applied: &Applied) -> Vec<u64> {
    let made_by = |id: Option<OperationId>| {
        let made = applied
            .changes
            .iter()
            .filter(|change| change.cause.operation_id == id);
        made.count() as u64
    };
    last_seq += made_by(None);
    let mut all = Vec::new();
    for (command, outcome) in entry.commands.iter().zip(&applied.outcomes) {
        all.push(last_seq);
        if is_new(command, outcome) {
            last_seq += made_by(Some(command.operation_id));
        }
    }
    all
}

/// Returns whether a command took effect, and not earlier. Commands whose id is not remembered make no changes,
/// so another command may have the same id.
fn is_new(command: &Command, outcome: &Outcome) -> bool {
    match outcome {
        _ if matches!(
            command.action,
            Action::AdvanceConsumer { .. } | Action::AdoptRules { .. }
        ) =>
        {
            false
        }
        Ok(
            Success::Reserved { replayed, .. }
            | Success::Transitioned { replayed, .. }
            | Success::Stocked { replayed, .. },
        ) => !replayed,
        Ok(Success::Order { .. }) | Err(_) => false,
    }
}

/// Checks that the changes of a command name their cause, and that they move the units on hand as the model
/// does. Late goods and their recount are two changes.
fn compare_changes(command: &Command, outcome: &Outcome, changes: &[Change], expected: &OnHandMoves) {
    let mut told = OnHandMoves::new();
    let made = changes
        .iter()
        .filter(|change| is_new(command, outcome) && change.cause.operation_id == Some(command.operation_id));
    for change in made {
        let cause = &change.cause;
        assert_eq!(
            (&cause.reference, &cause.reason, cause.occurred_at_ms),
            (
                &command.reference,
                &command.reason,
                command.details.occurred_at_ms
            ),
        );
        assert_eq!(cause.principal.as_ref(), Some(&command.principal));
        for moved in change.moves.iter().filter(|moved| moved.bucket == Bucket::OnHand) {
            let key = (change.sku.clone().unwrap(), change.warehouse.clone().unwrap());
            let (moves, recounts) = told.entry(key).or_default();
            match change.kind {
                ChangeKind::Counted => *recounts += moved.delta,
                _ => *moves += moved.delta,
            }
        }
    }
    // A line of a transfer that has arrived before moves nothing.
    let mut expected = expected.clone();
    expected.retain(|_, moves| *moves != (0, 0));
    assert_eq!(told, expected, "{command:?} makes {changes:?}");
}

/// Replaces SKUs by names that the first rules accept. The model has no SKUs that the ledger does not know.
fn name_plainly(action: &mut Action) {
    let rename = |sku: &mut Sku| {
        if !sku.is_plain() {
            *sku = Sku::new(format!("sku-{}", sku.as_str().len())).unwrap();
        }
    };
    match action {
        Action::Reserve { lines, .. } => lines.iter_mut().for_each(|line| rename(&mut line.sku)),
        Action::TransferOut { lines, .. } | Action::TransferIn { lines, .. } => {
            lines.iter_mut().for_each(|line| rename(&mut line.sku));
        }
        Action::Receive { sku, .. }
        | Action::Adjust { sku, .. }
        | Action::Count { sku, .. }
        | Action::MoveBucket { sku, .. }
        | Action::SetPolicy { sku, .. }
        | Action::AllocatePool { sku, .. }
        | Action::ExpectSupply { sku, .. }
        | Action::Return {
            of: ReturnOf::Unreferenced { sku, .. },
            ..
        } => rename(sku),
        _ => {}
    }
}

fn run(drafts: &[DraftEntry], rules: Rules) {
    let mut ledger = Ledger::with_rules(options(), rules);
    let mut model = Model::new(options(), rules);
    let mut shadow = Shadow::default();
    let mut writer = Writer::by(rules);
    for draft in drafts {
        let mut entry = writer.entry(draft);
        if rules < Rules::Second {
            entry
                .commands
                .iter_mut()
                .for_each(|command| name_plainly(&mut command.action));
        }
        let last_seq = ledger.last_seq();
        let applied = ledger.apply(writer.index, &entry).unwrap();
        let expected = model.apply(writer.index, &entry, &last_seqs(last_seq, &entry, &applied));
        assert_eq!(applied.outcomes.len(), expected.len());
        let outcomes = applied.outcomes.iter().zip(expected);
        for ((outcome, (expected, moves)), command) in outcomes.zip(&entry.commands) {
            assert_eq!(comparable(outcome.clone()), comparable(expected), "{command:?}");
            compare_changes(command, outcome, &applied.changes, &moves);
        }
        let by_time = applied
            .changes
            .iter()
            .filter(|change| change.cause.operation_id.is_none());
        for change in by_time {
            assert_eq!(
                (change.kind, change.cause.occurred_at_ms),
                (ChangeKind::Expired, None)
            );
        }
        ledger.check().unwrap();
        shadow.take(&applied.changes, writer.index, model.now_ms);
        assert_eq!(ledger.last_seq(), shadow.seq);
        assert_eq!(ledger.log_time_ms(), model.now_ms);
        shadow.compare(&cells_of(&ledger));
        writer.learn(&entry, &applied);
        compare(&ledger, &model);
        compare_plans(&ledger, &model);
        for reservation in model.reservations.values() {
            model.holder(&reservation.storefront, &reservation.reference);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_log_gives_the_answers_and_the_units_of_the_naive_model(drafts in log(40)) {
        run(&drafts, Rules::NEWEST);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_log_that_adopts_the_newest_rules_gives_the_answers_of_the_naive_model(drafts in log(60)) {
        run(&drafts, Rules::First);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn entries_of_hundreds_of_commands_give_the_answers_of_the_naive_model(drafts in log_of_large_entries(4, 400)) {
        run(&drafts, Rules::NEWEST);
    }
}
