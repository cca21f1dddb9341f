//! Tests orders over several shards: whole ones are clean, torn and unsettled ones are found.

mod random;
mod shop;
mod transfers;

use super::world::START_MS;
use super::*;
use crate::verify::{OrdersReport, Unsettled};
use shop::{Shop, TTL_MS};

#[test]
fn whole_orders_of_every_kind_of_end_are_clean_and_counted() {
    let mut shop = Shop::new(3);
    let paid = shop.held(&[1, 0, 2]);
    shop.commit_everywhere(&[1, 0, 2], paid);
    let released = shop.held(&[0, 2]);
    let by = shop.operation();
    for shard in [0, 2] {
        shop.settle(shard, released, ChangeKind::Released, Some(by));
    }
    let expired = shop.held(&[2, 1]);
    shop.worlds[2].log_time_ms += TTL_MS;
    for shard in [2, 1] {
        shop.settle(shard, expired, ChangeKind::Expired, None);
    }
    let aborted = shop.order(0);
    shop.prepare(1, aborted, 3);
    shop.settle(1, aborted, ChangeKind::Aborted, None);
    shop.held(&[0, 1]);
    for kind in [ChangeKind::Shipped, ChangeKind::Returned] {
        let world = &mut shop.worlds[0];
        let at = world.holds.iter().position(|hold| hold.id == paid).unwrap();
        assert!(world.move_units(at, kind, 2));
        world.end_entry();
    }
    let report = shop.verify();
    assert!(report.ok, "{report}");
    let orders = OrdersReport {
        orders: 5,
        parts: 3 + 2 + 2 + 1 + 2,
        prepared: 0,
        not_judged: 0,
    };
    assert_eq!(report.orders, orders);
    assert_eq!(
        report.reservations, 4,
        "an order counts once, an aborted one never"
    );
    assert!(
        report
            .to_string()
            .contains("orders over several shards: 5 in 10 parts, 0 left prepared"),
        "{report}"
    );
}

/// Makes a hold in one shard alone.
fn hold_alone(shop: &mut Shop, shard: u32, id: [u8; 16]) {
    shop.alone.insert((shard, id.to_vec()));
    let held = (v1::ReservationState::Held, START_MS + TTL_MS);
    let world = &mut shop.worlds[shard as usize];
    world.take(ChangeKind::Reserved, id, "web", &[("SHIRT", "EAST", 3)], held);
    world.end_entry();
}

#[test]
fn one_id_that_two_shards_have_is_found_unless_it_is_one_order() {
    let mut shop = Shop::new(3);
    let id = shop.operation();
    for shard in [0, 2] {
        hold_alone(&mut shop, shard, id);
    }
    let report = shop.assert_only(Check::AmbiguousId);
    assert_eq!(report.findings.len(), 1, "{report}");
    assert_eq!(report.findings[0].shard, 2, "{report}");

    let mut shop = Shop::new(3);
    let order = shop.held(&[0, 1]);
    shop.commit_everywhere(&[0, 1], order);
    assert!(shop.verify().ok);
    hold_alone(&mut shop, 2, order);
    shop.assert_only(Check::AmbiguousId);
}

#[test]
fn units_that_an_order_gave_back_make_its_id_no_second_thing() {
    let mut shop = Shop::new(2);
    let id = shop.order(0);
    shop.prepare(1, id, 3);
    shop.settle(1, id, ChangeKind::Aborted, Some(id));
    hold_alone(&mut shop, 0, id);
    let report = shop.verify();
    assert!(report.ok, "{report}");
}

#[test]
fn an_order_may_be_tried_again_after_an_abort() {
    let mut shop = Shop::new(2);
    let id = shop.order(0);
    for shard in [0, 1] {
        shop.prepare(shard, id, 3);
        shop.settle(shard, id, ChangeKind::Aborted, Some(id));
    }
    for shard in [0, 1] {
        shop.prepare(shard, id, 3);
    }
    shop.confirm(0, id);
    shop.confirm(1, id);
    shop.commit_everywhere(&[0, 1], id);
    let report = shop.verify();
    assert!(report.ok, "{report}");
    assert_eq!((report.orders.orders, report.reservations), (1, 1));
}

