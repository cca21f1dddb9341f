//! Whole imports into real ledgers in memory: their results, and that an interruption at any point changes
//! nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use holdfast_client::{ClientError, v1};
use holdfast_ledger::{CellView, Entry, Ledger, LedgerOptions, Query, QueryReply, Success};
use holdfast_node::mapping::{inbound, outbound};
use tokio_util::sync::CancellationToken;

use super::applied::Applied;
use super::book::{Book, Refused};
use super::error::RunError;
use super::identity::Source;
use super::initial_stock::InitialStock;
use super::known::Known;
use super::plan::{Plan, PlanOptions, plan};
use super::requests::{Requests, first_day};
use super::run::Run;
use super::target::{Answer, Request, Target};
use crate::read::{Mapping, OrderRows, read_orders};
use crate::reject::Reject;

mod files;
mod ledgers;

use ledgers::{CutOff, Ledgers};

const MAPPING: &str = include_str!("../../../../docs/mappings/online-retail.toml");
const BEGAN_MS: u64 = 1_900_000_000_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// An import of the fixture, which can be run any number of times.
struct Import {
    file: OrderRows,
    source: Source,
    options: PlanOptions,
    /// The plan of the last run.
    plan: Plan,
    warehouses: Vec<String>,
    best_effort: bool,
    ledgers: Arc<Ledgers>,
    epoch_ms: u64,
    /// Refusals that the state file would remember.
    refused: BTreeMap<u64, Refused>,
}

impl Import {
    fn new(content: &[u8], initial_stock: InitialStock, warehouses: &[&str], best_effort: bool) -> Self {
        let ledgers = Arc::new(Ledgers::new(3, BEGAN_MS));
        Self::into(ledgers, content, initial_stock, warehouses, best_effort)
    }

    /// Makes an import into ledgers that others imported into before.
    fn into(
        ledgers: Arc<Ledgers>,
        content: &[u8],
        initial_stock: InitialStock,
        warehouses: &[&str],
        best_effort: bool,
    ) -> Self {
        let mapping = Mapping::parse(MAPPING).unwrap();
        let file = read_orders(content, &mapping).unwrap();
        let options = PlanOptions {
            warehouses: warehouses.len(),
            initial_stock,
        };
        Self {
            plan: plan(&file, &ledgers.topology(), &options, &Known::default()),
            source: Source::of_content("shop", content),
            file,
            options,
            warehouses: warehouses.iter().map(|name| (*name).to_owned()).collect(),
            best_effort,
            ledgers,
            epoch_ms: BEGAN_MS,
            refused: BTreeMap::new(),
        }
    }

    fn fixture(initial_stock: InitialStock) -> Self {
        Self::new(&fixture(), initial_stock, &["UK-1"], false)
    }

    /// Runs the import as the command does: it scans the change stream first, and knows the refusals of
    /// earlier runs.
    async fn run(&mut self) -> (Result<(), RunError>, Book) {
        let mut applied = Applied::default();
        let reason = self.source.reason();
        self.ledgers
            .changes()
            .iter()
            .for_each(|change| applied.note(change, &reason));
        let known = Known::find(&self.file.rows, &self.source, &applied, self.best_effort);
        self.plan = plan(&self.file, &self.ledgers.topology(), &self.options, &known);
        let mut book = Book::new(self.file.rows.len());
        for (index, row) in self.file.rows.iter().enumerate() {
            if let Some(refused) = self.refused.get(&row.number) {
                book.refuse(index, refused.reason, refused.detail.clone());
            }
        }
        let run = Run {
            target: &*self.ledgers,
            rows: &self.file.rows,
            plan: &self.plan,
            requests: Requests {
                source: &self.source,
                epoch_ms: self.epoch_ms,
                warehouses: &self.warehouses,
                storefront: "online",
                best_effort: self.best_effort,
                first_day: first_day(&self.file.rows, self.epoch_ms),
            },
            applied: &applied,
            stop: CancellationToken::new(),
            tell: &|_| {},
            book: Mutex::new(book),
        };
        let done = run.run().await;
        let book = run.book.into_inner().unwrap();
        self.refused = book.refusals(&self.file.rows);
        (done, book)
    }

    async fn run_to_the_end(&mut self) -> Book {
        let (done, book) = self.run().await;
        done.unwrap();
        assert_eq!(
            book.imported() + self.rejects(&book).len() as u64,
            self.file.count()
        );
        book
    }

    fn rejects(&self, book: &Book) -> Vec<Reject> {
        book.rejects(&self.file.rows, &self.plan.rejects)
    }

