//! Tests of the adoption of newer rules.

use super::*;

#[test]
fn a_ledger_decides_by_the_rules_that_its_log_adopted_and_never_by_older_ones_again() {
    let mut story = Story::new();
    assert_eq!(story.ledger.rules(), Rules::First);
    let adopted = story.act(Action::AdoptRules { rules: Rules::Second });
    assert!(
        matches!(adopted, Ok(Success::Stocked { replayed: false, .. })),
        "{adopted:?}"
    );
    assert_eq!(story.ledger.rules(), Rules::Second);
    for rules in [Rules::First, Rules::Second] {
        let again = story.act(Action::AdoptRules { rules });
        assert!(
            matches!(again, Ok(Success::Stocked { replayed: true, .. })),
            "{again:?}"
        );
        assert_eq!(story.ledger.rules(), Rules::Second);
    }
    assert!(story.changes.is_empty());
}

#[test]
fn a_snapshot_keeps_the_rules_and_that_of_the_first_rules_is_as_the_first_release_wrote_it() {
    let mut story = Story::new();
    story.receive("tea", "east", 5).unwrap();
    let first = story.ledger.encode();
    assert_eq!(first[0], 2);
    assert_eq!(Ledger::decode(&first).unwrap().rules(), Rules::First);

    story.act(Action::AdoptRules { rules: Rules::Second }).unwrap();
    let second = story.ledger.encode();
    assert_eq!(second[0], 3);
    let decoded = Ledger::decode(&second).unwrap();
    assert_eq!(decoded.rules(), Rules::Second);
    assert_eq!(decoded.digest(), story.ledger.digest());
    assert_eq!(decoded.digest(), *blake3::hash(&second).as_bytes());
}

#[test]
fn a_snapshot_is_refused_when_it_says_other_rules_than_those_of_its_layout() {
    for (rules, others) in [(Rules::Second, [0, 2]), (Rules::Third, [0, 1])] {
        let whole = Story::by(rules).ledger.encode();
        for other in others {
            let mut bytes = whole.clone();
            bytes[1] = other;
            let refused = Ledger::decode(&bytes).unwrap_err();
            let expected = format!("the layout is that of rules {}", rules.number());
            assert!(refused.contains(&expected), "{refused}");
        }
        let mut unknown = whole.clone();
        unknown[1] = 200;
        assert!(Ledger::decode(&unknown).is_err());
    }
}