#[test]
fn a_participant_that_missed_the_confirmation_goes_straight_to_what_came_after_it() {
    for kind in [ChangeKind::Committed, ChangeKind::Released, ChangeKind::Expired] {
        let mut shop = Shop::new(2);
        let id = shop.order(1);
        shop.prepare(0, id, 3);
        shop.prepare(1, id, 3);
        shop.confirm(1, id);
        let by = (kind != ChangeKind::Expired).then(|| shop.operation());
        if by.is_none() {
            shop.worlds[1].log_time_ms += TTL_MS;
        }
        shop.settle(1, id, kind, by);
        shop.settle(0, id, kind, by);
        let report = shop.verify();
        assert!(report.ok, "{report}");
    }
}

#[test]
fn a_home_decides_an_order_before_it_ends() {
    let mut shop = Shop::new(2);
    let id = shop.order(0);
    shop.prepare(0, id, 3);
    shop.prepare(1, id, 3);
    shop.commit_everywhere(&[0, 1], id);
    shop.assert_only(Check::WrongState);
}

#[test]
fn a_home_without_units_tells_its_decisions_as_notes() {
    for kind in [ChangeKind::Committed, ChangeKind::Released, ChangeKind::Expired] {
        let mut shop = Shop::new(2);
        let id = shop.order(0);
        shop.prepare(1, id, 3);
        shop.confirm(0, id);
        shop.confirm(1, id);
        let by = (kind != ChangeKind::Expired).then(|| shop.operation());
        if by.is_none() {
            shop.worlds[0].log_time_ms += TTL_MS;
        }
        shop.note(0, id, kind, by);
        shop.settle(1, id, kind, by);
        let report = shop.verify();
        assert!(report.ok, "{report}");
        assert_eq!(report.shards[0].open_reservations, 0);
    }
    let mut shop = Shop::new(2);
    let id = shop.order(0);
    shop.prepare(1, id, 3);
    shop.note(0, id, ChangeKind::Aborted, Some(id));
    shop.settle(1, id, ChangeKind::Aborted, Some(id));
    let report = shop.verify();
    assert!(report.ok, "{report}");
}

#[test]
fn a_note_never_stands_for_units_that_are_there() {
    let mut shop = Shop::new(2);
    let id = shop.held(&[0, 1]);
    let by = shop.operation();
    shop.settle(1, id, ChangeKind::Committed, Some(by));
    shop.note(0, id, ChangeKind::Committed, Some(by));
    let report = shop.verify();
    for check in [Check::ExceedsLine, Check::WrongState] {
        assert!(report.counts.contains_key(&check), "{report}");
    }
}

#[test]
fn the_time_of_an_order_is_that_of_its_home() {
    let late = TTL_MS + 1;
    let mut shop = Shop::new(2);
    let id = shop.held(&[0, 1]);
    shop.worlds[1].log_time_ms += late;
    shop.commit_everywhere(&[0, 1], id);
    assert!(shop.verify().ok, "the participant's clock is ahead");

    let mut shop = Shop::new(2);
    let id = shop.held(&[0, 1]);
    shop.worlds[0].log_time_ms += late;
    shop.commit_everywhere(&[0, 1], id);
    shop.assert_only(Check::UsedAfterExpiry);

    let mut shop = Shop::new(2);
    let id = shop.held(&[0, 1]);
    for shard in [0, 1] {
        shop.settle(shard, id, ChangeKind::Expired, None);
    }
    let report = shop.assert_only(Check::ExpiredEarly);
    assert_eq!(report.findings[0].shard, 0);
}

#[test]
fn an_order_is_never_paid_in_one_shard_and_given_back_in_another() {
    for other in [ChangeKind::Released, ChangeKind::Expired] {
        let mut shop = Shop::new(3);
        let id = shop.held(&[0, 1, 2]);
        shop.commit_everywhere(&[0, 2], id);
        let by = (other == ChangeKind::Released).then(|| shop.operation());
        shop.settle(1, id, other, by);
        let report = shop.assert_only(Check::TornOrder);
        assert_eq!((report.findings.len(), report.findings[0].shard), (1, 1));
    }
}

#[test]
fn an_order_is_never_held_in_one_shard_and_aborted_in_another() {
    let mut shop = Shop::new(2);
    let id = shop.order(0);
    shop.prepare(0, id, 3);
    shop.prepare(1, id, 3);
    shop.confirm(0, id);
    shop.settle(1, id, ChangeKind::Aborted, Some(id));
    shop.assert_only(Check::TornOrder);
}

