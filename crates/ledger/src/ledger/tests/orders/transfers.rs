//! Tests of transfers over several shards: first an order, and then each shard sends its own part.

use super::*;

/// Plans a transfer of 4 units to `far` from each of two shards, which have 10 units in `w`.
fn planned() -> (Shards, TransferOrder, TransferId) {
    let shards = Shards::stocked(2, 10);
    let request = request(&[("0-a", 3), ("1-a", 4), ("0-a", 1)], "far");
    let id = request.operation_id;
    (shards, TransferOrder::new(request).unwrap(), id)
}

fn request(lines: &[(&str, i64)], to: &str) -> Command {
    let line = |(name, quantity): &(&str, i64)| TransferLine {
        sku: sku(name),
        quantity: *quantity,
    };
    Command {
        operation_id: id_at(START_MS, 7_000_000),
        principal: Principal::new("tester").unwrap(),
        reference: Reference::new("move-1").unwrap(),
        reason: CallerReason::default(),
        details: Details::default(),
        action: Action::TransferOut {
            lines: lines.iter().map(line).collect(),
            from: warehouse("w"),
            to: warehouse(to),
            expected_at_ms: START_MS + 5_000,
        },
    }
}

fn reserve(shards: &mut Shards, order: &TransferOrder) -> End {
    shards.drive(order.coordinator(shard_of).unwrap().unwrap())
}

fn of_part(command: &Command) -> Command {
    Command {
        action: Action::OfPart(Box::new(command.action.clone())),
        ..command.clone()
    }
}

fn dispatch(shards: &mut Shards, shard: usize, order: &TransferOrder) -> Outcome {
    shards.stories[shard].send(&of_part(&order.dispatch))
}

/// Runs all three steps from the beginning. Each must succeed.
fn transfer_out(shards: &mut Shards, order: &TransferOrder) {
    granted(&reserve(shards, order));
    shards.stories[0].send(&order.commit).unwrap();
    shards.resolve();
    for shard in 0..2 {
        dispatch(shards, shard, order).unwrap();
    }
}

/// Returns four numbers for each shard's SKU: on hand in `w`, committed in `w`, in transit to `far`, on hand
/// in `far`.
fn places(shards: &Shards) -> Vec<(i64, i64, i64, i64)> {
    let place = |(shard, story): (usize, &Story)| {
        let name = format!("{shard}-a");
        let (near, far) = (story.cell(&name, "w"), story.cell(&name, "far"));
        (near.on_hand, near.committed, far.in_transit, far.on_hand)
    };
    shards.stories.iter().enumerate().map(place).collect()
}

fn views(shards: &Shards, transfer_id: TransferId) -> Vec<Option<TransferView>> {
    let view = |story: &Story| match story.ledger.query(&Query::Transfer { transfer_id }) {
        Ok(QueryReply::Transfer(view)) => view,
        other => panic!("{other:?}"),
    };
    shards.stories.iter().map(view).collect()
}

#[test]
fn a_transfer_over_two_shards_leaves_both_is_in_transit_and_arrives() {
    let (mut shards, order, id) = planned();
    transfer_out(&mut shards, &order);
    assert_eq!(places(&shards), [(6, 0, 4, 0); 2]);
    for view in views(&shards, id) {
        let view = view.unwrap();
        assert_eq!(
            (view.home, view.from, view.to),
            (Some(0), warehouse("w"), warehouse("far"))
        );
        assert_eq!(view.reference.as_str(), "move-1");
    }
    let arrive = |lines| Action::TransferIn {
        transfer_id: id,
        lines,
        disposition: Disposition::Restock,
    };
    let whole = shards.act(1, arrive(vec![]));
    assert_eq!(whole, Err(Refusal::OverSeveralShards { home: 0 }));
    let all = Action::OfPart(Box::new(arrive(vec![])));
    shards.act(0, all.clone()).unwrap();
    let one = TransferLine {
        sku: sku("1-a"),
        quantity: 1,
    };
    shards
        .act(1, Action::OfPart(Box::new(arrive(vec![one]))))
        .unwrap();
    let close = Action::CloseTransfer { transfer_id: id };
    assert_eq!(
        shards.act(1, close.clone()),
        Err(Refusal::OverSeveralShards { home: 0 })
    );
    shards.act(1, Action::OfPart(Box::new(close))).unwrap();
    assert_eq!(places(&shards), [(6, 0, 0, 4), (6, 0, 0, 1)]);
    assert_eq!(shards.act(0, all), Err(Refusal::TransferClosed));
}

