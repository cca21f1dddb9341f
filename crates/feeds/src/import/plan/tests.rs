use super::*;
use crate::read::{Mapping, read_orders};

const HEADER: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";

const MAPPING: &str = include_str!("../../../../../docs/mappings/online-retail.toml");

fn shards(ranges: &[(u32, u32)]) -> v1::GetTopologyResponse {
    let shards = ranges
        .iter()
        .zip(0..)
        .map(|((first_slot, last_slot), shard)| v1::Shard {
            shard,
            first_slot: *first_slot,
            last_slot: *last_slot,
            ..Default::default()
        });
    v1::GetTopologyResponse {
        shards: shards.collect(),
        slots: 4096,
        ..Default::default()
    }
}

fn one_shard() -> v1::GetTopologyResponse {
    shards(&[(0, 4095)])
}

fn options(initial_stock: InitialStock, warehouses: usize) -> PlanOptions {
    PlanOptions {
        warehouses,
        initial_stock,
    }
}

/// Builds a file from lines `invoice,code,quantity,day of December,price,customer`.
fn file(lines: &[&str]) -> OrderRows {
    let mut text = HEADER.to_owned();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let [invoice, code, quantity, day, price, customer] = fields[..] else {
            panic!("{line}")
        };
        text.push_str(&format!(
            "{invoice},{code},,{quantity},2010-12-{day} 10:00:00,{price},{customer},X\n"
        ));
    }
    read_orders(text.as_bytes(), &Mapping::parse(MAPPING).unwrap()).unwrap()
}

fn steps(lines: &[&str]) -> Vec<Step> {
    plan(
        &file(lines),
        &one_shard(),
        &options(InitialStock::None, 1),
        &Known::default(),
    )
    .steps
}

#[test]
fn rows_of_one_invoice_become_one_order_and_rows_of_one_sku_one_line() {
    let plan = plan(
        &file(&[
            "1,A1,2,01,1.0,7",
            "1,b2,3,01,1.0,7",
            "1,a1,4,01,1.0,7",
            "2,A1,1,01,1.0,8",
        ]),
        &one_shard(),
        &options(InitialStock::None, 1),
        &Known::default(),
    );
    assert_eq!((plan.orders, plan.sales.len()), (2, 2));
    let line = |sku: &str, quantity, rows: &[usize]| SaleLine {
        sku: sku.into(),
        quantity,
        rows: rows.into(),
    };
    assert_eq!(plan.sales[0].lines, [line("A1", 6, &[0, 2]), line("B2", 3, &[1])]);
    assert_eq!(plan.sales[1].lines, [line("A1", 1, &[3])]);
}

