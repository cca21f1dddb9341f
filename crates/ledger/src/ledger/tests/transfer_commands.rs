//! Tests of goods on their way, and of goods that are expected.

use super::*;

fn lines(lines: &[(&str, i64)]) -> Vec<TransferLine> {
    let line = |(name, quantity): &(&str, i64)| TransferLine {
        sku: sku(name),
        quantity: *quantity,
    };
    lines.iter().map(line).collect()
}

fn out(all: &[(&str, i64)]) -> Action {
    Action::TransferOut {
        lines: lines(all),
        from: warehouse("east"),
        to: warehouse("west"),
        expected_at_ms: START_MS + 5_000,
    }
}

fn into(transfer_id: TransferId, all: &[(&str, i64)], disposition: Disposition) -> Action {
    Action::TransferIn {
        transfer_id,
        lines: lines(all),
        disposition,
    }
}

/// East has 10 units of tea and 4 cups. 6 units of tea and 1 cup are on their way to west.
fn sent() -> (Story, TransferId) {
    let mut story = Story::new();
    story.receive("tea", "east", 10).unwrap();
    story.receive("cup", "east", 4).unwrap();
    let command = story.command(out(&[("tea", 4), ("cup", 1), ("tea", 2)]));
    story.send(&command).unwrap();
    (story, command.operation_id)
}

