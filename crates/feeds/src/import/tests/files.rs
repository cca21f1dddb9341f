//! The same documents in several files: cut, overlapping, saved again, edited, in any order.

use proptest::prelude::*;

use super::*;

async fn import(ledgers: &Arc<Ledgers>, rows: &[&str]) -> (Import, Book) {
    import_text(ledgers, &lines(rows)).await
}

async fn import_text(ledgers: &Arc<Ledgers>, content: &[u8]) -> (Import, Book) {
    let ledgers = Arc::clone(ledgers);
    let mut import = Import::into(ledgers, content, InitialStock::None, &["UK-1"], false);
    let book = import.run_to_the_end().await;
    (import, book)
}

fn ledgers() -> Arc<Ledgers> {
    Arc::new(Ledgers::new(3, BEGAN_MS))
}

fn on_hand(ledgers: &Ledgers) -> BTreeMap<String, i64> {
    let cells = ledgers.cells().into_iter();
    cells
        .map(|cell| {
            assert_eq!((cell.held, cell.committed), (0, 0), "{cell:?}");
            (cell.sku.as_str().to_owned(), cell.on_hand)
        })
        .collect()
}

const FOUND: &str = "F1,A1,,100,2031-03-01,0.0,,X";

#[tokio::test]
async fn an_order_that_stands_in_two_files_is_sold_once() {
    let day_1 = [
        FOUND,
        "70001,A1,,1,2031-03-01,1.0,1,X",
        "70002,A1,,1,2031-03-01,1.0,2,X",
        "70003,A1,,1,2031-03-01,1.0,3,X",
    ];
    let day_2 = ["70003,A1,,1,2031-03-01,1.0,3,X", "70004,A1,,1,2031-03-02,1.0,4,X"];
    let resaved = || String::from_utf8(lines(&day_1)).unwrap().replace('\n', "\r\n");
    for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2, 0]] {
        let ledgers = ledgers();
        // The second day needs this stock when it comes first.
        import(&ledgers, &[FOUND]).await;
        for file in order {
            match file {
                0 => import(&ledgers, &day_1).await,
                1 => import(&ledgers, &day_2).await,
                _ => import_text(&ledgers, resaved().as_bytes()).await,
            };
        }
        assert_eq!(
            on_hand(&ledgers),
            BTreeMap::from([("A1".to_owned(), 96)]),
            "{order:?}"
        );
    }
}

#[tokio::test]
async fn another_source_may_have_the_same_numbers() {
    let ledgers = ledgers();
    import(&ledgers, &[FOUND, "1,A1,,2,2031-03-01,1.0,1,X"]).await;
    let content = lines(&["1,A1,,3,2031-03-01,1.0,1,X"]);
    let mut other = Import::into(
        Arc::clone(&ledgers),
        &content,
        InitialStock::None,
        &["UK-1"],
        false,
    );
    other.source = Source::of_content("another shop", &content);
    let book = other.run_to_the_end().await;
    assert_eq!((book.imported(), book.units.sold), (1, 3));
    assert_eq!(on_hand(&ledgers)["A1"], 95);
}

#[tokio::test]
async fn the_same_file_as_another_sources_is_told_before_anything_is_done_twice() {
    let ledgers = ledgers();
    let rows = [
        FOUND,
        "1,A1,,2,2031-03-01,1.0,1,X",
        "C2,A1,,-1,2031-03-02,1.0,9,X",
    ];
    let (import, _) = import(&ledgers, &rows).await;
    let mut applied = Applied::default();
    for change in ledgers.changes() {
        applied.note(&change, &import.source.reason());
    }
    let known = |name: &str| {
        let source = Source::of_content(name, &lines(&rows));
        Known::find(&import.file.rows, &source, &applied, false)
    };
    assert_eq!(known("shop").foreign(), None);
    assert_eq!(known("another shop").foreign(), Some("1"));
}

