//! The rows of an order file. Each one is returned as the file has it, or as a reject with the reason.

use std::collections::HashMap;
use std::io::BufRead;

use super::dates;
use super::mapping::{Case, Mapping};
use super::numbers::Sign;
use super::rules::{Facts, Kind, Verdict, judge};
use super::table::{FeedError, Record, Table};
use crate::reject::{Reject, RejectReason};

/// The most units of one row. A feed that sells more in one line is broken, and sums stay far from overflow.
pub const MAX_UNITS: i64 = 1_000_000_000;
const MIN_UNITS: i64 = -MAX_UNITS;

/// A customer, as a number that is assigned while the file is read. It shows only which rows have the same
/// customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Customer(usize);

/// One row for the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The row, counted from 1 after the header; blank lines are not counted.
    pub number: u64,
    /// The line of the file on which it begins; the first line is 1.
    pub line: u64,
    /// The effect on stock.
    pub kind: Kind,
    /// The document's number; a [`holdfast_api::names::Reference`].
    pub document: String,
    /// The article; a [`holdfast_api::names::Sku`].
    pub sku: String,
    /// Units, at most [`MAX_UNITS`]. Above 0 when goods are sold or found, below 0 when they come back or are
    /// gone.
    pub quantity: i64,
    /// The row's place, from 0, among its like: the rows of one document with the same effect on the same
    /// article, in order of their units. Document and rank together identify a row, in whichever file it is.
    /// 0 for a sale, because rows of sales are added up.
    pub rank: u32,
    /// The day of its date, as `2010-12-01`.
    pub day: String,
    /// The buyer, if the file names one.
    pub customer: Option<Customer>,
}

impl Row {
    /// Makes the reject of this row.
    pub fn reject(&self, reason: RejectReason, detail: impl Into<String>) -> Reject {
        Reject {
            row: self.number,
            line: self.line,
            reason,
            detail: detail.into(),
            document: self.document.clone(),
            sku: self.sku.clone(),
            quantity: self.quantity.to_string(),
        }
    }
}

/// The rows of a file. Each row is in exactly one of the two lists, in file order.
#[derive(Debug, Default)]
pub struct OrderRows {
    /// The rows for the ledger.
    pub rows: Vec<Row>,
    /// The other rows.
    pub rejected: Vec<Reject>,
}

impl OrderRows {
    /// Returns the number of rows of the file.
    pub fn count(&self) -> u64 {
        (self.rows.len() + self.rejected.len()) as u64
    }
}

/// Reads all rows of a file.
///
/// # Errors
/// [`FeedError`]: the whole file is refused.
pub fn read_orders(file: impl BufRead, mapping: &Mapping) -> Result<OrderRows, FeedError> {
    let mut table = Table::new(file, &mapping.file);
    let places = Places::find(&table.header()?, mapping)?;
    let mut reading = Reading {
        mapping,
        places,
        customers: HashMap::new(),
        first_rows: HashMap::new(),
    };
    let mut drafts = Vec::new();
    let mut rejected = Vec::new();
    let mut record = Record::default();
    while table.read(&mut record)? {
        reading.check_lines(&record)?;
        let number = (drafts.len() + rejected.len()) as u64 + 1;
        match reading.draft(&record, number) {
            Ok(draft) => drafts.push(draft),
            Err(reject) => rejected.push(reject),
        }
    }
    Ok(decide(drafts, rejected, mapping))
}

/// The positions of the columns.
struct Places {
    count: usize,
    document: usize,
    sku: usize,
    quantity: usize,
    date: usize,
    price: Option<usize>,
    customer: Option<usize>,
    only_in_first_row: Vec<usize>,
    /// The columns that each rule checks, with the texts that fit.
    of_rules: Vec<Vec<(usize, Vec<String>)>>,
}

