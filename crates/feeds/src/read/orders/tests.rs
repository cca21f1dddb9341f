use super::*;

mod broken;
mod mappings;

const HEADER: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";

fn read(lines: &str) -> OrderRows {
    read_orders(format!("{HEADER}{lines}").as_bytes(), &Mapping::plain()).unwrap()
}

fn only_reject(lines: &str) -> Reject {
    let mut file = read(lines);
    assert_eq!(
        (file.rows.len(), file.rejected.len()),
        (0, 1),
        "{lines}: {file:?}"
    );
    file.rejected.remove(0)
}

fn kinds(lines: &str) -> Vec<(Kind, i64)> {
    let file = read(lines);
    assert!(file.rejected.is_empty(), "{file:?}");
    file.rows.iter().map(|row| (row.kind, row.quantity)).collect()
}

#[test]
fn a_row_is_taken_as_it_stands() {
    let file = read(
        "536365,85123a,\"TIN, RED\",6,2010-12-01 08:26:00,2.55,17850.0,X\n#7, 22139 ,,2.0,2010-12-02,0,,X\n",
    );
    assert!(file.rejected.is_empty());
    let [first, second] = &file.rows[..] else {
        panic!("two rows: {file:?}")
    };
    assert_eq!(
        (
            first.number,
            first.line,
            first.document.as_str(),
            first.sku.as_str()
        ),
        (1, 2, "536365", "85123a")
    );
    assert_eq!(
        (first.kind, first.quantity, first.day.as_str()),
        (Kind::Sale, 6, "2010-12-01")
    );
    assert_eq!(
        (
            second.number,
            second.line,
            second.document.as_str(),
            second.sku.as_str()
        ),
        (2, 3, "#7", "22139")
    );
    assert_eq!((second.quantity, second.customer), (2, None));
}

#[test]
fn customers_are_told_apart_without_being_kept_and_a_number_is_one_with_and_without_a_fraction() {
    let file = read(
        "1,A,,1,2010-12-01,1,17850.0,X\n2,A,,1,2010-12-01,1,13047,X\n3,A,,1,2010-12-01,1,17850,X\n\
         4,A,,1,2010-12-01,1,v1.0,X\n5,A,,1,2010-12-01,1,v1,X\n",
    );
    let of = |row: usize| file.rows[row].customer;
    assert_eq!(of(0), of(2));
    assert_ne!(of(0), of(1));
    assert_ne!(of(3), of(4));
    assert!(!format!("{file:?}").contains("17850"));
}

#[test]
fn a_column_that_is_missing_or_there_twice_refuses_the_file_by_name() {
    let error = |header: &str| {
        let text = format!("{header}\n1,A,1\n");
        read_orders(text.as_bytes(), &Mapping::plain())
            .unwrap_err()
            .to_string()
    };
    assert!(error("InvoiceNo,StockCode,InvoiceDate,UnitPrice,CustomerID").contains("no column Quantity"));
    let twice = error("InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID,Quantity");
    assert!(
        twice.contains("Quantity is there twice, as columns 3 and 7"),
        "{twice}"
    );
    // A column that nobody needs may appear any number of times.
    let header = "Extra,InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID,Extra\n";
    let file = read_orders(
        format!("{header}x,1,A,1,2010-12-01,1,,y\n").as_bytes(),
        &Mapping::plain(),
    )
    .unwrap();
    assert_eq!(file.rows.len(), 1);
}