    fn rejected(&self, book: &Book) -> Vec<(u64, &'static str)> {
        self.rejects(book)
            .iter()
            .map(|reject| (reject.row, reject.reason.code()))
            .collect()
    }
}

fn fixture() -> Vec<u8> {
    std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/orders/orders.csv"
    ))
    .unwrap()
}

fn lines(lines: &[&str]) -> Vec<u8> {
    let header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country";
    [&[header], lines].concat().join("\n").into_bytes()
}

/// Changes of each SKU's stock on hand, worked out from the fixture by hand.
const FIXTURE_MOVES: [(&str, i64); 13] = [
    ("10001", -6 - 13 + 4 - 48),
    ("10002A", -6 + 5),
    ("10003", -1),
    ("10004", -7),
    ("10005", -12 + 2),
    ("10006", 0),
    ("10007", -24),
    ("10008", -144 - 72 + 72 + 100 + 100 - 20),
    ("10009", 30 - 12),
    ("10010", -12),
    ("10011", -6),
    ("10012", -6),
    ("10099", 3),
];

#[tokio::test]
async fn every_row_of_the_fixture_is_settled_as_written_down_by_hand() {
    let mut import = Import::fixture(InitialStock::Enough);
    let book = import.run_to_the_end().await;
    let by_hand = [
        (5, "not_stock"),
        (11, "not_stock"),
        (18, "not_stock"),
        (24, "not_stock"),
        (25, "bad_quantity"),
        (26, "bad_quantity"),
        (27, "wrong_number_of_fields"),
        (28, "bad_encoding"),
        (29, "bad_sku"),
        (38, "bad_quantity"),
    ];
    assert_eq!(import.rejected(&book), by_hand);
    assert_eq!(book.imported(), 38 - 10);
    let units = book.units;
    assert_eq!(
        units.sold,
        6 + 6 + 1 + 13 + 2 + 12 + 1 + 24 + 144 + 12 + 12 + 48 + 72 + 6 + 6
    );
    assert_eq!(
        (units.cancelled, units.returned),
        (4 + 1 + 72, 5 + 3 + 2 + 100 + 100)
    );
    assert_eq!((units.adjusted_up, units.adjusted_down), (30, 7 + 20));
    let received = import.ledgers.received();
    let moved: BTreeMap<String, i64> = import
        .ledgers
        .cells()
        .into_iter()
        .map(|cell| {
            (
                cell.sku.as_str().to_owned(),
                cell.on_hand - received.get(cell.sku.as_str()).unwrap_or(&0),
            )
        })
        .collect();
    let mut expected: BTreeMap<String, i64> = FIXTURE_MOVES
        .into_iter()
        .map(|(sku, units)| (sku.to_owned(), units))
        .collect();
    expected.insert("DCGS0009".to_owned(), -2);
    assert_eq!(moved, expected);
    // Nothing stays promised.
    assert!(
        import
            .ledgers
            .cells()
            .iter()
            .all(|cell| cell.held == 0 && cell.committed == 0)
    );
}

#[tokio::test]
async fn importing_again_changes_nothing_with_and_without_the_state_file() {
    for stock in [InitialStock::Enough, InitialStock::Share(0.5)] {
        let mut import = Import::fixture(stock);
        let first = import.run_to_the_end().await;
        let (cells, changes) = (import.ledgers.cells(), import.ledgers.changes().len());
        for lose_the_state in [false, true] {
            if lose_the_state {
                import.refused.clear();
            }
            let again = import.run_to_the_end().await;
            assert_eq!(again.operations.applied + again.operations.replayed, 0);
            assert_eq!(import.ledgers.changes().len(), changes);
            assert_eq!(import.ledgers.cells(), cells);
            assert_eq!((again.units, again.imported()), (first.units, first.imported()));
            assert_eq!(again.reservations, first.reservations);
        }
    }
}

#[tokio::test]
async fn sending_everything_again_is_only_replayed() {
    let mut import = Import::fixture(InitialStock::Enough);
    let first = import.run_to_the_end().await;
    let cells = import.ledgers.cells();
    // Pretend that the change stream cannot be read: the ids alone make the repeat safe.
    import.ledgers.hide_changes();
    let again = import.run_to_the_end().await;
    assert_eq!(
        (again.operations.applied, again.operations.replayed),
        (0, first.operations.applied)
    );
    assert_eq!(import.ledgers.cells(), cells);
    assert_eq!(again.units, first.units);
}

