//! Tests of SKUs that a release without the second rules does not know.

use super::*;

const NEWER: &str = "Größe-XL rot";

/// Returns an action in two forms: itself, and as an action on a part.
fn with_part(action: Action) -> [Action; 2] {
    [action.clone(), Action::OfPart(Box::new(action))]
}

/// Returns every action that names a SKU. Actions with room for two SKUs also get a plain one in front.
fn naming(name: &str) -> Vec<Action> {
    let place = || warehouse("east");
    let transferred = || {
        ["tea", name].map(|name| TransferLine {
            sku: sku(name),
            quantity: 1,
        })
    };
    let lines = || vec![line("tea", 1, Source::Any), line(name, 1, Source::Any)];
    let terms = || OrderTerms {
        storefront: storefront("web"),
        ttl_ms: 1_000,
        mode: ReserveMode::AllOrNothing,
        sourcing: Sourcing::AsGiven,
        fingerprint: 7,
    };
    let part = || OrderPart {
        lines: (0..)
            .zip(lines())
            .map(|(number, line)| OrderLine { number, line })
            .collect(),
    };
    let actions = vec![
        Action::Reserve {
            storefront: storefront("web"),
            lines: lines(),
            ttl_ms: 1_000,
            mode: ReserveMode::BestEffort,
            sourcing: Sourcing::AsGiven,
        },
        Action::Return {
            of: ReturnOf::Unreferenced {
                sku: sku(name),
                warehouse: place(),
                quantity: 1,
            },
            disposition: Disposition::Restock,
        },
        Action::Receive {
            sku: sku(name),
            warehouse: place(),
            quantity: 1,
            supply_id: None,
        },
        Action::Adjust {
            sku: sku(name),
            warehouse: place(),
            delta: 1,
        },
        Action::Count {
            sku: sku(name),
            warehouse: place(),
            counted: 3,
            as_of_seq: None,
        },
        Action::MoveBucket {
            sku: sku(name),
            warehouse: place(),
            from: Bucket::Free,
            to: Bucket::Damaged,
            quantity: 1,
        },
        Action::SetPolicy {
            sku: sku(name),
            storefront: storefront("web"),
            may_borrow: true,
            max_per_reservation: 1,
            backorder_limit: 0,
            preorder_limit: 0,
            preorder_until_ms: 0,
        },
        Action::AllocatePool {
            sku: sku(name),
            warehouse: place(),
            storefront: storefront("web"),
            target: 1,
        },
        Action::TransferOut {
            lines: transferred().to_vec(),
            from: place(),
            to: warehouse("west"),
            expected_at_ms: 1,
        },
        Action::TransferIn {
            transfer_id: id_at(START_MS, 99),
            lines: transferred().to_vec(),
            disposition: Disposition::Restock,
        },
        Action::ExpectSupply {
            sku: sku(name),
            warehouse: place(),
            supply_id: SupplyId::new("po-1").unwrap(),
            quantity: 1,
            expected_at_ms: 1,
        },
        Action::Order(OrderStep::Begin {
            attempt: 1,
            home: 0,
            participants: vec![0, 1],
            part: Some(part()),
            terms: terms(),
        }),
        Action::Order(OrderStep::Prepare {
            attempt: 1,
            home: 1,
            part: part(),
            terms: terms(),
        }),
    ];
    actions.into_iter().flat_map(with_part).collect()
}

fn tells_to_adopt(outcome: &Outcome) -> bool {
    matches!(outcome, Err(Refusal::InvalidRequest(what)) if what.contains("holdfast cluster adopt-rules"))
}

#[test]
fn by_the_first_rules_no_command_takes_a_name_that_the_release_before_cannot_read() {
    for name in [NEWER, "a b", "ö", &"x".repeat(65)] {
        let mut story = Story::new();
        story.receive("tea", "east", 9).unwrap();
        let before = story.ledger.digest();
        for action in naming(name) {
            let command = story.command(action);
            let preview = story.ledger.preview(story.now_ms(), &command).unwrap();
            assert!(tells_to_adopt(&preview), "{preview:?}: {command:?}");
            let entry = Entry {
                log_time_ms: story.now_ms(),
                commands: vec![command],
            };
            let mut ledger = story.ledger.clone();
            let applied = ledger.apply(100, &entry).unwrap();
            assert_eq!(applied.outcomes, [preview]);
            assert!(applied.changes.is_empty());
        }
        assert_eq!(story.ledger.digest(), before);
    }
}

