//! Tests of the warehouses that fill a whole request, and of the reasons.

use super::*;

/// Begins a story with this stock: SKU, warehouse, units.
fn stocked(stock: &[(&str, &str, i64)]) -> Story {
    let mut story = Story::new();
    for (name, at, quantity) in stock {
        story.receive(name, at, *quantity).unwrap();
    }
    story
}

/// Returns the warehouse, the units and the reason, by line.
fn chosen(
    story: &mut Story,
    lines: Vec<ReserveLine>,
    sourcing: Sourcing,
) -> Vec<Vec<(String, i64, SourcingReason)>> {
    let command = story.command(Action::Reserve {
        storefront: storefront("web"),
        lines,
        ttl_ms: 60_000,
        mode: ReserveMode::AllOrNothing,
        sourcing,
    });
    let first = story.send(&command).unwrap();
    let again = story.send(&command).unwrap();
    let granted = |success: Success| match success {
        Success::Reserved { lines, .. } => lines,
        other => panic!("{other:?}"),
    };
    let lines = granted(first);
    assert_eq!(granted(again), lines, "a replay explains alike");
    lines
        .into_iter()
        .map(|line| {
            let all = line.allocations.into_iter();
            all.map(|part| (part.warehouse.to_string(), part.from_free, part.reason))
                .collect()
        })
        .collect()
}

fn part(at: &str, units: i64, reason: SourcingReason) -> (String, i64, SourcingReason) {
    (at.to_owned(), units, reason)
}

use SourcingReason::{FewestShipments, FirstFillingAll, MostAvailable, OnlySource, Preferred, SpillOver};

#[test]
fn fewest_shipments_prefers_the_one_warehouse_that_has_every_line() {
    let all = [("tea", "a", 9), ("cup", "b", 9), ("tea", "z", 2), ("cup", "z", 2)];
    let order = || vec![line("tea", 2, Source::Any), line("cup", 2, Source::Any)];
    let mut story = stocked(&all);
    let each_by_itself = chosen(&mut story, order(), Sourcing::AsGiven);
    assert_eq!(
        each_by_itself,
        [[part("a", 2, FirstFillingAll)], [part("b", 2, FirstFillingAll)]]
    );
    let mut story = stocked(&all);
    let together = chosen(&mut story, order(), Sourcing::FewestShipments);
    assert_eq!(
        together,
        [[part("z", 2, FewestShipments)], [part("z", 2, FewestShipments)]]
    );
}

#[test]
fn fewest_shipments_begins_with_the_warehouses_that_lines_insist_on() {
    let mut story = stocked(&[("tea", "a", 5), ("tea", "q", 5), ("cup", "q", 5), ("pot", "a", 1)]);
    let lines = vec![
        line("tea", 5, Source::Any),
        line("cup", 1, Source::Warehouse(warehouse("q"))),
        line("pot", 1, Source::Preference(vec![warehouse("q"), warehouse("a")])),
    ];
    let found = chosen(&mut story, lines, Sourcing::FewestShipments);
    assert_eq!(
        found,
        [
            [part("q", 5, FewestShipments)],
            [part("q", 1, OnlySource)],
            [part("a", 1, FewestShipments)]
        ]
    );
}

#[test]
fn what_two_lines_want_of_one_cell_spills_over() {
    let mut story = stocked(&[("tea", "a", 4), ("tea", "b", 3)]);
    let lines = vec![
        line("tea", 3, Source::Any),
        line("tea", 2, Source::Preference(vec![warehouse("a"), warehouse("b")])),
    ];
    let found = chosen(&mut story, lines, Sourcing::FewestShipments);
    let expected = [
        vec![part("a", 3, FewestShipments)],
        vec![part("a", 1, FewestShipments), part("b", 1, SpillOver)],
    ];
    assert_eq!(found, expected);
}

#[test]
fn balance_takes_from_where_most_is_even_when_others_could_fill_the_line() {
    let mut story = stocked(&[("tea", "a", 4), ("tea", "b", 6), ("tea", "c", 6)]);
    let found = chosen(&mut story, vec![line("tea", 3, Source::Any)], Sourcing::Balance);
    assert_eq!(found, [[part("b", 3, MostAvailable)]]);
    let list = Source::Preference(vec![warehouse("a"), warehouse("c")]);
    let found = chosen(&mut story, vec![line("tea", 7, list)], Sourcing::Balance);
    assert_eq!(found, [[part("c", 6, MostAvailable), part("a", 1, SpillOver)]]);
}

#[test]
fn each_choice_as_given_is_explained() {
    let mut story = stocked(&[("tea", "a", 1), ("tea", "b", 6), ("tea", "c", 5)]);
    let list = Source::Preference(vec![warehouse("x"), warehouse("a"), warehouse("c")]);
    let found = chosen(&mut story, vec![line("tea", 2, list)], Sourcing::AsGiven);
    assert_eq!(found, [[part("a", 1, Preferred), part("c", 1, SpillOver)]]);
    let only = Source::Warehouse(warehouse("c"));
    let found = chosen(&mut story, vec![line("tea", 1, only)], Sourcing::AsGiven);
    assert_eq!(found, [[part("c", 1, OnlySource)]]);
    let found = chosen(&mut story, vec![line("tea", 8, Source::Any)], Sourcing::AsGiven);
    assert_eq!(found, [[part("b", 6, MostAvailable), part("c", 2, SpillOver)]]);
    let told: Vec<_> = story
        .changes
        .iter()
        .filter_map(|change| change.reservation.as_ref()?.sourcing)
        .collect();
    assert_eq!(told, [Preferred, SpillOver, OnlySource, MostAvailable, SpillOver]);
}