#[tokio::test]
async fn an_edited_document_is_told_with_what_differs_and_has_no_effect() {
    let original = [
        FOUND,
        "F2,B2,,100,2031-03-01,0.0,,X",
        "1,A1,,2,2031-03-01,1.0,1,X",
        "1,B2,,3,2031-03-01,1.0,1,X",
        "C2,A1,,-1,2031-03-02,1.0,9,X",
        "C2,A1,,-4,2031-03-02,1.0,9,X",
        "3,A1,,-5,2031-03-02,0.0,,X",
    ];
    for (edited, what) in [
        (
            vec!["1,A1,,2,2031-03-01,1.0,1,X"],
            "3 of B2 sold before, none here",
        ),
        (
            vec!["1,A1,,2,2031-03-01,1.0,1,X", "1,B2,,4,2031-03-01,1.0,1,X"],
            "3 of B2 sold before, 4 here",
        ),
        (
            vec![original[2], original[3], "1,E5,,1,2031-03-01,1.0,1,X"],
            "none of E5 sold before, 1 here",
        ),
        (
            vec!["C2,A1,,-1,2031-03-02,1.0,9,X"],
            "4 of A1 taken back before, none here",
        ),
        (
            vec![original[4], original[5], "C2,A1,,-6,2031-03-02,1.0,9,X"],
            "none of A1 taken back before, 6 here",
        ),
        (
            vec!["3,A1,,-6,2031-03-02,0.0,,X"],
            "-5 of A1 adjusted before, -6 here",
        ),
    ] {
        let ledgers = ledgers();
        import(&ledgers, &original).await;
        let (before, changes) = (on_hand(&ledgers), ledgers.changes().len());
        let (import, book) = import(&ledgers, &edited).await;
        let rejects = import.rejects(&book);
        assert_eq!(rejects.len(), edited.len(), "{rejects:?}");
        for reject in rejects {
            assert_eq!(reject.reason.code(), "changed_document");
            assert!(
                reject.detail.contains(what),
                "{} instead of {what}",
                reject.detail
            );
        }
        assert_eq!((on_hand(&ledgers), ledgers.changes().len()), (before, changes));
    }
}

#[tokio::test]
async fn a_cancellation_of_an_order_that_another_file_has_shipped_comes_back() {
    let ledgers = ledgers();
    let sale = "1,A1,,5,2031-03-01,1.0,7,X";
    import(&ledgers, &[FOUND, sale]).await;
    assert_eq!(on_hand(&ledgers)["A1"], 95);
    // The row is of the same day, so in a single file it would have cancelled the sale before it left.
    let (_, book) = import(&ledgers, &[sale, "C2,A1,,-2,2031-03-01,1.0,7,X"]).await;
    assert_eq!(
        (book.imported(), book.units.returned, book.units.cancelled),
        (2, 0, 2)
    );
    assert_eq!(on_hand(&ledgers)["A1"], 97);
    // This file has the sale and another return. The sale has three units left to give back, and four come
    // back.
    let (_, book) = import(&ledgers, &[sale, "C3,A1,,-4,2031-03-02,1.0,7,X"]).await;
    assert_eq!(book.imported(), 2);
    assert_eq!(on_hand(&ledgers)["A1"], 101);
}

#[tokio::test]
async fn stock_is_received_for_what_a_file_brings_anew() {
    let ledgers = ledgers();
    let one = |number: u32| format!("{number},A1,,1,2031-03-01,1.0,7,X");
    let (first, second) = ([one(1), one(2)], [one(2), one(3), one(4)]);
    for (rows, received) in [
        (&first[..], 2),
        (&second[..], 2),
        (&first[..], 2),
        (&second[..], 2),
    ] {
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let content = lines(&rows);
        let mut import = Import::into(
            Arc::clone(&ledgers),
            &content,
            InitialStock::Enough,
            &["UK-1"],
            false,
        );
        let book = import.run_to_the_end().await;
        assert_eq!(
            (book.imported(), book.units.received),
            (rows.len() as u64, received)
        );
    }
    assert_eq!(on_hand(&ledgers)["A1"], 0);
    assert_eq!(ledgers.received()["A1"], 4);
}