#[test]
fn a_transfer_that_one_shard_cannot_fill_leaves_nowhere_and_pools_are_not_touched() {
    let mut shards = Shards::stocked(2, 10);
    shards.stories[1].pool("1-a", "w", "web", 7).unwrap();
    let order = TransferOrder::new(request(&[("0-a", 4), ("1-a", 4)], "far")).unwrap();
    let End::Outcome(Err(Refusal::InsufficientStock(shortages))) = reserve(&mut shards, &order) else {
        panic!("it left");
    };
    let short: Vec<_> = shortages
        .iter()
        .map(|short| (short.line, short.available))
        .collect();
    assert_eq!(short, [(1, 3)]);
    shards.resolve();
    assert_eq!(shards.units(), [(10, 0, 0), (3, 0, 0)]);
}

#[test]
fn each_step_of_a_transfer_can_be_repeated_and_a_retry_goes_on_where_it_was_left() {
    let (mut shards, order, id) = planned();
    granted(&reserve(&mut shards, &order));
    granted(&reserve(&mut shards, &order));
    shards.stories[0].send(&order.commit).unwrap();
    shards.resolve();
    granted(&reserve(&mut shards, &order));
    shards.stories[0].send(&order.commit).unwrap();
    dispatch(&mut shards, 1, &order).unwrap();
    assert_eq!(
        shards.units(),
        [(6, 0, 4), (6, 0, 0)],
        "shard 0 has not dispatched yet"
    );
    assert!(views(&shards, id)[0].is_none());
    // The sender of these steps died, so all steps run again from the beginning.
    granted(&reserve(&mut shards, &order));
    shards.stories[0].send(&order.commit).unwrap();
    let again = dispatch(&mut shards, 1, &order).unwrap();
    assert!(
        matches!(again, Success::Transitioned { replayed: true, .. }),
        "{again:?}"
    );
    dispatch(&mut shards, 0, &order).unwrap();
    assert_eq!(places(&shards), [(6, 0, 4, 0); 2]);
}

#[test]
fn a_transfer_that_is_never_committed_gives_everything_back() {
    let (mut shards, order, _) = planned();
    granted(&reserve(&mut shards, &order));
    shards.resolve();
    assert!(matches!(
        dispatch(&mut shards, 1, &order),
        Err(Refusal::WrongState {
            state: ReservationState::Held
        })
    ));
    shards.wait(600_000);
    shards.resolve();
    assert_eq!(shards.units(), [(10, 0, 0); 2]);
    let late = shards.stories[0].send(&order.commit);
    assert!(matches!(late, Err(Refusal::Expired { .. })), "{late:?}");
}

#[test]
fn a_retry_with_another_destination_is_refused_at_every_step() {
    let (mut shards, order, _) = planned();
    granted(&reserve(&mut shards, &order));
    let other = TransferOrder::new(request(&[("0-a", 3), ("1-a", 4), ("0-a", 1)], "else")).unwrap();
    let refused = reserve(&mut shards, &other);
    assert_eq!(refused, End::Outcome(Err(Refusal::OperationIdReused)));
    shards.stories[0].send(&order.commit).unwrap();
    shards.resolve();
    dispatch(&mut shards, 0, &order).unwrap();
    let refused = dispatch(&mut shards, 0, &other);
    assert_eq!(refused, Err(Refusal::OperationIdReused));
}

#[test]
fn the_id_of_a_transfer_over_two_shards_cannot_become_another_transfer_in_one_of_them() {
    let (mut shards, order, _) = planned();
    let alone = request(&[("1-a", 1)], "far");
    granted(&reserve(&mut shards, &order));
    assert_eq!(shards.stories[1].send(&alone), Err(Refusal::OperationIdReused));
    shards.stories[0].send(&order.commit).unwrap();
    shards.resolve();
    for shard in 0..2 {
        dispatch(&mut shards, shard, &order).unwrap();
    }
    assert_eq!(shards.stories[1].send(&alone), Err(Refusal::OperationIdReused));
}

#[test]
fn units_of_a_transfer_are_neither_shipped_nor_returned_and_are_dispatched_once() {
    let (mut shards, order, id) = planned();
    let part = |action| Action::OfPart(Box::new(action));
    let ship = Action::Ship {
        reservation_id: id,
        lines: vec![],
    };
    let take_back = Action::Return {
        of: ReturnOf::Reservation {
            reservation_id: id,
            lines: vec![],
        },
        disposition: Disposition::Restock,
    };
    granted(&reserve(&mut shards, &order));
    shards.stories[0].send(&order.commit).unwrap();
    shards.resolve();
    let refused = shards.act(1, part(ship));
    assert!(matches!(refused, Err(Refusal::InvalidRequest(_))), "{refused:?}");
    dispatch(&mut shards, 1, &order).unwrap();
    let refused = shards.act(1, part(take_back));
    assert!(matches!(refused, Err(Refusal::InvalidRequest(_))), "{refused:?}");
    let twice = shards.act(1, part(order.dispatch.action.clone()));
    let state = ReservationState::Shipped;
    assert_eq!(twice, Err(Refusal::WrongState { state }));
    let (near, far) = (
        shards.stories[1].cell("1-a", "w"),
        shards.stories[1].cell("1-a", "far"),
    );
    assert_eq!((near.on_hand, near.committed, far.in_transit), (6, 0, 4));
}