#[tokio::test]
async fn an_import_cut_off_anywhere_ends_as_if_it_had_not_been() {
    for (stock, best_effort) in [
        (InitialStock::Enough, false),
        (InitialStock::Share(0.5), false),
        (InitialStock::Share(0.5), true),
    ] {
        let fixture = || Import::new(&fixture(), stock, &["UK-1"], best_effort);
        let mut whole = fixture();
        let expected = whole.run_to_the_end().await;
        let all = expected.operations.applied + expected.operations.refused;
        for cut in 0..all {
            let ways = [CutOff::Before, CutOff::Undecided, CutOff::After];
            for (lose_the_state, then) in ways.into_iter().flat_map(|then| [(false, then), (true, then)]) {
                let mut import = fixture();
                import.ledgers.cut_off_after(cut, then);
                assert!(import.run().await.0.is_err(), "cut {cut}");
                import.ledgers.mend();
                if lose_the_state {
                    import.refused.clear();
                }
                let book = import.run_to_the_end().await;
                assert_eq!(import.rejected(&book), whole.rejected(&expected), "cut {cut}");
                assert_eq!(book.units, expected.units, "cut {cut}");
                assert_eq!(import.ledgers.cells(), whole.ledgers.cells(), "cut {cut}");
            }
        }
    }
}

#[tokio::test]
async fn an_import_resumed_after_the_operation_window_gets_new_ids_and_does_nothing_twice() {
    let mut whole = Import::fixture(InitialStock::Enough);
    let expected = whole.run_to_the_end().await;
    for cut in 0..expected.operations.applied {
        let mut import = Import::fixture(InitialStock::Enough);
        import.ledgers.cut_off_after(cut, CutOff::After);
        assert!(import.run().await.0.is_err());
        import.ledgers.mend();
        // Holds of an import live for a week.
        import.ledgers.pass(3 * DAY_MS);
        import.epoch_ms += 3 * DAY_MS;
        let book = import.run_to_the_end().await;
        assert_eq!(
            (book.units, book.imported()),
            (expected.units, expected.imported()),
            "cut {cut}"
        );
        assert_eq!(import.ledgers.cells(), whole.ledgers.cells(), "cut {cut}");
    }
}

#[tokio::test]
async fn a_return_of_a_sale_that_the_ledger_has_forgotten_still_comes_back() {
    let content = lines(&["1,A1,,5,2031-03-01,1.0,7,X", "C2,A1,,-2,2031-03-02,1.0,7,X"]);
    let mut import = Import::new(&content, InitialStock::Enough, &["UK-1"], false);
    // Receive, reserve, commit, ship.
    import.ledgers.cut_off_after(4, CutOff::Before);
    assert!(import.run().await.0.is_err());
    import.ledgers.mend();
    import.ledgers.pass(200 * DAY_MS);
    import.epoch_ms += 200 * DAY_MS;
    let book = import.run_to_the_end().await;
    assert_eq!((book.units.returned, book.operations.refused), (2, 1));
    assert_eq!(import.ledgers.cells()[0].on_hand, 2);
    let again = import.run_to_the_end().await;
    assert_eq!((again.operations.applied, again.units), (0, book.units));
}

#[tokio::test]
async fn a_sale_without_stock_is_refused_with_what_there_was_and_so_is_its_cancellation() {
    let content = lines(&[
        "1,A1,,5,2031-03-01,1.0,7,X",
        "2,A1,,5,2031-03-01,1.0,8,X",
        "C3,A1,,-1,2031-03-01,1.0,8,X",
        "4,A1,,-3,2031-03-01,0.0,,X",
        "C5,A1,,-5,2031-03-02,1.0,7,X",
    ]);
    // The file needs 12, so 6 are there.
    let mut import = Import::new(&content, InitialStock::Share(0.5), &["UK-1"], false);
    let book = import.run_to_the_end().await;
    assert_eq!(
        import.rejected(&book),
        [
            (2, "insufficient_stock"),
            (3, "cancels_refused_sale"),
            (4, "insufficient_stock")
        ]
    );
    let rejects = import.rejects(&book);
    assert_eq!(rejects[0].detail, "asked for 5, available 1");
    assert_eq!(rejects[2].detail, "asked for 3, available 1");
    assert_eq!(import.ledgers.cells()[0].on_hand, 6);
}