fn transfer(story: &Story, transfer_id: TransferId) -> Option<TransferView> {
    match story.ledger.query(&Query::Transfer { transfer_id }).unwrap() {
        QueryReply::Transfer(view) => view,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_page_of_transfers_with_very_many_lines_ends_earlier_and_the_next_one_goes_on() {
    const LINES: usize = 1_024;
    let mut story = Story::new();
    let names: Vec<String> = (0..LINES).map(|number| format!("sku-{number}")).collect();
    let mut sent = Vec::new();
    for name in &names {
        story.receive(name, "east", 20).unwrap();
    }
    for _ in 0..20 {
        let all: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let command = story.command(out(&all));
        story.send(&command).unwrap();
        sent.push(command.operation_id);
    }
    let mut listed: Vec<TransferId> = Vec::new();
    loop {
        let after = listed.last().copied();
        let page = match story
            .ledger
            .query(&Query::OpenTransfers { after, limit: 1_000 })
            .unwrap()
        {
            QueryReply::Transfers(page) => page,
            other => panic!("{other:?}"),
        };
        let lines: usize = page.iter().map(|transfer| transfer.lines.len()).sum();
        assert!(lines <= 8_192 + LINES, "{lines}");
        if page.is_empty() {
            break;
        }
        listed.extend(page.iter().map(|transfer| transfer.transfer_id));
    }
    assert_eq!(listed, sent);
}

#[test]
fn what_is_in_transit_is_in_neither_warehouse_and_nobody_can_sell_it() {
    let (mut story, id) = sent();
    let (east, west) = (story.cell("tea", "east"), story.cell("tea", "west"));
    assert_eq!((east.on_hand, east.free, east.in_transit), (4, 4, 0));
    assert_eq!((west.on_hand, west.free, west.in_transit), (0, 0, 6));
    let command = story.reserve_command(vec![line("tea", 5, Source::Any)], ReserveMode::AllOrNothing);
    assert!(story.send(&command).is_err());
    story.act(into(id, &[], Disposition::Restock)).unwrap();
    let west = story.cell("tea", "west");
    assert_eq!((west.on_hand, west.free, west.in_transit), (6, 6, 0));
    story.hold("tea", 10);
    let told: Vec<_> = story
        .changes
        .iter()
        .filter_map(|change| change.transfer.as_ref().map(|effect| (change, effect)))
        .map(|(change, effect)| (change.kind, change.sku.clone().unwrap(), effect.quantity))
        .collect();
    use ChangeKind::{TransferredIn, TransferredOut};
    let (tea, cup) = (sku("tea"), sku("cup"));
    let expected = [
        (TransferredOut, tea.clone(), 6),
        (TransferredOut, tea.clone(), 6),
        (TransferredOut, cup.clone(), 1),
        (TransferredOut, cup.clone(), 1),
        (TransferredIn, tea, 6),
        (TransferredIn, cup, 1),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_transfer_takes_all_its_lines_or_none_and_only_free_units() {
    let mut story = Story::new();
    story.receive("tea", "east", 3).unwrap();
    story.receive("cup", "east", 3).unwrap();
    story.hold("cup", 1);
    let refused = story.act(out(&[("tea", 1), ("cup", 2), ("cup", 1), ("pot", 1)]));
    let shortage = |line, name, requested, available| Shortage {
        line,
        sku: sku(name),
        requested,
        available,
    };
    let expected = vec![shortage(1, "cup", 3, 2), shortage(3, "pot", 1, 0)];
    assert_eq!(refused, Err(Refusal::InsufficientStock(expected)));
    assert_eq!(story.cell("tea", "east").free, 3);
}

#[test]
fn a_transfer_arrives_in_parts_and_never_more_than_was_sent() {
    let (mut story, id) = sent();
    let arrive = |quantity, to| into(id, &[("tea", quantity)], to);
    story.act(arrive(2, Disposition::Restock)).unwrap();
    story.act(arrive(1, Disposition::Damaged)).unwrap();
    story.act(arrive(1, Disposition::QualityHold)).unwrap();
    let west = story.cell("tea", "west");
    assert_eq!(
        (
            west.on_hand,
            west.free,
            west.damaged,
            west.quality_hold,
            west.in_transit
        ),
        (4, 2, 1, 1, 2)
    );
    let exceeds = |requested, available| {
        Err(Refusal::ExceedsLine {
            line: 0,
            requested,
            available,
        })
    };
    assert_eq!(story.act(arrive(3, Disposition::Restock)), exceeds(3, 2));
    let pot = into(id, &[("pot", 1)], Disposition::Restock);
    assert_eq!(story.act(pot), exceeds(1, 0));
    story.act(arrive(2, Disposition::Restock)).unwrap();
    assert_eq!(transfer(&story, id).unwrap().closed_at_ms, 0, "a cup is missing");
}

#[test]
fn what_never_comes_is_written_off_with_an_audit_trail() {
    let (mut story, id) = sent();
    story.act(into(id, &[("tea", 5)], Disposition::Restock)).unwrap();
    let close = Action::CloseTransfer { transfer_id: id };
    story.later(7).act(close.clone()).unwrap();
    assert_eq!(story.cell("tea", "west").in_transit, 0);
    assert_eq!(story.cell("tea", "west").on_hand, 5);
    let view = transfer(&story, id).unwrap();
    let units: Vec<_> = view
        .lines
        .iter()
        .map(|line| (line.sent, line.received, line.written_off, line.in_transit))
        .collect();
    assert_eq!(units, [(6, 5, 1, 0), (1, 0, 1, 0)]);
    assert_eq!(view.closed_at_ms, story.now_ms());
    let last = story.changes.last().unwrap();
    assert_eq!(last.kind, ChangeKind::TransferClosed);
    let moved = BucketMove {
        bucket: Bucket::InTransit,
        delta: -1,
        after: 0,
    };
    assert_eq!(last.moves[..], [moved]);
    assert_eq!(story.act(close), Err(Refusal::TransferClosed));
    let late = into(id, &[], Disposition::Restock);
    assert_eq!(story.act(late), Err(Refusal::TransferClosed));
}

#[test]
fn an_open_transfer_is_kept_for_ever_and_a_closed_one_for_its_retention() {
    const HOUR_MS: u64 = 3_600_000;
    let (mut story, id) = sent();
    story.wait(1_000 * HOUR_MS);
    story.act(into(id, &[], Disposition::Restock)).unwrap();
    assert_eq!(
        story.ledger.next_due_ms(),
        Some(story.now_ms() + 24 * HOUR_MS + 60_001)
    );
    story.wait(24 * HOUR_MS);
    assert!(transfer(&story, id).is_some());
    story.wait(1);
    assert_eq!(transfer(&story, id), None);
    let close = Action::CloseTransfer { transfer_id: id };
    assert_eq!(story.act(close), Err(Refusal::UnknownTransfer));
}

#[test]
fn what_arrives_fills_a_deficit_and_a_transfer_is_applied_once() {
    let (mut story, id) = sent();
    story.receive("tea", "west", 3).unwrap();
    let command = story.reserve_command(
        vec![line("tea", 3, Source::Warehouse(warehouse("west")))],
        ReserveMode::AllOrNothing,
    );
    story.send(&command).unwrap();
    story.count("tea", "west", 1, None).unwrap();
    let arrive = story.command(into(id, &[], Disposition::Restock));
    story.send(&arrive).unwrap();
    let again = story.send(&arrive);
    assert!(matches!(again, Ok(Success::Stocked { replayed: true, .. })));
    let west = story.cell("tea", "west");
    assert_eq!((west.on_hand, west.deficit, west.free, west.held), (7, 0, 4, 3));
}

#[test]
fn malformed_transfers_say_what_is_wrong() {
    let mut story = Story::new();
    story.receive("tea", "east", 9).unwrap();
    let home = Action::TransferOut {
        lines: lines(&[("tea", 1)]),
        from: warehouse("east"),
        to: warehouse("east"),
        expected_at_ms: 0,
    };
    let never = Action::TransferOut {
        lines: lines(&[("tea", 1)]),
        from: warehouse("east"),
        to: warehouse("west"),
        expected_at_ms: 1 << 48,
    };
    for (action, expected) in [
        (out(&[]), "no lines"),
        (out(&[("tea", 1); 1025]), "1025 lines"),
        (out(&[("tea", 1), ("tea", 0)]), "lines[1].quantity is 0"),
        (home, "to is the warehouse"),
        (never, "expected_at_ms is 281474976710656"),
    ] {
        match story.act(action) {
            Err(Refusal::InvalidRequest(message)) => assert!(message.contains(expected), "{message}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
    assert_eq!(
        story.act(out(&[("tea", i64::MAX), ("tea", 1)])),
        Err(Refusal::Overflow)
    );
}

fn expect(at: &str, supply_id: &str, quantity: i64, in_ms: u64) -> Action {
    Action::ExpectSupply {
        sku: sku("tea"),
        warehouse: warehouse(at),
        supply_id: SupplyId::new(supply_id).unwrap(),
        quantity,
        expected_at_ms: START_MS + in_ms,
    }
}

fn receive(quantity: i64, supply_id: &str) -> Action {
    Action::Receive {
        sku: sku("tea"),
        warehouse: warehouse("east"),
        quantity,
        supply_id: Some(SupplyId::new(supply_id).unwrap()),
    }
}

fn supplies(story: &Story) -> Vec<(String, i64)> {
    let query = Query::Supplies {
        sku: sku("tea"),
        warehouse: Some(warehouse("east")),
    };
    match story.ledger.query(&query).unwrap() {
        QueryReply::Supplies(all) => all
            .into_iter()
            .map(|supply| (supply.supply_id.to_string(), supply.quantity))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_receipt_reduces_the_supply_it_names_and_only_that() {
    let mut story = Story::new();
    story.act(expect("east", "po-1", 5, 10)).unwrap();
    story.act(expect("east", "po-2", 7, 20)).unwrap();
    story.act(receive(2, "po-1")).unwrap();
    story.receive("tea", "east", 1).unwrap();
    let listed = |one, two| vec![("po-1".to_owned(), one), ("po-2".to_owned(), two)];
    assert_eq!(supplies(&story), listed(3, 7));
    story.act(receive(9, "po-1")).unwrap();
    story.act(receive(1, "unheard-of")).unwrap();
    assert_eq!(supplies(&story), listed(3, 7)[1..]);
    story.act(expect("east", "po-2", 0, 20)).unwrap();
    assert_eq!(supplies(&story), []);
    assert_eq!(story.cell("tea", "east").on_hand, 13);
    let told: Vec<Option<i64>> = story
        .changes
        .iter()
        .map(|change| change.supply.as_ref().map(|effect| effect.quantity))
        .collect();
    assert_eq!(told, [Some(5), Some(7), Some(3), None, Some(0), None, Some(0)]);
}

#[test]
fn a_promise_by_date_counts_what_comes_and_not_what_is_owed() {
    let mut story = Story::new();
    story.receive("tea", "west", 6).unwrap();
    story.receive("tea", "east", 3).unwrap();
    let held = story.reserve_command(
        vec![line("tea", 3, Source::Warehouse(warehouse("east")))],
        ReserveMode::AllOrNothing,
    );
    story.send(&held).unwrap();
    story.count("tea", "east", 1, None).unwrap();
    story.act(expect("east", "po-1", 5, 100)).unwrap();
    story.act(expect("west", "po-1", 1, 100)).unwrap();
    story.act(expect("west", "po-2", 8, 300)).unwrap();
    story.act(expect("west", "late", 4, 0)).unwrap();
    let sent = Action::TransferOut {
        lines: lines(&[("tea", 2)]),
        from: warehouse("west"),
        to: warehouse("east"),
        expected_at_ms: START_MS + 200,
    };
    story.act(sent).unwrap();
    let promise = |story: &Story, whose: &str, until_ms| {
        let query = Query::Promise {
            storefront: storefront(whose),
            sku: sku("tea"),
            until_ms,
        };
        match story.ledger.query(&query).unwrap() {
            QueryReply::Promise(view) => view,
            other => panic!("{other:?}"),
        }
    };
    let date = |in_ms, arriving, available| PromiseDate {
        at_ms: START_MS + in_ms,
        arriving,
        available,
    };
    let expected = PromiseView {
        now_ms: START_MS,
        available_now: 4,
        dates: vec![date(100, 6, 4 + 3 + 1), date(200, 2, 10)],
        overdue: 4,
        owed: 2,
    };
    assert_eq!(promise(&story, "web", START_MS + 299), expected);
    let all = promise(&story, "web", u64::MAX);
    assert_eq!(all.dates.last(), Some(&date(300, 8, 18)));
    let fenced = Action::SetPolicy {
        sku: sku("tea"),
        storefront: storefront("web"),
        may_borrow: false,
        max_per_reservation: 0,
        backorder_limit: 0,
        preorder_limit: 0,
        preorder_until_ms: 0,
    };
    story.act(fenced).unwrap();
    let none = promise(&story, "web", u64::MAX);
    assert_eq!((none.available_now, none.dates[2].available), (0, 0));
}

#[test]
fn a_cell_expects_a_limited_number_of_supplies() {
    let mut story = Story::new();
    for number in 0..1024 {
        story.act(expect("east", &format!("po-{number}"), 1, 10)).unwrap();
    }
    let refused = story.act(expect("east", "one-more", 1, 10));
    assert!(matches!(refused, Err(Refusal::LimitReached { limit: 1024, .. })));
    story.act(expect("east", "po-7", 2, 10)).unwrap();
    story.act(expect("east", "po-7", 0, 10)).unwrap();
    story.act(expect("east", "one-more", 1, 10)).unwrap();
}

#[test]
fn the_oldest_promise_is_kept_first() {
    let mut story = Story::new();
    story.receive("tea", "east", 9).unwrap();
    let first = story.hold("tea", 4);
    let second = story.later(5).hold("tea", 3);
    let third = story.later(5).hold("tea", 2);
    story.commit(third).unwrap();
    story.count("tea", "east", 5, None).unwrap();
    let query = Query::Deficits {
        after: None,
        limit: 10,
    };
    let QueryReply::Deficits(deficits) = story.ledger.query(&query).unwrap() else {
        panic!()
    };
    let [deficit] = &deficits[..] else {
        panic!("{deficits:?}")
    };
    assert_eq!(deficit.cell.deficit, 4);
    let affected: Vec<_> = deficit
        .reservations
        .iter()
        .map(|other| (other.reservation_id, other.quantity, other.short))
        .collect();
    assert_eq!(affected, [(first, 4, 0), (second, 3, 2), (third, 2, 2)]);
    story.receive("tea", "east", 4).unwrap();
    let none = story.ledger.query(&query).unwrap();
    assert_eq!(none, QueryReply::Deficits(vec![]));
}
