use super::*;

const HEADER: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";

fn read(lines: &str) -> FileRows {
    read_rows(format!("{HEADER}{lines}").as_bytes()).unwrap()
}

fn only_reject(lines: &str) -> (RejectReason, String) {
    let mut file = read(lines);
    assert_eq!((file.rows.len(), file.malformed.len()), (0, 1), "{file:?}");
    let reject = file.malformed.remove(0);
    (reject.reason, reject.detail)
}

#[test]
fn a_row_is_read_with_its_number_and_its_line() {
    let file = read(
        "536365,85123a,\"a note\nover two lines\",6,2010-12-01 08:26:00,2.55,17850.0,X\n\
         C536366, 22139 ,,-2,12/1/2010 8:28,0.0,,X\n",
    );
    assert!(file.malformed.is_empty());
    let [first, second] = &file.rows[..] else {
        panic!("two rows")
    };
    assert_eq!(
        (
            first.number,
            first.line,
            first.stock_code.as_str(),
            first.quantity
        ),
        (1, 2, "85123A", 6)
    );
    assert_eq!((first.day.as_str(), first.free_of_charge), ("2010-12-01", false));
    assert_eq!(
        (second.number, second.line, second.stock_code.as_str()),
        (2, 4, "22139")
    );
    assert_eq!(
        (second.day.as_str(), second.free_of_charge, second.customer),
        ("12/1/2010", true, None)
    );
}

#[test]
fn customers_are_told_apart_without_being_kept() {
    let file = read(
        "1,A1,,1,2010-12-01,1,17850.0,X\n2,A1,,1,2010-12-01,1,13047.0,X\n3,A1,,1,2010-12-01,1,17850.0,X\n",
    );
    assert_eq!(file.rows[0].customer, file.rows[2].customer);
    assert_ne!(file.rows[0].customer, file.rows[1].customer);
    assert!(!format!("{file:?}").contains("17850"));
}

#[test]
fn columns_are_found_by_name_and_a_byte_order_mark_is_skipped() {
    let file = read_rows(
        "\u{feff}Country,CustomerID,UnitPrice,InvoiceDate,Quantity,Description,StockCode,InvoiceNo,Extra\n\
         X,1,2.5,2010-12-01,3,,B2,77,more\n"
            .as_bytes(),
    )
    .unwrap();
    assert_eq!((file.rows[0].invoice.as_str(), file.rows[0].quantity), ("77", 3));
}

#[test]
fn a_header_without_a_column_is_an_error_that_names_it() {
    let error = read_rows("InvoiceNo,StockCode\n".as_bytes())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("Quantity") && !error.contains("lacks the columns InvoiceNo"),
        "{error}"
    );
    assert!(read_rows("".as_bytes()).is_err());
}

#[test]
fn bad_fields_are_rejected_with_their_reason() {
    let cases = [
        ("1,A1,,1,2010-12-01,1,X\n", RejectReason::WrongNumberOfFields),
        (",A1,,1,2010-12-01,1,,X\n", RejectReason::BadInvoice),
        ("a b,A1,,1,2010-12-01,1,,X\n", RejectReason::BadInvoice),
        (
            "someone@example.org,A1,,1,2010-12-01,1,,X\n",
            RejectReason::BadInvoice,
        ),
        ("1,,,1,2010-12-01,1,,X\n", RejectReason::BadStockCode),
        ("1,A1,,,2010-12-01,1,,X\n", RejectReason::BadQuantity),
        ("1,A1,,1.5,2010-12-01,1,,X\n", RejectReason::BadQuantity),
        ("1,A1,,0,2010-12-01,1,,X\n", RejectReason::BadQuantity),
        (
            "1,A1,,99999999999999999999,2010-12-01,1,,X\n",
            RejectReason::BadQuantity,
        ),
        (
            "1,A1,,-9223372036854775808,2010-12-01,1,,X\n",
            RejectReason::BadQuantity,
        ),
        ("1,A1,,1,,1,,X\n", RejectReason::BadDate),
        ("1,A1,,1,yesterday,1,,X\n", RejectReason::BadDate),
        ("1,A1,,1,2010-12-01,free,,X\n", RejectReason::BadPrice),
        ("1,A1,,1,2010-12-01,NaN,,X\n", RejectReason::BadPrice),
    ];
    for (line, reason) in cases {
        assert_eq!(only_reject(line).0, reason, "{line}");
    }
}

#[test]
fn bytes_that_are_not_utf8_reject_the_row_and_the_rest_goes_on() {
    let mut file = HEADER.as_bytes().to_vec();
    file.extend_from_slice(b"1,A1,voucher \xa340,1,2010-12-01,1,,X\n2,A1,,1,2010-12-01,1,,X\n");
    let file = read_rows(&file[..]).unwrap();
    assert_eq!(
        (file.malformed[0].reason, file.malformed[0].row),
        (RejectReason::NotUtf8, 1)
    );
    assert_eq!(file.rows[0].number, 2);
}

#[test]
fn a_quote_left_open_is_told_with_the_lines_it_swallows() {
    let (reason, detail) = only_reject("1,A1,\"open,1,2010-12-01,1,,X\n2,A1,,1,2010-12-01,1,,X\n");
    assert_eq!(reason, RejectReason::WrongNumberOfFields);
    assert!(detail.contains("from line 2 to line"), "{detail}");
}

/// Garbage in every shape never panics, and no row is lost: read = kept + rejected.
#[test]
fn garbage_and_truncations_never_panic() {
    let good = b"536365,85123A,\"x \"\"y\"\"\",6,2010-12-01 08:26:00,2.55,17850.0,X\n";
    for cut in 0..good.len() {
        let mut file = HEADER.as_bytes().to_vec();
        file.extend_from_slice(&good[..cut]);
        let file = read_rows(&file[..]).unwrap();
        assert!(file.count() <= 1);
    }
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..500 {
        let mut file = HEADER.as_bytes().to_vec();
        for _ in 0..200 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            file.push(match seed % 5 {
                0 => b',',
                1 => b'\n',
                2 => b'"',
                3 => b'1',
                _ => (seed >> 32) as u8,
            });
        }
        read_rows(&file[..]).unwrap();
    }
}