#[test]
fn an_order_that_was_refused_may_be_followed_by_a_smaller_one_with_its_id() {
    let mut shop = Shop::new(3);
    let id = shop.order(0);
    // The home had too little for the first order. Its second line comes back while the second order is held.
    shop.prepare(1, id, 3);
    shop.prepare(0, id, 1);
    shop.prepare(2, id, 1);
    shop.confirm(0, id);
    shop.confirm(2, id);
    shop.settle(1, id, ChangeKind::Aborted, Some(id));
    // The two lines have only their number in common.
    shop.same_lines(1, 2);
    let report = shop.verify();
    assert!(report.ok, "{report}");
}

#[test]
fn an_order_that_is_held_may_be_asked_for_again_and_gives_back_what_that_took() {
    let mut shop = Shop::new(3);
    let id = shop.held(&[0, 2]);
    // Best effort had found nothing here before; there is something by then.
    shop.worlds[1].log_time_ms += 1_000;
    shop.prepare(1, id, 3);
    shop.settle(1, id, ChangeKind::Aborted, Some(id));
    let report = shop.verify();
    assert!(report.ok, "{report}");
}

#[test]
fn best_effort_may_leave_a_part_out() {
    let mut shop = Shop::new(2);
    let id = shop.order(0);
    shop.prepare(0, id, 25);
    shop.prepare(1, id, 3);
    shop.confirm(0, id);
    shop.settle(1, id, ChangeKind::Aborted, Some(id));
    let report = shop.verify();
    assert!(report.ok, "{report}");
}

#[test]
fn an_order_is_held_by_its_home_first() {
    let mut shop = Shop::new(2);
    let id = shop.order(0);
    shop.prepare(1, id, 3);
    shop.confirm(1, id);
    shop.assert_only(Check::TornOrder);
}

#[test]
fn two_homes_of_one_order_are_one_too_many() {
    let mut shop = Shop::new(2);
    let id = shop.held(&[0, 1]);
    let mut verifier = Verifier::new();
    for shard in [0, 1] {
        shop.homes.insert(id, shard);
        let mut replay = verifier.shard(shard);
        for change in shop.history(shard) {
            replay.observe(&change).unwrap();
        }
        replay.end().unwrap();
    }
    let report = verifier.finish().unwrap();
    assert_eq!(
        report.counts.into_iter().collect::<Vec<_>>(),
        [(Check::AmbiguousId, 1)]
    );
}

#[test]
fn a_participant_follows_the_very_decision_of_its_home() {
    let mut shop = Shop::new(2);
    let id = shop.held(&[0, 1]);
    for shard in [0, 1] {
        let by = shop.operation();
        shop.settle(shard, id, ChangeKind::Released, Some(by));
    }
    shop.assert_only(Check::TornOrder);
}

#[test]
fn units_that_nobody_decided_are_unsettled_with_their_age() {
    let mut shop = Shop::new(2);
    let id = shop.order(0);
    shop.prepare(1, id, 3);
    shop.worlds[0].log_time_ms += 4_321;
    shop.worlds[0].receive("SHIRT", "EAST", 1);
    shop.worlds[0].end_entry();
    let report = shop.assert_only(Check::UnsettledOrder);
    assert!(
        report.findings[0].message.contains("prepared for 4321 ms"),
        "{report}"
    );
    assert_eq!((report.orders.prepared, report.findings[0].shard), (1, 1));
}

#[test]
fn a_participant_that_has_not_followed_is_unsettled() {
    let mut shop = Shop::new(2);
    let id = shop.held(&[0, 1]);
    let by = shop.operation();
    shop.settle(0, id, ChangeKind::Committed, Some(by));
    let report = shop.assert_only(Check::UnsettledOrder);
    assert_eq!((report.orders.prepared, report.findings[0].shard), (0, 1));
}

#[test]
fn a_participant_is_never_ahead_of_its_home() {
    let mut shop = Shop::new(2);
    let id = shop.held(&[0, 1]);
    let by = shop.operation();
    shop.settle(1, id, ChangeKind::Committed, Some(by));
    shop.assert_only(Check::TornOrder);
}

#[test]
fn an_order_takes_its_units_once_in_each_shard() {
    // A Prepare came again when the order was long closed, and took units for it.
    let mut shop = Shop::new(2);
    let id = shop.held(&[0, 1]);
    let by = shop.operation();
    for shard in [0, 1] {
        shop.settle(shard, id, ChangeKind::Released, Some(by));
    }
    shop.prepare(1, id, 3);
    shop.settle(1, id, ChangeKind::Released, Some(by));
    let report = shop.verify();
    assert!(report.counts.contains_key(&Check::ReservedTwice), "{report}");

    let mut shop = Shop::new(2);
    let id = shop.held(&[0, 1]);
    let by = shop.operation();
    for shard in [0, 1] {
        shop.settle(shard, id, ChangeKind::Released, Some(by));
    }
    shop.prepare(1, id, 3);
    shop.settle(1, id, ChangeKind::Aborted, Some(id));
    let report = shop.verify();
    assert!(
        report.ok,
        "a late Prepare that is given back harms nobody: {report}"
    );
}

