//! Tests of references that only one hold may have, in one shard.

use super::*;

fn unique(story: &mut Story, name: &str, quantity: i64) -> Command {
    let lines = vec![line(name, quantity, Source::Any)];
    let command = story.reserve_command(lines, ReserveMode::AllOrNothing);
    Command {
        details: Details {
            unique_reference: true,
            ..Details::default()
        },
        ..command
    }
}

fn stocked() -> Story {
    let mut story = Story::by(Rules::Second);
    story.receive("tea", "east", 50).unwrap();
    story
}

fn taken_by(command: &Command) -> Outcome {
    Err(Refusal::ReferenceTaken {
        reservation_id: command.operation_id,
    })
}

#[test]
fn an_order_that_is_saved_twice_is_held_once() {
    let mut story = stocked();
    let first = unique(&mut story, "tea", 1);
    let second = unique(&mut story, "tea", 1);
    story.send(&first).unwrap();
    assert_eq!(story.send(&second), taken_by(&first));
    assert!(matches!(
        story.send(&first),
        Ok(Success::Reserved { replayed: true, .. })
    ));
    story.commit(first.operation_id).unwrap();
    assert_eq!(story.send(&second), taken_by(&first));
    assert_eq!(story.cell("tea", "east").committed, 1);
}

#[test]
fn a_reference_is_free_again_after_release_and_expiry() {
    let mut story = stocked();
    let first = unique(&mut story, "tea", 1);
    story.send(&first).unwrap();
    let reservation_id = first.operation_id;
    story.act(Action::Release { reservation_id }).unwrap();
    let second = unique(&mut story, "tea", 1);
    story.send(&second).unwrap();
    story.wait(60_000);
    let third = unique(&mut story, "tea", 1);
    story.send(&third).unwrap();
}

#[test]
fn others_share_references_as_they_like() {
    let mut story = stocked();
    story.hold("tea", 1);
    let first = unique(&mut story, "tea", 1);
    story.send(&first).unwrap();
    story.hold("tea", 1);
    let mut of_another_storefront = unique(&mut story, "tea", 1);
    if let Action::Reserve { storefront: of, .. } = &mut of_another_storefront.action {
        *of = storefront("shop");
    }
    story.send(&of_another_storefront).unwrap();
    let mut another = unique(&mut story, "tea", 1);
    another.reference = Reference::new("doc-2").unwrap();
    story.send(&another).unwrap();
}

#[test]
fn a_replacement_takes_the_reference_over() {
    let mut story = stocked();
    let first = unique(&mut story, "tea", 1);
    story.send(&first).unwrap();
    let mut second = unique(&mut story, "tea", 2);
    second.details.replaces = Some(first.operation_id);
    story.send(&second).unwrap();
    let third = unique(&mut story, "tea", 1);
    assert_eq!(story.send(&third), taken_by(&second));
    let reservation_id = second.operation_id;
    story.act(Action::Release { reservation_id }).unwrap();
    story.send(&third).unwrap();
}

#[test]
fn an_empty_reference_cannot_be_unique() {
    let mut story = stocked();
    let mut command = unique(&mut story, "tea", 1);
    command.reference = Reference::default();
    assert!(matches!(story.send(&command), Err(Refusal::InvalidRequest(_))));
}

#[test]
fn a_reference_is_kept_as_long_as_its_reservation_is_remembered() {
    let mut story = stocked();
    let first = unique(&mut story, "tea", 1);
    story.send(&first).unwrap();
    let reservation_id = first.operation_id;
    story.commit(reservation_id).unwrap();
    let lines = Vec::new();
    story
        .act(Action::Ship {
            reservation_id,
            lines,
        })
        .unwrap();
    let retention_ms = LedgerOptions::default().shipped_retention_ms;
    story.wait(retention_ms);
    let second = unique(&mut story, "tea", 1);
    assert_eq!(story.send(&second), taken_by(&first));
    story.wait(1);
    let third = unique(&mut story, "tea", 1);
    story.send(&third).unwrap();
    let copy = Ledger::decode(&story.ledger.encode()).unwrap();
    assert_eq!(copy.digest(), story.ledger.digest());
}
