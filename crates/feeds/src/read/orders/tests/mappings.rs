//! Tests the mapping files of `docs/mappings/`, each with a file as that system writes it.

use super::*;

macro_rules! mapping {
    ($name:literal) => {
        Mapping::parse(include_str!(concat!("../../../../../../docs/mappings/", $name))).unwrap()
    };
}

fn taken(file: &OrderRows) -> Vec<(&str, &str, Kind, i64, &str)> {
    let rows = file.rows.iter();
    rows.map(|row| {
        (
            row.document.as_str(),
            row.sku.as_str(),
            row.kind,
            row.quantity,
            row.day.as_str(),
        )
    })
    .collect()
}

fn rejected(file: &OrderRows) -> Vec<(u64, RejectReason)> {
    file.rejected
        .iter()
        .map(|reject| (reject.line, reject.reason))
        .collect()
}

#[test]
fn the_mapping_that_the_page_explains_is_one() {
    let page = include_str!("../../../../../../docs/import-orders.md");
    let (_, rest) = page.split_once("```toml\n").unwrap();
    let (mapping, _) = rest.split_once("```").unwrap();
    Mapping::parse(mapping).unwrap();
}

#[test]
fn the_online_retail_data_set() {
    let mapping = mapping!("online-retail.toml");
    let kind = |line: &str| {
        let file = read_orders(format!("{HEADER}{line}").as_bytes(), &mapping).unwrap();
        match (&file.rows[..], &file.rejected[..]) {
            ([row], []) => Ok((row.kind, row.quantity)),
            ([], [reject]) => Err(reject.reason),
            _ => panic!("{file:?}"),
        }
    };
    let cases = [
        ("1,85123a,,6,2010-12-01 08:26:00,2.55,1.0,X", Ok((Kind::Sale, 6))),
        (
            "1,DCGS0003,\"over\ntwo lines\",6,12/1/2010 8:26,2.55,1,X",
            Ok((Kind::Sale, 6)),
        ),
        (
            "C1,85123A,,-6,2010-12-01 08:26:00,2.55,1,X",
            Ok((Kind::TakeBack, -6)),
        ),
        (
            "c1,85123A,,-6,2010-12-01 08:26:00,2.55,1,X",
            Ok((Kind::TakeBack, -6)),
        ),
        (
            "1,85123A,?,-6,2010-12-01 08:26:00,0.0,,X",
            Ok((Kind::WriteOff, -6)),
        ),
        (
            "1,85123A,found,6,2010-12-01 08:26:00,0.0,,X",
            Ok((Kind::Found, 6)),
        ),
        ("1,85123A,,6,2010-12-01 08:26:00,0.0,1,X", Ok((Kind::Sale, 6))),
        (
            "1,85123A,,-6,2010-12-01 08:26:00,2.55,1,X",
            Err(RejectReason::Unclear),
        ),
        (
            "C1,85123A,,6,2010-12-01 08:26:00,2.55,1,X",
            Err(RejectReason::BadQuantity),
        ),
        (
            "C1,D,Discount,-1,2010-12-01 08:26:00,27.5,1,X",
            Err(RejectReason::NotStock),
        ),
        (
            "1,m,Manual,1,2010-12-01 08:26:00,2.55,1,X",
            Err(RejectReason::NotStock),
        ),
        (
            "1,BANK CHARGES,,1,2010-12-01 08:26:00,2.55,1,X",
            Err(RejectReason::NotStock),
        ),
        (
            "1,gift_0001_40,,1,2010-12-01 08:26:00,2.55,1,X",
            Err(RejectReason::NotStock),
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(kind(line), expected, "{line}");
    }
    // The row is not alone in its document, so it is not found stock.
    let two = format!("{HEADER}7,A1,,6,2010-12-01 08:26:00,0.0,,X\n7,A2,,1,2010-12-01 08:26:00,1.0,,X\n");
    let file = read_orders(two.as_bytes(), &mapping).unwrap();
    assert!(file.rows.iter().all(|row| row.kind == Kind::Sale), "{file:?}");
}

#[test]
fn an_export_of_orders_of_shopify() {
    let text = "Name,Email,Financial Status,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,Lineitem requires shipping,Notes,Cancelled at\n\
        #1001,ann@example.com,paid,2031-03-02 11:22:33 -0500,2,Shirt - M,19.90,SHIRT-M,true,\"Ring twice,\nplease\",\n\
        #1001,ann@example.com,,,1,Gift card,25.00,GIFT,false,,\n\
        #1001,ann@example.com,,,1,Cap,9.90,CAP,true,,\n\
        #1002,bob@example.com,voided,2031-03-02 12:00:00 -0500,1,Cap,9.90,CAP,true,,\n\
        #1003,bob@example.com,paid,2031-03-03 12:00:00 -0500,1,Cap,9.90,CAP,true,,2031-03-03 13:00:00 -0500\n\
        #1003,bob@example.com,,,1,Shirt - M,19.90,SHIRT-M,true,,\n\
        #1004,eve@example.com,paid,2031-03-04 12:00:00 -0500,1,Cap,9.90,,true,,\n";
    let file = read_orders(text.as_bytes(), &mapping!("shopify-orders.toml")).unwrap();
    assert_eq!(
        taken(&file),
        [
            ("#1001", "SHIRT-M", Kind::Sale, 2, "2031-03-02"),
            ("#1001", "CAP", Kind::Sale, 1, "2031-03-02"),
        ]
    );
    assert_eq!(
        rejected(&file),
        [
            (4, RejectReason::NotStock),
            (6, RejectReason::LeftOut),
            (7, RejectReason::LeftOut),
            (8, RejectReason::LeftOut),
            (9, RejectReason::BadSku),
        ]
    );
    assert!(!format!("{file:?}").contains("example.com"));
}

#[test]
fn an_order_report_of_amazon() {
    let text = "amazon-order-id\tpurchase-date\torder-status\tfulfillment-channel\tproduct-name\tsku\tquantity\titem-price\tship-city\n\
        111-0000001-0000001\t2031-03-02T11:22:33+00:00\tShipped\tMerchant\t5\" TAPE\tTAPE-5\t2\t19.90\tYork\n\
        111-0000001-0000001\t2031-03-02T11:22:33+00:00\tShipped\tMerchant\t\"Best\" CAP\tCAP\t1\t9.90\tYork\n\
        111-0000002-0000002\t2031-03-02T12:22:33+00:00\tCancelled\tMerchant\tCap\tCAP\t0\t\tYork\n\
        111-0000003-0000003\t2031-03-02T12:22:33+00:00\tShipped\tAmazon\tCap\tCAP\t1\t9.90\tYork\n\
        111-0000004-0000004\t2031-03-02T12:22:33+00:00\tShipped\tMerchant\tCap\tCAP\t0\t9.90\tYork\n";
    let file = read_orders(text.as_bytes(), &mapping!("amazon-orders.toml")).unwrap();
    assert_eq!(
        taken(&file),
        [
            ("111-0000001-0000001", "TAPE-5", Kind::Sale, 2, "2031-03-02"),
            ("111-0000001-0000001", "CAP", Kind::Sale, 1, "2031-03-02"),
        ]
    );
    assert_eq!(
        rejected(&file),
        [
            (4, RejectReason::LeftOut),
            (5, RejectReason::LeftOut),
            (6, RejectReason::BadQuantity),
        ]
    );
}

#[test]
fn a_file_with_semicolons_decimal_commas_windows_1252_and_the_day_first() {
    let text = b"Auftrag;Artikel;Bezeichnung;Menge;Datum;Preis;Kunde\r\n\
        A-1;M\xdcTZE;\"M\xfctze; rot\";2,00;31.12.2030 08:26;1.234,50;M\xfcller\r\n\
        A-1;HEMD-1;Hemd;1.200;31.12.2030 08:26;9,90;M\xfcller\r\n\
        A-2;HEMD-1;Hemd;-1;02.01.2031;9,90;M\xfcller\r\n\
        A-3;HEMD-1;Hemd;1;31.02.2031;9,90;M\xfcller\r\n\
        A-4;HEMD-1;Hemd;1;01.02.2031;9.90;M\xfcller\r\n";
    let file = read_orders(&text[..], &mapping!("semicolons.toml")).unwrap();
    assert_eq!(
        taken(&file),
        [
            ("A-1", "MÜTZE", Kind::Sale, 2, "2030-12-31"),
            ("A-1", "HEMD-1", Kind::Sale, 1_200, "2030-12-31"),
            ("A-2", "HEMD-1", Kind::TakeBack, -1, "2031-01-02"),
        ]
    );
    assert_eq!(
        rejected(&file),
        [(5, RejectReason::BadDate), (6, RejectReason::BadPrice)]
    );
    assert_eq!(file.rows[0].customer, file.rows[1].customer);
}