#[test]
fn bad_fields_are_rejected_with_their_reason() {
    let cases = [
        ("1,A,,1,2010-12-01,1,X\n", RejectReason::WrongNumberOfFields),
        (",A,,1,2010-12-01,1,,X\n", RejectReason::BadDocument),
        ("a b,A,,1,2010-12-01,1,,X\n", RejectReason::BadDocument),
        (
            "someone@example.org,A,,1,2010-12-01,1,,X\n",
            RejectReason::BadDocument,
        ),
        ("1,,,1,2010-12-01,1,,X\n", RejectReason::BadSku),
        ("1,85  123,,1,2010-12-01,1,,X\n", RejectReason::BadSku),
        ("1,A,,,2010-12-01,1,,X\n", RejectReason::BadQuantity),
        ("1,A,,1.5,2010-12-01,1,,X\n", RejectReason::BadQuantity),
        ("1,A,,0,2010-12-01,1,,X\n", RejectReason::BadQuantity),
        ("1,A,,1000000001,2010-12-01,1,,X\n", RejectReason::BadQuantity),
        (
            "1,A,,-9223372036854775808,2010-12-01,1,,X\n",
            RejectReason::BadQuantity,
        ),
        ("1,A,,1,,1,,X\n", RejectReason::BadDate),
        ("1,A,,1,2010-02-30,1,,X\n", RejectReason::BadDate),
        ("1,A,,1,12/1/2010 8:26,1,,X\n", RejectReason::BadDate),
        ("1,A,,1,2010-12-01,free,,X\n", RejectReason::BadPrice),
    ];
    for (line, reason) in cases {
        assert_eq!(only_reject(line).reason, reason, "{line}");
    }
}

#[test]
fn what_is_nothing_for_anybody_stays_out_and_what_is_unclear_is_rejected() {
    assert_eq!(
        only_reject("99,Total,,94,2010-12-01,1,,X\n").reason,
        RejectReason::LeftOut
    );
    assert_eq!(only_reject("TOTAL,,,94,,,,\n").reason, RejectReason::LeftOut);
    // It could be a return or a write-off.
    assert_eq!(
        only_reject("9,A,,-2,2010-12-01,0.0,,X\n").reason,
        RejectReason::Unclear
    );
    assert_eq!(
        only_reject("9,A,,-2,2010-12-01,,17,X\n").reason,
        RejectReason::Unclear
    );
}

#[test]
fn in_an_exchange_one_article_leaves_and_the_other_comes_back() {
    let lines = "9751,SHOE-42,,3,2010-12-01,80.00,55,X\n9752,SHOE-43,,1,2010-12-05,80.00,55,X\n9752,SHOE-42,,-1,2010-12-05,80.00,55,X\n";
    assert_eq!(
        kinds(lines),
        [(Kind::Sale, 3), (Kind::Sale, 1), (Kind::TakeBack, -1)]
    );
}

#[test]
fn a_document_number_that_begins_with_c_is_one_like_others() {
    assert_eq!(
        kinds("CA-2018-152156,A,,1,2010-12-01,1,1,X\nc1003,A,,1,2010-12-01,1,1,X\n"),
        [(Kind::Sale, 1); 2]
    );
}

#[test]
fn one_number_of_two_customers_is_no_order() {
    let file = read(
        "1001,A,,5,2010-12-01,1,17,X\n1002,A,,1,2010-12-02,1,17,X\n1001,B,,2,2011-06-01,1,99,X\n1001,C,,1,2010-12-01,1,,X\n",
    );
    assert_eq!(file.rows.len(), 1);
    let rejects: Vec<_> = file
        .rejected
        .iter()
        .map(|reject| (reject.row, reject.reason))
        .collect();
    assert_eq!(rejects, [1, 3, 4].map(|row| (row, RejectReason::MixedDocument)));
}

#[test]
fn a_reject_names_its_line_whatever_ends_the_lines_before_it() {
    let lines = [
        "8001,A,T,1,2010-12-01,1,1,UK",
        "",
        "8002,B,T,x,2010-12-01,1,1,UK",
        "  ",
        "8003,C,T,y,2010-12-01,1,1,UK",
    ];
    for end in ["\n", "\r\n", "\r"] {
        let text = format!("{}{end}{}", HEADER.trim_end(), lines.join(end));
        let file = read_orders(text.as_bytes(), &Mapping::plain()).unwrap();
        let places: Vec<_> = file
            .rejected
            .iter()
            .map(|reject| (reject.row, reject.line))
            .collect();
        assert_eq!(places, [(2, 4), (3, 6)], "{end:?}");
    }
}