#[tokio::test]
async fn an_order_that_was_refused_is_tried_again_by_another_file() {
    let ledgers = ledgers();
    let sale = "1,A1,,5,2031-03-01,1.0,7,X";
    let (_, book) = import(&ledgers, &[sale]).await;
    assert_eq!(book.imported(), 0);
    let (_, book) = import(&ledgers, &[FOUND, sale]).await;
    assert_eq!(book.imported(), 2);
    assert_eq!(on_hand(&ledgers)["A1"], 95);
}

/// Returns the rows of a document.
fn document(number: usize, kind: u8, rows: Vec<(u8, u8)>) -> Vec<String> {
    rows.into_iter()
        .map(|(sku, units)| match kind {
            0 => format!("C{number},A{sku},,-{units},2031-03-02,1.0,{number},X"),
            1 => format!("{number},A{sku},,-{units},2031-03-02,0.0,,X"),
            _ => format!("{number},A{sku},,{units},2031-03-01,1.0,{},X", number % 5),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each document has one effect, whatever files it stands in and however often. There is stock for all.
    #[test]
    fn documents_have_one_effect_however_they_are_cut_into_files(
        documents in prop::collection::vec((0_u8..8, prop::collection::vec((0_u8..6, 1_u8..9), 1..5)), 1..12),
        files in prop::collection::vec(
            (prop::collection::vec(any::<prop::sample::Index>(), 1..12), any::<bool>(), any::<bool>()),
            1..6,
        ),
    ) {
        let documents: Vec<Vec<String>> = documents
            .into_iter()
            .enumerate()
            .map(|(number, (kind, rows))| document(number, kind, rows))
            .collect();
        let stock: Vec<String> = (0..6).map(|sku| format!("F{sku},A{sku},,1000,2031-03-01,0.0,,X")).collect();
        let mut expected: BTreeMap<String, i64> = (0..6).map(|sku| (format!("A{sku}"), 1_000)).collect();
        for row in documents.iter().flatten() {
            let fields: Vec<&str> = row.split(',').collect();
            let units: i64 = fields[3].parse().unwrap();
            let comes_back = fields[0].starts_with('C');
            // A sale takes the units that it names. The units of a write-off are negative already.
            let change = if comes_back || units > 0 { -units } else { units };
            *expected.get_mut(fields[1]).unwrap() += change;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let imported: anyhow::Result<BTreeMap<String, i64>> = runtime.block_on(async {
            let ledgers = ledgers();
            let stock: Vec<&str> = stock.iter().map(String::as_str).collect();
            import(&ledgers, &stock).await;
            let mut cut: Vec<(Vec<usize>, bool, bool)> = files
                .into_iter()
                .map(|(picked, crlf, backwards)| {
                    let mut picked: Vec<usize> = picked.iter().map(|index| index.index(documents.len())).collect();
                    picked.sort_unstable();
                    picked.dedup();
                    (picked, crlf, backwards)
                })
                .collect();
            cut.push(((0..documents.len()).collect(), false, false));
            for (picked, crlf, backwards) in cut {
                let mut rows: Vec<&str> =
                    picked.iter().flat_map(|number| &documents[*number]).map(String::as_str).collect();
                if backwards {
                    rows.reverse();
                }
                let mut content = String::from_utf8(lines(&rows)).unwrap();
                if crlf {
                    content = content.replace('\n', "\r\n");
                }
                let (import, book) = import_text(&ledgers, content.as_bytes()).await;
                anyhow::ensure!(book.imported() == rows.len() as u64, "{:?}", import.rejects(&book));
            }
            Ok(on_hand(&ledgers))
        });
        prop_assert_eq!(imported.unwrap(), expected);
    }
}