#[test]
fn what_is_committed_and_not_there_is_not_dispatched_until_it_is() {
    let (mut shards, order, id) = planned();
    granted(&reserve(&mut shards, &order));
    shards.stories[0].send(&order.commit).unwrap();
    shards.resolve();
    shards.stories[1].count("1-a", "w", 3, None).unwrap();
    dispatch(&mut shards, 0, &order).unwrap();
    let Err(Refusal::InsufficientStock(short)) = dispatch(&mut shards, 1, &order) else {
        panic!("it left");
    };
    assert_eq!((short[0].line, short[0].requested, short[0].available), (1, 4, 3));
    shards.stories[1].receive("1-a", "w", 1).unwrap();
    dispatch(&mut shards, 1, &order).unwrap();
    assert_eq!(places(&shards), [(6, 0, 4, 0), (0, 0, 4, 0)]);
    assert_eq!(
        shards.states(id),
        [(0, ReservationState::Shipped), (1, ReservationState::Shipped)].into()
    );
}

#[test]
fn what_cannot_be_dispatched_can_be_cancelled() {
    let (mut shards, order, id) = planned();
    granted(&reserve(&mut shards, &order));
    shards.stories[0].send(&order.commit).unwrap();
    shards.resolve();
    dispatch(&mut shards, 0, &order).unwrap();
    let cancel = Action::Cancel {
        reservation_id: id,
        lines: vec![],
    };
    shards.act(1, Action::OfPart(Box::new(cancel))).unwrap();
    assert_eq!(shards.units(), [(6, 0, 0), (10, 0, 0)]);
    let state = ReservationState::Cancelled;
    assert_eq!(
        dispatch(&mut shards, 1, &order),
        Err(Refusal::WrongState { state })
    );
}

#[test]
fn only_a_transfers_reservation_is_dispatched() {
    let mut shards = Shards::stocked(2, 10);
    let order = shards.order(&["0-a", "1-a"], 3, ALL);
    granted(&shards.run(&order));
    let reservation_id = order.operation_id;
    shards.act(0, Action::Commit { reservation_id }).unwrap();
    shards.resolve();
    let dispatch = Action::Dispatch {
        reservation_id,
        to: warehouse("far"),
        expected_at_ms: 0,
    };
    let whole = shards.act(0, dispatch.clone());
    assert_eq!(whole, Err(Refusal::OverSeveralShards { home: 0 }));
    let refused = shards.act(0, Action::OfPart(Box::new(dispatch)));
    assert!(matches!(refused, Err(Refusal::InvalidRequest(_))), "{refused:?}");
}

#[test]
fn units_that_leave_are_told_first_and_then_that_they_are_on_their_way() {
    let (mut shards, order, id) = planned();
    transfer_out(&mut shards, &order);
    let story = &shards.stories[1];
    let told: Vec<_> = story
        .changes
        .iter()
        .filter(|change| change.kind == ChangeKind::TransferredOut)
        .map(|change| {
            let moves: Vec<_> = change.moves.iter().map(|one| (one.bucket, one.delta)).collect();
            let effect = change.reservation.as_ref();
            let effect =
                effect.map(|effect| (effect.reservation_id, effect.line, effect.quantity, effect.state));
            (
                change.warehouse.clone().unwrap(),
                moves,
                effect,
                change.transfer.clone().unwrap().quantity,
            )
        })
        .collect();
    let left = vec![(Bucket::OnHand, -4), (Bucket::Committed, -4)];
    let is_coming = vec![(Bucket::InTransit, 4)];
    let expected = [
        (
            warehouse("w"),
            left,
            Some((id, 1, 4, ReservationState::Shipped)),
            4,
        ),
        (warehouse("far"), is_coming, None, 4),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_snapshot_keeps_a_transfer_over_two_shards() {
    let (mut shards, order, id) = planned();
    transfer_out(&mut shards, &order);
    let before = views(&shards, id);
    for story in &mut shards.stories {
        story.ledger = Ledger::decode(&story.ledger.encode()).unwrap();
    }
    assert_eq!(views(&shards, id), before);
}