impl Places {
    fn find(header: &Record, mapping: &Mapping) -> Result<Self, FeedError> {
        let names: Vec<String> = header
            .fields()
            .map(|field| decoded(mapping, field).unwrap_or_default().trim().to_owned())
            .collect();
        let place = |name: &str| {
            let mut places = names
                .iter()
                .enumerate()
                .filter(|(_, found)| *found == name.trim());
            match (places.next(), places.next()) {
                (Some((place, _)), None) => Ok(place),
                (Some((first, _)), Some((second, _))) => Err(FeedError::Header(format!(
                    "the column {name} is there twice, as columns {} and {}: which one holds?",
                    first + 1,
                    second + 1
                ))),
                (None, _) => Err(FeedError::Header(format!(
                    "the header has no column {name}; a mapping says how the columns of a file are called (--mapping)"
                ))),
            }
        };
        let columns = &mapping.columns;
        let mut of_rules = Vec::new();
        for rule in &mapping.rules {
            let columns = rule
                .columns()
                .map(|(name, texts)| Ok((place(name)?, texts.to_vec())));
            of_rules.push(columns.collect::<Result<Vec<_>, FeedError>>()?);
        }
        Ok(Self {
            count: names.len(),
            document: place(&columns.document)?,
            sku: place(&columns.sku)?,
            quantity: place(&columns.quantity)?,
            date: place(&columns.date)?,
            price: columns.price.as_deref().map(place).transpose()?,
            customer: columns.customer.as_deref().map(place).transpose()?,
            only_in_first_row: columns
                .only_in_first_row
                .iter()
                .map(|name| place(name))
                .collect::<Result<_, _>>()?,
            of_rules,
        })
    }
}

/// Decodes a field; None when it is not in the file's encoding.
fn decoded(mapping: &Mapping, bytes: &[u8]) -> Option<String> {
    match mapping.file.encoding {
        None => std::str::from_utf8(bytes).ok().map(str::to_owned),
        Some(encoding) => encoding
            .decode_without_bom_handling_and_without_replacement(bytes)
            .map(std::borrow::Cow::into_owned),
    }
}

/// A row whose kind is not decided yet, because that needs the other rows of its document.
struct Draft {
    number: u64,
    line: u64,
    document: String,
    sku: String,
    quantity: Result<i64, &'static str>,
    day: Result<String, String>,
    /// The sign of the price. None: unreadable; `Some(None)`: the row has no price.
    price: Option<Option<Sign>>,
    customer: Option<Customer>,
    /// The rules whose columns fit: one bit for each rule, by its number.
    columns_fit: u64,
}

struct Reading<'a> {
    mapping: &'a Mapping,
    places: Places,
    customers: HashMap<String, Customer>,
    /// The texts of each document's first row, for the columns that its other rows leave empty.
    first_rows: HashMap<String, Vec<String>>,
}

