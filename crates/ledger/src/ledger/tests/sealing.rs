//! Tests of sealed operation ids, which keep late copies of a refused request from taking effect.

use super::*;

fn adjust(story: &mut Story, delta: i64) -> Command {
    story.command(Action::Adjust {
        sku: sku("tea"),
        warehouse: warehouse("east"),
        delta,
    })
}

fn seal(story: &mut Story, id: OperationId) -> Outcome {
    story.send(&Command::seal(id, Principal::new("holdfast").unwrap()))
}

#[test]
fn a_copy_of_a_refused_request_takes_no_effect_once_its_id_is_sealed() {
    let mut story = Story::by(Rules::Second);
    story.receive("tea", "east", 1).unwrap();
    let down = adjust(&mut story, -5);
    assert!(matches!(story.send(&down), Err(Refusal::InsufficientStock(_))));
    seal(&mut story, down.operation_id).unwrap();
    let changes = story.changes.len();
    story.receive("tea", "east", 10).unwrap();
    assert_eq!(story.send(&down), Err(Refusal::OperationSealed), "it comes late");
    assert_eq!(story.cell("tea", "east").on_hand, 11);
    assert_eq!(story.changes.len(), changes + 1, "a seal makes no change");
    let again = seal(&mut story, down.operation_id);
    assert!(
        matches!(again, Ok(Success::Stocked { replayed: true, .. })),
        "{again:?}"
    );
    let preview = story.ledger.preview(story.now_ms(), &down);
    assert_eq!(preview, Some(Err(Refusal::OperationSealed)));
}

#[test]
fn an_id_that_took_effect_is_not_sealed_and_keeps_its_answer() {
    let mut story = Story::by(Rules::Second);
    story.receive("tea", "east", 9).unwrap();
    let down = adjust(&mut story, -5);
    story.send(&down).unwrap();
    let hold = story.hold("tea", 1);
    for id in [down.operation_id, hold] {
        assert_eq!(seal(&mut story, id), Err(Refusal::OperationIdReused));
    }
    let again = story.send(&down);
    assert!(
        matches!(again, Ok(Success::Stocked { replayed: true, .. })),
        "{again:?}"
    );
    assert_eq!(story.state(hold), Some(ReservationState::Held));
}

#[test]
fn a_seal_lasts_as_long_as_the_id_could_be_used() {
    let mut story = Story::by(Rules::Second);
    let down = adjust(&mut story, -5);
    seal(&mut story, down.operation_id).unwrap();
    story.wait(LedgerOptions::default().operation_window_ms);
    assert_eq!(story.send(&down), Err(Refusal::OperationSealed));
    story.wait(1);
    assert!(matches!(
        story.send(&down),
        Err(Refusal::OperationIdTooOld { .. })
    ));
    assert!(matches!(
        seal(&mut story, down.operation_id),
        Err(Refusal::OperationIdTooOld { .. })
    ));
    assert_eq!(story.ledger.operations.len(), 0);
}

#[test]
fn by_the_first_rules_no_id_is_sealed() {
    let mut story = Story::new();
    let down = adjust(&mut story, -5);
    assert!(matches!(
        seal(&mut story, down.operation_id),
        Err(Refusal::InvalidRequest(_))
    ));
    story.receive("tea", "east", 9).unwrap();
    story.send(&down).unwrap();
}