#[test]
fn an_order_is_one_reservation_whichever_shards_its_skus_live_in() {
    let halves = shards(&[(0, 2047), (2048, 4095)]);
    let lines: Vec<String> = (0..40).map(|sku| format!("1,SKU-{sku},1,01,1.0,7")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let plan = plan(
        &file(&lines),
        &halves,
        &options(InitialStock::None, 1),
        &Known::default(),
    );
    assert_eq!((plan.orders, plan.sales.len()), (1, 1));
    let sale = &plan.sales[0];
    assert_eq!(sale.lines.len(), 40);
    assert_eq!(sale.shards, [0, 1].into());
    assert_eq!(Some(sale.home), shard_of(&halves, "SKU-0"));
}

#[test]
fn an_order_longer_than_a_reservation_may_be_becomes_several() {
    let lines: Vec<String> = (0..MAX_LINES + 1)
        .map(|sku| format!("1,SKU-{sku},1,01,1.0,7"))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let plan = plan(
        &file(&lines),
        &one_shard(),
        &options(InitialStock::None, 1),
        &Known::default(),
    );
    let parts: Vec<(usize, usize)> = plan
        .sales
        .iter()
        .map(|sale| (sale.part, sale.lines.len()))
        .collect();
    assert_eq!(parts, [(0, MAX_LINES), (1, 1)]);
}

#[test]
fn a_cancellation_on_the_day_of_the_sale_cancels_and_a_later_one_returns() {
    let steps = steps(&["1,A1,5,01,1.0,7", "C2,A1,-2,01,1.0,7", "C3,A1,-1,02,1.0,7"]);
    assert_eq!(
        steps,
        [
            Step::Sell { sale: 0 },
            Step::Cancel {
                row: 1,
                sale: 0,
                line: 0,
                quantity: 2
            },
            Step::Ship { sale: 0 },
            Step::Return {
                row: 2,
                sale: 0,
                line: 0,
                quantity: 1
            },
        ]
    );
}

#[test]
fn a_sale_cancelled_in_full_never_ships() {
    let steps = steps(&["1,A1,5,01,1.0,7", "C2,A1,-5,01,1.0,7", "3,A1,1,02,1.0,7"]);
    assert_eq!(
        steps,
        [
            Step::Sell { sale: 0 },
            Step::Cancel {
                row: 1,
                sale: 0,
                line: 0,
                quantity: 5
            },
            Step::Sell { sale: 1 },
            Step::Ship { sale: 1 },
        ]
    );
}

#[test]
fn a_cancellation_finds_the_latest_sale_of_its_customer_with_enough_units() {
    let sold = ["1,A1,5,01,1.0,7", "2,A1,2,01,1.0,7", "3,A1,9,01,1.0,8"];
    let taken_back = |line: &str| {
        let lines = [&sold[..], &[line]].concat();
        steps(&lines)
            .into_iter()
            .rev()
            .find(|step| !matches!(step, Step::Ship { .. }))
            .unwrap()
    };
    let cancel = |sale, quantity| Step::Cancel {
        row: 3,
        sale,
        line: 0,
        quantity,
    };
    assert_eq!(taken_back("C4,A1,-2,01,1.0,7"), cancel(1, 2));
    assert_eq!(taken_back("C4,A1,-3,01,1.0,7"), cancel(0, 3));
    assert_eq!(taken_back("C4,A1,-9,01,1.0,8"), cancel(2, 9));
    let unreferenced = |quantity| Step::ReturnUnreferenced {
        row: 3,
        warehouse: 0,
        quantity,
    };
    assert_eq!(taken_back("C4,A1,-6,01,1.0,7"), unreferenced(6));
    assert_eq!(taken_back("C4,A1,-1,01,1.0,9"), unreferenced(1));
    assert_eq!(taken_back("C4,A1,-1,01,1.0,"), unreferenced(1));
    assert_eq!(taken_back("C4,B1,-1,01,1.0,7"), unreferenced(1));
}

#[test]
fn units_are_taken_back_once() {
    let steps = steps(&["1,A1,3,01,1.0,7", "C2,A1,-2,01,1.0,7", "C3,A1,-2,01,1.0,7"]);
    assert!(matches!(steps[1], Step::Cancel { sale: 0, .. }));
    assert!(matches!(steps[2], Step::ReturnUnreferenced { quantity: 2, .. }));
}

#[test]
fn enough_is_the_peak_in_file_order_not_the_sum() {
    let file = file(&[
        "1,A1,5,01,1.0,7",
        "C2,A1,-4,02,1.0,7",
        "3,A1,4,02,1.0,8",
        "4,A1,-1,02,0.0,",
        "5,B1,3,02,0.0,",
    ]);
    let received = |initial| {
        let plan = plan(&file, &one_shard(), &options(initial, 1), &Known::default());
        plan.steps
            .iter()
            .filter(|step| matches!(step, Step::Receive { .. }))
            .cloned()
            .collect::<Vec<_>>()
    };
    // A1: -5, +4, -4, -1 is 6 at the lowest; B1 was found, so it needs nothing.
    let stock = |quantity| {
        [Step::Receive {
            sku: "A1".into(),
            warehouse: 0,
            quantity,
        }]
    };
    assert_eq!(received(InitialStock::Enough), stock(6));
    assert_eq!(received(InitialStock::Share(0.5)), stock(3));
    assert_eq!(received(InitialStock::Share(0.51)), stock(4));
    assert_eq!(received(InitialStock::Share(0.0)), []);
    assert_eq!(received(InitialStock::None), []);
}

#[test]
fn an_invoice_is_dealt_to_the_same_warehouse_in_whichever_file_it_stands() {
    let lines: Vec<String> = (0..400).map(|number| format!("{number},A1,1,01,1.0,7")).collect();
    let dealt = |lines: &[String]| {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let plan = plan(
            &file(&lines),
            &one_shard(),
            &options(InitialStock::Enough, 4),
            &Known::default(),
        );
        let sales = plan.sales.into_iter();
        let dealt: BTreeMap<String, usize> = sales.map(|sale| (sale.document, sale.warehouse)).collect();
        (dealt, plan.steps)
    };
    let (whole, steps) = dealt(&lines);
    let (mut parts, _) = dealt(&lines[150..]);
    parts.extend(dealt(&lines[..150]).0);
    assert_eq!(parts, whole);
    for (warehouse, step) in steps.iter().enumerate().take(4) {
        let invoices = whole.values().filter(|dealt| **dealt == warehouse).count();
        // Each warehouse should get a quarter: 100, give or take four times the standard deviation of 8.7.
        assert!((65..=135).contains(&invoices), "{invoices}");
        let stock = Step::Receive {
            sku: "A1".into(),
            warehouse,
            quantity: invoices as i64,
        };
        assert_eq!(*step, stock);
    }
}

#[test]
fn however_the_rows_of_an_invoice_stand_its_lines_have_the_same_numbers() {
    let rows = ["1,B2,3,01,1.0,7", "1,A1,2,01,1.0,7", "1,E5,1,01,1.0,7"];
    let skus = |rows: &[&str]| {
        let plan = plan(
            &file(rows),
            &one_shard(),
            &options(InitialStock::None, 1),
            &Known::default(),
        );
        let lines = plan.sales[0].lines.iter();
        lines
            .map(|line| (line.sku.clone(), line.quantity))
            .collect::<Vec<_>>()
    };
    let lines = [("A1", 2), ("B2", 3), ("E5", 1)].map(|(sku, units)| (sku.to_owned(), units));
    assert_eq!(skus(&rows), lines);
    assert_eq!(skus(&[rows[2], rows[0], rows[1]]), lines);
}

#[test]
fn every_row_is_rejected_or_in_exactly_one_step() {
    let file = file(&[
        "1,A1,5,01,1.0,7",
        "1,POST,1,01,18.0,7",
        "1,A1,1,01,1.0,7",
        "1,A1,-1,01,1.0,7",
        "2,A1,-3,02,0.0,",
        "C3,A1,-6,02,1.0,7",
        "C3,M,-1,02,1.0,7",
        "4,B1,8,03,0.0,",
        "bad row,B1,8,03,0.0,",
    ]);
    let plan = plan(
        &file,
        &one_shard(),
        &options(InitialStock::Enough, 1),
        &Known::default(),
    );
    let mut seen: Vec<u64> = plan.rejects.iter().map(|reject| reject.row).collect();
    let sold = plan
        .sales
        .iter()
        .flat_map(|sale| &sale.lines)
        .flat_map(|line| &line.rows)
        .copied();
    let others = plan.steps.iter().filter_map(|step| match step {
        Step::Receive { .. } | Step::Sell { .. } | Step::Ship { .. } => None,
        Step::Cancel { row, .. }
        | Step::Return { row, .. }
        | Step::ReturnUnreferenced { row, .. }
        | Step::Adjust { row, .. } => Some(*row),
    });
    seen.extend(sold.chain(others).map(|row| file.rows[row].number));
    seen.sort_unstable();
    assert_eq!(seen, (1..=9).collect::<Vec<u64>>());
}

#[test]
fn a_code_that_looks_like_another_is_rejected_by_its_row_and_the_rest_goes_on() {
    let planned = plan(
        &file(&[
            "1,GRÖSSE-XL ROT,2,01,1.0,7",
            "2,СОК-1,2,01,1.0,7",
            "3,GRO\u{308}SSE,2,01,1.0,7",
        ]),
        &one_shard(),
        &options(InitialStock::Enough, 1),
        &Known::default(),
    );
    let sold: Vec<&str> = planned
        .sales
        .iter()
        .flat_map(|sale| sale.lines.iter().map(|line| line.sku.as_str()))
        .collect();
    assert_eq!(sold, ["GRÖSSE-XL ROT"]);
    assert_eq!(planned.rejects.len(), 2);
    for (reject, (row, told)) in planned
        .rejects
        .iter()
        .zip([(2, "looks like `C`"), (3, "send the composed form")])
    {
        assert_eq!((reject.reason, reject.row), (RejectReason::BadSku, row));
        assert!(reject.detail.contains(told), "{}", reject.detail);
        assert_eq!(reject.sku, "");
    }
}