impl Reading<'_> {
    /// Checks a row over several lines. It may really be two rows, when a quote is missing. It is one row
    /// when it has all fields, and line breaks only in fields that nobody needs.
    fn check_lines(&self, record: &Record) -> Result<(), FeedError> {
        if record.last_line == record.line {
            return Ok(());
        }
        let places = &self.places;
        let needed = [places.document, places.sku, places.quantity, places.date];
        let mut needed = needed.into_iter().chain(places.price).chain(places.customer);
        let has_break = |place: usize| record.get(place).is_some_and(|field| field.contains(&b'\n'));
        let why = if record.len() != places.count {
            format!("it has {} fields, the header has {}", record.len(), places.count)
        } else if let Some(place) = needed.find(|place| has_break(*place)) {
            format!("column {} has a line break", place + 1)
        } else {
            return Ok(());
        };
        Err(FeedError::NoRow {
            first_line: record.line,
            last_line: record.last_line,
            why,
        })
    }

    fn draft(&mut self, record: &Record, number: u64) -> Result<Draft, Reject> {
        let blank = |reason, detail| Reject {
            row: number,
            line: record.line,
            reason,
            detail,
            document: String::new(),
            sku: String::new(),
            quantity: String::new(),
        };
        if record.len() != self.places.count {
            let detail = format!("{} fields, the header has {}", record.len(), self.places.count);
            return Err(blank(RejectReason::WrongNumberOfFields, detail));
        }
        let mut fields = Vec::with_capacity(record.len());
        for (place, field) in record.fields().enumerate() {
            let Some(text) = decoded(self.mapping, field) else {
                let detail = format!("field {} is not in the file's encoding", place + 1);
                return Err(blank(RejectReason::BadEncoding, detail));
            };
            fields.push(text.trim().to_owned());
        }
        let document = cased(&fields[self.places.document], self.mapping.document_case);
        self.fill_from_first_row(&document, &mut fields);
        let places = &self.places;
        let price = match places.price.map(|place| fields[place].as_str()) {
            None | Some("") => Some(None),
            Some(text) => self.mapping.numbers.sign(text).map(Some),
        };
        let customer = places
            .customer
            .map(|place| without_fraction(&fields[place]).to_owned());
        let columns_fit = places
            .of_rules
            .iter()
            .enumerate()
            .fold(0, |fit, (rule, columns)| {
                let fits = columns
                    .iter()
                    .all(|(place, texts)| texts.iter().any(|text| is_text(text, &fields[*place])));
                fit | u64::from(fits) << rule
            });
        let draft = Draft {
            number,
            line: record.line,
            sku: cased(&fields[places.sku], self.mapping.sku_case),
            quantity: quantity(self.mapping, &fields[places.quantity]),
            day: dates::day_of(&fields[places.date], &self.mapping.date_formats)
                .map(|day| day.to_string())
                .map_err(|error| error.to_string()),
            price,
            customer: customer.filter(|customer| !customer.is_empty()).map(|customer| {
                let next = Customer(self.customers.len());
                *self.customers.entry(customer).or_insert(next)
            }),
            columns_fit,
            document,
        };
        Ok(draft)
    }

    fn fill_from_first_row(&mut self, document: &str, fields: &mut [String]) {
        let places = &self.places.only_in_first_row;
        if places.is_empty() {
            return;
        }
        if let Some(first) = self.first_rows.get(document) {
            for (place, text) in places.iter().zip(first) {
                if fields[*place].is_empty() {
                    fields[*place].clone_from(text);
                }
            }
        } else {
            let first = places.iter().map(|place| fields[*place].clone()).collect();
            self.first_rows.insert(document.to_owned(), first);
        }
    }
}

fn cased(text: &str, case: Case) -> String {
    match case {
        Case::AsItStands => text.to_owned(),
        Case::Upper => text.to_ascii_uppercase(),
    }
}

/// Returns whether a field fits a rule: the wanted text, or any text for `*`.
fn is_text(wanted: &str, field: &str) -> bool {
    match wanted {
        "*" => !field.is_empty(),
        _ => wanted.eq_ignore_ascii_case(field),
    }
}

/// Removes the `.0` that spreadsheets append to a customer's number.
fn without_fraction(customer: &str) -> &str {
    let whole = customer.strip_suffix(".0");
    let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    whole.filter(is_number).unwrap_or(customer)
}

fn quantity(mapping: &Mapping, text: &str) -> Result<i64, &'static str> {
    match mapping.numbers.whole(text)? {
        0 => Err("the quantity is 0"),
        units @ MIN_UNITS..=MAX_UNITS => Ok(units),
        _ => Err("more than 1,000,000,000 units in one row"),
    }
}

/// The values that all rows of a document have in common.
#[derive(Default)]
struct Document {
    rows: u32,
    customer: Option<Customer>,
    is_mixed: bool,
}

/// Decides the kind of each row.
fn decide(drafts: Vec<Draft>, mut rejected: Vec<Reject>, mapping: &Mapping) -> OrderRows {
    let mut documents: HashMap<String, Document> = HashMap::new();
    for draft in &drafts {
        let document = documents.entry(draft.document.clone()).or_default();
        document.rows += 1;
        match (document.customer, draft.customer) {
            (None, customer) => document.customer = customer,
            (Some(one), Some(other)) if one != other => document.is_mixed = true,
            _ => {}
        }
    }
    let mut rows = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let of_document = &documents[&draft.document];
        match draft.decide(of_document, mapping) {
            Ok(row) => rows.push(row),
            Err(reject) => rejected.push(reject),
        }
    }
    rejected.sort_by_key(|reject| reject.row);
    rank(&mut rows);
    OrderRows { rows, rejected }
}