#[test]
fn an_order_is_not_prepared_twice_and_not_aborted_once_it_is_held() {
    let mut shop = Shop::new(2);
    let id = shop.order(0);
    shop.prepare(0, id, 3);
    shop.prepare(0, id, 3);
    let report = shop.verify();
    assert!(report.counts.contains_key(&Check::ReservedTwice), "{report}");

    let mut shop = Shop::new(2);
    let id = shop.held(&[0, 1]);
    shop.settle(1, id, ChangeKind::Aborted, Some(id));
    let report = shop.verify();
    assert!(report.counts.contains_key(&Check::WrongState), "{report}");
}

#[test]
fn what_is_on_its_way_is_followed_until_it_is_settled() {
    let mut shop = Shop::new(2);
    let id = shop.held(&[1, 0]);
    shop.commit_everywhere(&[1, 0], id);
    let prepared_only = 2;
    let mut verifier = shop.verifier(|shard| if shard == 0 { prepared_only } else { u64::MAX });
    let unsettled = verifier.unsettled().unwrap();
    let behind = last_seq(&shop.history(1));
    assert_eq!(
        unsettled,
        [Unsettled {
            reservation_id: id,
            shards: vec![(0, prepared_only), (1, behind)]
        }]
    );
    for change in shop.history(0).iter().filter(|change| change.seq > prepared_only) {
        assert_eq!(verifier.unsettled().unwrap().len(), 1);
        verifier.follow(change);
        // Delivery is at least once.
        verifier.follow(change);
    }
    assert_eq!(verifier.unsettled().unwrap(), []);
    let report = verifier.finish().unwrap();
    assert!(report.ok, "{report}");
    assert_eq!(report.orders.prepared, 0);
}

#[test]
fn streams_that_were_cut_may_have_orders_on_their_way_but_no_old_ones() {
    let mut shop = Shop::new(2);
    let id = shop.order(0);
    shop.prepare(1, id, 3);
    let verify = |shop: &Shop| {
        let mut verifier = shop.verifier(|_| u64::MAX);
        verifier.allow_in_flight(60_000);
        verifier.finish().unwrap()
    };
    let report = verify(&shop);
    assert!(report.ok, "{report}");
    assert_eq!((report.orders.prepared, report.orders.not_judged), (1, 1));
    assert!(report.to_string().contains("not judged: 1 orders"), "{report}");
    for world in &mut shop.worlds {
        world.log_time_ms += 60_000;
        world.receive("SHIRT", "EAST", 1);
        world.end_entry();
    }
    let report = verify(&shop);
    assert_eq!(
        report.counts.into_iter().collect::<Vec<_>>(),
        [(Check::UnsettledOrder, 1)]
    );
}

#[test]
fn one_shard_alone_says_nothing_about_the_others() {
    let mut shop = Shop::new(2);
    let id = shop.held(&[0, 1]);
    shop.commit_everywhere(&[0, 1], id);
    let mut verifier = Verifier::new();
    let mut replay = verifier.shard(1);
    for change in shop.history(1) {
        replay.observe(&change).unwrap();
    }
    replay.end().unwrap();
    let report = verifier.finish().unwrap();
    assert!(report.ok, "{report}");
    assert_eq!((report.orders.orders, report.orders.parts), (1, 1));
}

#[test]
fn the_steps_of_an_order_that_cannot_be_understood_are_malformed() {
    let mut shop = Shop::new(2);
    let id = shop.held(&[0, 1]);
    shop.homes.remove(&id);
    let report = shop.verify();
    assert_eq!(report.counts[&Check::Malformed], 4, "{report}");

    let mut shop = Shop::new(1);
    let world = &mut shop.worlds[0];
    world.reserve("web", &[("SHIRT", "EAST", 1)], TTL_MS);
    world.end_entry();
    let id = world.holds[0].id;
    shop.homes.insert(id, 0);
    assert!(shop.verify().counts.contains_key(&Check::Malformed));
}
