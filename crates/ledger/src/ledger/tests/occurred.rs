//! Tests of business time: when something happened, as its command says.

use super::*;

const DAY_MS: u64 = 24 * 3_600_000;

fn at(occurred_at_ms: u64) -> Details {
    Details {
        occurred_at_ms: Some(occurred_at_ms),
        ..Details::default()
    }
}

#[test]
fn every_change_of_a_command_says_when_it_happened_and_expiry_does_not() {
    let mut story = Story::by(Rules::Second);
    story.receive("tea", "east", 5).unwrap();
    let past = START_MS - 5000 * DAY_MS;
    let lines = vec![line("tea", 2, Source::Any)];
    let reserve = Command {
        details: at(past),
        ..story.reserve_command(lines, ReserveMode::AllOrNothing)
    };
    story.send(&reserve).unwrap();
    story.wait(60_000);
    let told: Vec<_> = story
        .changes
        .iter()
        .map(|change| (change.kind, change.cause.occurred_at_ms))
        .collect();
    assert_eq!(
        told,
        [
            (ChangeKind::Received, None),
            (ChangeKind::Reserved, Some(past)),
            (ChangeKind::Expired, None)
        ]
    );
}

#[test]
fn a_retry_must_say_the_same_time() {
    let mut story = Story::by(Rules::Second);
    let receive = Action::Receive {
        sku: sku("tea"),
        warehouse: warehouse("east"),
        quantity: 1,
        supply_id: None,
    };
    let command = Command {
        details: at(START_MS - 1),
        ..story.command(receive)
    };
    story.send(&command).unwrap();
    let again = story.send(&command).unwrap();
    assert!(
        matches!(again, Success::Stocked { replayed: true, .. }),
        "{again:?}"
    );
    for details in [at(START_MS - 2), Details::default()] {
        let other = Command {
            details,
            ..command.clone()
        };
        assert_eq!(story.send(&other), Err(Refusal::OperationIdReused));
    }
    assert_eq!(story.cell("tea", "east").on_hand, 1);
}

#[test]
fn a_time_is_bounded_by_log_time() {
    let mut story = Story::by(Rules::Second);
    let lead_ms = LedgerOptions::default().operation_lead_ms;
    let earliest = START_MS - limits::MAX_OCCURRED_AGO_MS;
    for (time_ms, is_taken) in [
        (START_MS + lead_ms, true),
        (START_MS + lead_ms + 1, false),
        (earliest, true),
        (earliest - 1, false),
        // These are in seconds by mistake.
        (START_MS / 1000, false),
        (0, false),
        (u64::MAX, false),
    ] {
        let receive = Action::Receive {
            sku: sku("tea"),
            warehouse: warehouse("east"),
            quantity: 1,
            supply_id: None,
        };
        let command = Command {
            details: at(time_ms),
            ..story.command(receive)
        };
        let previewed = story.ledger.preview(START_MS, &command);
        let outcome = story.send(&command);
        assert_eq!(outcome.is_ok(), is_taken, "{time_ms}: {outcome:?}");
        assert_eq!(previewed.is_none(), is_taken, "{time_ms}: {previewed:?}");
    }
}

#[test]
fn the_first_rules_take_no_details_whatever_is_due() {
    let mut story = Story::new();
    story.receive("tea", "east", 1).unwrap();
    story.hold("tea", 1);
    let receive = Action::Receive {
        sku: sku("tea"),
        warehouse: warehouse("east"),
        quantity: 1,
        supply_id: None,
    };
    let command = Command {
        details: at(START_MS),
        ..story.command(receive)
    };
    // A hold is due by then, so other commands would go through the log.
    let previewed = story.ledger.preview(START_MS + 100_000, &command);
    assert!(
        matches!(previewed, Some(Err(Refusal::InvalidRequest(_)))),
        "{previewed:?}"
    );
    let refused = story.send(&command);
    assert!(matches!(refused, Err(Refusal::InvalidRequest(_))), "{refused:?}");
}
