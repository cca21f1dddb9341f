use holdfast_api::v1::Pool;

use super::*;

fn cell(warehouse: &str, free: i64, pools: &[(&str, i64)]) -> Cell {
    let pools = pools.iter().map(|(storefront, quantity)| Pool {
        storefront: (*storefront).to_owned(),
        quantity: *quantity,
    });
    Cell {
        sku: "SHIRT-1".to_owned(),
        warehouse: warehouse.to_owned(),
        free,
        pools: pools.collect(),
        ..Cell::default()
    }
}

fn numbers(of: &[(&str, i64)]) -> BTreeMap<String, i64> {
    of.iter()
        .map(|(field, units)| ((*field).to_owned(), *units))
        .collect()
}

fn hash(of: &[(&str, &str)]) -> Hash {
    of.iter()
        .map(|(field, text)| ((*field).to_owned(), (*text).to_owned()))
        .collect()
}

fn found(ledger: &[(&str, i64)], redis: &[(&str, &str)]) -> Vec<String> {
    let mut found = Vec::new();
    different(0, "key", &numbers(ledger), &hash(redis), &mut found);
    let mut fields: Vec<String> = found.into_iter().map(|difference| difference.field).collect();
    fields.sort();
    fields
}

#[test]
fn a_storefront_can_sell_its_pools_and_what_it_may_borrow() {
    let cells = [cell("A", 5, &[("web", 3)]), cell("B", 7, &[])];
    let policies = BTreeMap::from([("app".to_owned(), false)]);
    let wanted = [
        ("*", 12),
        ("*@A", 5),
        ("*@B", 7),
        ("app", 0),
        ("app@A", 0),
        ("app@B", 0),
        ("web", 15),
        ("web@A", 8),
        ("web@B", 7),
    ];
    assert_eq!(sold_fields(&cells, &policies), numbers(&wanted));
}

#[test]
fn sums_beyond_64_bits_stay_at_the_largest_number() {
    let cells = [cell("A", i64::MAX, &[("web", 1)]), cell("B", i64::MAX, &[])];
    let sums = sold_fields(&cells, &BTreeMap::new());
    assert_eq!((sums["*"], sums["web@A"]), (i64::MAX, i64::MAX));
}

#[test]
fn numbers_are_compared_and_not_texts() {
    assert_eq!(found(&[("*", 5)], &[("*", "5")]), [""; 0]);
    assert_eq!(found(&[("*", 5)], &[("*", "6")]), ["*"]);
    assert_eq!(found(&[("*", 5)], &[("*", "five")]), ["*"]);
    assert_eq!(
        found(
            &[("free", 1)],
            &[("free", "1"), ("seq", "9"), ("log_time_ms", "9")]
        ),
        [""; 0]
    );
}

#[test]
fn a_missing_number_is_a_difference_except_of_a_pool() {
    assert_eq!(found(&[("*", 0)], &[]), ["*"]);
    assert_eq!(found(&[("*", 0), ("web", 0)], &[("*", "0")]), ["web"]);
    assert_eq!(found(&[("*", 0), ("web@A", 0)], &[("*", "0")]), ["web@A"]);
    assert_eq!(found(&[("free", 1), ("pool:web", 0)], &[("free", "1")]), [""; 0]);
    assert_eq!(
        found(&[("free", 1), ("pool:web", 2)], &[("free", "1")]),
        ["pool:web"]
    );
}

#[test]
fn a_storefront_that_the_ledger_forgot_must_have_the_numbers_of_everybody() {
    let ledger = [("*", 5), ("*@A", 5)];
    let with = |web, web_at_a| [("*", "5"), ("*@A", "5"), ("web", web), ("web@A", web_at_a)];
    assert_eq!(found(&ledger, &with("5", "5")), [""; 0]);
    assert_eq!(found(&ledger, &with("4", "4")), ["web", "web@A"]);
    // Its number is in the way of everybody's, so 0 is wrong, too.
    assert_eq!(found(&ledger, &with("0", "0")), ["web", "web@A"]);
}

#[test]
fn a_pattern_matches_only_its_own_text() {
    assert_eq!(escaped("a-b:1:{0003}:"), "a\\-b:1:{0003}:");
    assert_eq!(escaped("*?[]^\\"), "\\*\\?\\[\\]\\^\\\\");
}