#[tokio::test]
async fn an_order_over_several_shards_is_granted_whole_or_refused_whole() {
    // There is not enough of A3 for the first one.
    let order = |invoice: &str, of_a3: u32| -> Vec<String> {
        let quantity = |sku| if sku == 3 { of_a3 } else { 1 };
        (0..6)
            .map(|sku| format!("{invoice},A{sku},,{},2031-03-01,1.0,7,X", quantity(sku)))
            .collect()
    };
    let stock: Vec<String> = (0..6)
        .map(|sku| format!("F{sku},A{sku},found,4,2031-03-01,0.0,,X"))
        .collect();
    let rows = [stock, order("1", 5), order("2", 4)].concat();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let mut import = Import::new(&lines(&rows), InitialStock::None, &["UK-1"], false);
    assert!(import.plan.sales.iter().all(|sale| sale.shards.len() > 1));
    let book = import.run_to_the_end().await;
    let refused: Vec<(u64, &str)> = (7..=12).map(|row| (row, "insufficient_stock")).collect();
    assert_eq!(import.rejected(&book), refused);
    let rejects = import.rejects(&book);
    assert_eq!(rejects[3].detail, "asked for 5, available 4");
    assert_eq!(rejects[0].detail, "the order needs 5 of A3, available 4");
    assert_eq!((book.reservations, book.reservations_refused), (1, 1));
    let left: BTreeMap<String, i64> = import
        .ledgers
        .cells()
        .into_iter()
        .map(|cell| {
            assert_eq!((cell.held, cell.committed), (0, 0));
            (cell.sku.as_str().to_owned(), cell.on_hand)
        })
        .collect();
    let expected = |sku: u32| (format!("A{sku}"), if sku == 3 { 0 } else { 3 });
    assert_eq!(left, (0..6).map(expected).collect());
}

#[tokio::test]
async fn best_effort_fills_rows_in_file_order() {
    let content = lines(&[
        "1,A1,,4,2031-03-01,1.0,7,X",
        "1,A1,,4,2031-03-01,1.0,7,X",
        "1,A1,,4,2031-03-01,1.0,7,X",
        "C2,A1,,-7,2031-03-02,1.0,7,X",
        "C2,A1,,-2,2031-03-02,1.0,7,X",
    ]);
    let mut import = Import::new(&content, InitialStock::Share(0.5), &["UK-1"], true);
    let book = import.run_to_the_end().await;
    assert_eq!(
        import.rejected(&book),
        [
            (2, "partly_filled"),
            (3, "insufficient_stock"),
            (4, "partly_filled"),
            (5, "cancels_refused_sale")
        ]
    );
    assert_eq!((book.units.sold, book.units.returned), (6, 6));
    let again = import.run_to_the_end().await;
    assert_eq!((again.operations.applied, again.units), (0, book.units));
    assert_eq!(import.rejected(&again), import.rejected(&book));
}

#[tokio::test]
async fn with_best_effort_a_sale_cancelled_in_full_leaves_nothing_committed() {
    let content = lines(&["1,A1,,9,2031-03-01,1.0,7,X", "C2,A1,,-9,2031-03-01,1.0,7,X"]);
    let mut import = Import::new(&content, InitialStock::Share(0.5), &["UK-1"], true);
    let book = import.run_to_the_end().await;
    assert_eq!(
        import.rejected(&book),
        [(1, "partly_filled"), (2, "partly_filled")]
    );
    let cell = &import.ledgers.cells()[0];
    assert_eq!((cell.on_hand, cell.free, cell.committed), (5, 5, 0));
}

#[tokio::test]
async fn with_several_warehouses_enough_is_enough_in_each() {
    let mut import = Import::new(&fixture(), InitialStock::Enough, &["UK-1", "UK-2", "DE-1"], false);
    let book = import.run_to_the_end().await;
    assert_eq!(book.operations.refused, 0);
    assert!(
        import
            .ledgers
            .cells()
            .iter()
            .any(|cell| cell.warehouse.as_str() == "DE-1")
    );
}

#[tokio::test]
async fn neither_customers_nor_descriptions_are_sent() {
    let content = lines(&[
        "1,A1,SECRET NOTE,5,2031-03-01,1.0,CUSTOMER-77,SECRET COUNTRY",
        "C2,A1,SECRET NOTE,-5,2031-03-01,1.0,CUSTOMER-77,SECRET COUNTRY",
        "3,A1,SECRET NOTE,-5,2031-03-01,0.0,,SECRET COUNTRY",
    ]);
    let mut import = Import::new(&content, InitialStock::Enough, &["UK-1"], false);
    import.run_to_the_end().await;
    let sent = import.ledgers.sent();
    assert_eq!(sent.len(), 5);
    let text = format!("{sent:?}{:?}", import.refused);
    assert!(!text.contains("SECRET") && !text.contains("CUSTOMER"), "{text}");
    // Only the invoice number is sent, and a reason that marks the import.
    assert!(sent.iter().all(|request| {
        request
            .operation()
            .is_some_and(|operation| operation.reason.starts_with(&import.source.reason()))
    }));
}