#[test]
fn a_reject_repeats_nothing_that_may_be_personal_or_a_formula() {
    let shifted = [
        "9721,F31-A,WHITE HEART, ann.person@example.com,2010-12-01,2.55,17850,UK\n",
        "Ann Person,F31-B,THING,2,2010-12-01,2.55,17850,UK\n",
        "9723,12 High Street,THING,2,at once,2.55,17850,UK\n",
        "=cmd|x,=cmd|y,T,=1+1,2010-12-01,1,1,UK\n",
        "9724,A,\u{1b}[31m,1,Ann Person,1,1,UK\n",
        "9725,A,T,1,2010-12-01,Ann Person,1,UK\n",
        "9726,A,Ann Person,extra,1,2010-12-01,1,1,UK\n",
    ];
    for line in shifted {
        let told = format!("{:?}", only_reject(line));
        for part in ["ann", "Ann", "High", "cmd", "1b", "extra"] {
            assert!(!told.contains(part), "{part} in {told}");
        }
    }
}

#[test]
fn a_code_as_shops_write_it_is_a_sku_and_one_with_invisible_characters_is_none() {
    let text = format!("{HEADER}1,Größe-XL rot,,1,2010-12-01,1,,X\n2,a\u{200b}b,,1,2010-12-01,1,,X\n");
    let file = read_orders(text.as_bytes(), &Mapping::plain()).unwrap();
    assert_eq!(file.rows[0].sku, "Größe-XL rot");
    let reject = &file.rejected[0];
    assert_eq!((reject.reason, reject.sku.as_str()), (RejectReason::BadSku, ""));
    assert!(reject.detail.contains("U+200B at byte 1"), "{}", reject.detail);
}

#[test]
fn bytes_in_another_encoding_reject_the_row_and_the_rest_goes_on() {
    let mut text = HEADER.as_bytes().to_vec();
    text.extend_from_slice(b"1,A,voucher \xa340,1,2010-12-01,1,,X\n2,A,,1,2010-12-01,1,,X\n");
    let file = read_orders(&text[..], &Mapping::plain()).unwrap();
    assert_eq!(
        (file.rejected[0].reason, file.rejected[0].row),
        (RejectReason::BadEncoding, 1)
    );
    assert_eq!(file.rows[0].number, 2);
}

#[test]
fn the_last_of_as_many_rules_as_there_may_be_is_heard_behind_articles_that_are_no_goods() {
    let never = "[[rules]]\ndocument_is = [\"never\"]\nthen = \"left-out\"\nbecause = \"x\"\n";
    let rules = never.repeat(crate::read::mapping::MAX_MAPPING_RULES - 1) + "[[rules]]\nthen = \"sale\"\n";
    let mapping = Mapping::parse(&format!("{}\n{rules}", include_str!("../plain.toml"))).unwrap();
    let mapping = mapping.without_stock(&["PADS".to_owned()]);
    let text = format!("{HEADER}1,PADS,,1,2010-12-01,1,,X\n1,A,,1,2010-12-01,1,,X\n");
    let file = read_orders(text.as_bytes(), &mapping).unwrap();
    assert_eq!((file.rejected.len(), file.rows[0].sku.as_str()), (1, "A"));
}

#[test]
fn articles_that_are_named_as_no_goods_are_none() {
    let mapping = Mapping::plain().without_stock(&["PADS".to_owned()]);
    let text = format!("{HEADER}1,pads,,1,2010-12-01,1,,X\n1,PADS-2,,1,2010-12-01,1,,X\n");
    let file = read_orders(text.as_bytes(), &mapping).unwrap();
    assert_eq!(
        (file.rejected[0].reason, file.rows[0].sku.as_str()),
        (RejectReason::NotStock, "PADS-2")
    );
}