#[test]
fn what_is_due_lets_no_such_name_into_the_log() {
    let mut story = Story::new();
    story.receive("tea", "east", 9).unwrap();
    story.hold("tea", 1);
    let due_ms = story.ledger.next_due_ms().unwrap();
    for action in naming(NEWER) {
        let command = story.command(action);
        let preview = story.ledger.preview(due_ms, &command);
        assert!(preview.is_some_and(|preview| tells_to_adopt(&preview)));
    }
}

#[test]
fn plain_names_meet_no_such_refusal() {
    for action in naming(&"x".repeat(64)) {
        let mut story = Story::new();
        story.receive("tea", "east", 9).unwrap();
        let command = story.command(action);
        assert!(!tells_to_adopt(&story.send(&command)), "{command:?}");
    }
}

#[test]
fn a_name_is_taken_once_the_second_rules_are_adopted_if_only_by_the_command_before() {
    let mut story = Story::new();
    let adopt = story.command(Action::AdoptRules { rules: Rules::Second });
    let receive = story.command(Action::Receive {
        sku: sku(NEWER),
        warehouse: warehouse("east"),
        quantity: 9,
        supply_id: None,
    });
    assert!(tells_to_adopt(&story.send(&receive)));
    let outcomes = story.entry(vec![adopt, receive]);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    for action in naming(NEWER) {
        let command = story.command(action);
        let preview = story.ledger.preview(story.now_ms(), &command);
        assert!(!preview.is_some_and(|preview| tells_to_adopt(&preview)));
        assert!(!tells_to_adopt(&story.send(&command)));
    }
}

#[test]
fn stock_is_kept_by_the_bytes_of_a_name_and_survives_a_snapshot() {
    let mut story = Story::by(Rules::Second);
    let longest = ["ö".repeat(64), "ズ".repeat(42), "x".repeat(128)];
    // Composed and decomposed characters, and upper and lower case: other bytes are other SKUs.
    let names = ["\u{f6}", "o\u{308}", "tea", "Tea", NEWER, "サイズ-M", "АБВГД-1"]
        .into_iter()
        .chain(longest.iter().map(String::as_str));
    for (name, units) in names.clone().zip(1..) {
        story.receive(name, "east", units).unwrap();
        story.hold(name, 1);
    }
    story.ledger = Ledger::decode(&story.ledger.encode()).unwrap();
    for (name, units) in names.clone().zip(1..) {
        assert_eq!(story.cell(name, "east").on_hand, units, "{name}");
    }
    let mut sorted: Vec<&str> = names.collect();
    sorted.sort_unstable();
    let query = Query::ListCells {
        after: None,
        limit: 100,
    };
    let QueryReply::Cells(cells) = story.ledger.query(&query).unwrap() else {
        panic!("not a list")
    };
    assert!(cells.iter().map(|cell| cell.sku.as_str()).eq(sorted));
}

/// A request that can make a name known is checked for names that look like others
/// (`holdfast_api::names::lookalikes`). The requests here are not checked.
#[test]
fn what_only_takes_from_stock_makes_no_sku_known() {
    let mut story = Story::by(Rules::Second);
    story.receive("tea", "east", 9).unwrap();
    story.pool("tea", "east", "web", 1).unwrap();
    for action in naming(NEWER) {
        let takes = match &action {
            Action::Reserve { .. }
            | Action::MoveBucket { .. }
            | Action::TransferOut { .. }
            | Action::TransferIn { .. } => Some(action),
            Action::Adjust { sku, warehouse, .. } => Some(Action::Adjust {
                sku: sku.clone(),
                warehouse: warehouse.clone(),
                delta: -1,
            }),
            _ => None,
        };
        if let Some(action) = takes {
            let outcome = story.act(action);
            assert_eq!(story.ledger.stock.skus.len(), 1, "{outcome:?}");
        }
    }
    let mut line = line(NEWER, 1, Source::Warehouse(warehouse("east")));
    line.quantity = 5;
    for mode in [ReserveMode::AllOrNothing, ReserveMode::BestEffort] {
        let command = story.reserve_command(vec![line.clone(), self::line("tea", 1, Source::Any)], mode);
        let outcome = story.send(&command);
        assert_eq!(outcome.is_ok(), mode == ReserveMode::BestEffort);
        assert_eq!(story.ledger.stock.skus.len(), 1, "{outcome:?}");
    }
}