fn rank(rows: &mut [Row]) {
    let mut alike: HashMap<(&str, &str, bool), Vec<usize>> = HashMap::new();
    for (index, row) in rows.iter().enumerate() {
        let comes_back = match row.kind {
            Kind::Sale => continue,
            Kind::TakeBack => true,
            Kind::WriteOff | Kind::Found => false,
        };
        let key = (row.document.as_str(), row.sku.as_str(), comes_back);
        alike.entry(key).or_default().push(index);
    }
    let mut ranked = Vec::new();
    for mut indices in alike.into_values() {
        indices.sort_by_key(|index| (rows[*index].quantity.abs(), rows[*index].quantity));
        ranked.extend(indices.into_iter().zip(0_u32..));
    }
    for (index, rank) in ranked {
        rows[index].rank = rank;
    }
}

impl Draft {
    fn decide(self, of_document: &Document, mapping: &Mapping) -> Result<Row, Reject> {
        let facts = Facts {
            document: &self.document,
            sku: &self.sku,
            quantity: self.quantity.ok(),
            price: self.price,
            has_customer: self.customer.is_some(),
            is_alone: of_document.rows == 1,
        };
        let verdict = judge(
            mapping.not_stock.as_ref(),
            &mapping.rules,
            &facts,
            self.columns_fit,
        );
        if let Verdict::Kept {
            reason,
            because,
            names_sku,
        } = verdict
        {
            return Err(self.reject(reason, because.to_owned(), names_sku));
        }
        if self.document.is_empty() {
            return Err(self.reject(
                RejectReason::BadDocument,
                "the document's number is empty".to_owned(),
                false,
            ));
        }
        if let Err(error) = holdfast_api::names::Reference::new(&self.document) {
            return Err(self.reject(RejectReason::BadDocument, error.to_string(), false));
        }
        if let Err(error) = holdfast_api::names::Sku::new(&self.sku) {
            return Err(self.reject(RejectReason::BadSku, error.to_string(), false));
        }
        let quantity = match self.quantity {
            Ok(quantity) => quantity,
            Err(why) => return Err(self.reject(RejectReason::BadQuantity, why.to_owned(), false)),
        };
        let day = match &self.day {
            Ok(day) => day.clone(),
            Err(why) => return Err(self.reject(RejectReason::BadDate, why.clone(), false)),
        };
        if self.price.is_none() {
            let why = "the price is not a number as this file writes them";
            return Err(self.reject(RejectReason::BadPrice, why.to_owned(), false));
        }
        if of_document.is_mixed {
            let why = "rows with this document's number are of several customers: give each order a number of its own";
            return Err(self.reject(RejectReason::MixedDocument, why.to_owned(), false));
        }
        let kind = match verdict {
            Verdict::Is(kind) => kind,
            Verdict::WrongSign(why) => {
                return Err(self.reject(RejectReason::BadQuantity, why.to_owned(), false));
            }
            Verdict::Kept { .. } | Verdict::Unclear => {
                let why = "no rule of the mapping says what this row is ([[rules]])";
                return Err(self.reject(RejectReason::Unclear, why.to_owned(), false));
            }
        };
        Ok(Row {
            number: self.number,
            line: self.line,
            kind,
            quantity: match kind {
                Kind::Sale | Kind::Found => quantity.abs(),
                Kind::TakeBack | Kind::WriteOff => -quantity.abs(),
            },
            rank: 0,
            day,
            customer: self.customer,
            document: self.document,
            sku: self.sku,
        })
    }

    /// Makes the reject of this row. `names_sku`: the mapping names the article.
    fn reject(&self, reason: RejectReason, detail: String, names_sku: bool) -> Reject {
        let where_good = |text: &str, is_good: bool| if is_good { text.to_owned() } else { String::new() };
        Reject {
            row: self.number,
            line: self.line,
            reason,
            detail,
            document: where_good(
                &self.document,
                holdfast_api::names::Reference::new(&self.document).is_ok(),
            ),
            // A SKU may have blanks, as the name of a person or a street has. Only a plain code is certainly
            // not personal.
            sku: where_good(
                &self.sku,
                names_sku || holdfast_api::names::Sku::new(&self.sku).is_ok_and(|sku| sku.is_plain()),
            ),
            quantity: self.quantity.map(|units| units.to_string()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
