//! Mappings. A mapping describes how one kind of file is written, and what its rows mean. It is a TOML file;
//! `docs/mappings/` has some.
//!
//! ```toml
//! [columns]                       # the file's own names
//! document = "Order"
//! sku = "Article"
//! quantity = "Pieces"
//! date = "Date"
//! price = "Price"                 # may be left out
//! customer = "Customer"           # may be left out
//!
//! [file]                          # all of this may be left out
//! separator = ";"                 # `,` by default
//! encoding = "windows-1252"       # `utf-8` by default
//!
//! [numbers]
//! decimal = ","
//!
//! [dates]
//! formats = ["%d.%m.%Y %H:%M"]    # as strftime has them
//!
//! [[rules]]                       # the first one that fits decides
//! quantity = "positive"
//! then = "sale"
//! ```

use std::collections::BTreeMap;

use encoding_rs::Encoding;
use serde::Deserialize;

use super::dates;
use super::numbers::NumberFormat;
use super::rules::{self, Rule};

/// The largest mapping file, in bytes.
pub const MAX_MAPPING_BYTES: usize = 256 << 10;
/// The most rules of a mapping: a 64-bit number has one bit for each.
pub(crate) const MAX_MAPPING_RULES: usize = 64;
/// The most date formats of a mapping.
const MAX_DATE_FORMATS: usize = 64;

/// The reason why a text is not a mapping.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// The text is not TOML, or not of this shape.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] Box<toml::de::Error>),
    /// The text is larger than a mapping may be.
    #[error("it is larger than {MAX_MAPPING_BYTES} bytes")]
    TooLarge,
    /// A part of the text has no meaning.
    #[error("{0}")]
    Meaningless(String),
}

/// The description of a kind of file: how it is written, and what its rows mean.
#[derive(Debug, Clone)]
pub struct Mapping {
    pub(crate) file: FileFormat,
    pub(crate) columns: Columns,
    pub(crate) numbers: NumberFormat,
    pub(crate) date_formats: Vec<String>,
    pub(crate) document_case: Case,
    pub(crate) sku_case: Case,
    /// The rule for articles that are not goods. It is applied before the other rules.
    pub(crate) not_stock: Option<Rule>,
    pub(crate) rules: Vec<Rule>,
}

/// The way in which lines and fields are written.
#[derive(Debug, Clone)]
pub(crate) struct FileFormat {
    pub(crate) separator: u8,
    pub(crate) quote: Option<u8>,
    /// The encoding, with one byte for each character. None means UTF-8.
    pub(crate) encoding: Option<&'static Encoding>,
    pub(crate) has_line_breaks: bool,
}

/// The names of the columns in the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Columns {
    pub(crate) document: String,
    pub(crate) sku: String,
    pub(crate) quantity: String,
    pub(crate) date: String,
    pub(crate) price: Option<String>,
    pub(crate) customer: Option<String>,
    /// Columns that only the first row of a document has. The other rows have the values of the first row.
    #[serde(default)]
    pub(crate) only_in_first_row: Vec<String>,
}

/// Whether upper and lower case make different names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Case {
    /// Upper and lower case make different names, and a name is taken as it is.
    #[default]
    AsItStands,
    /// The file writes one name in both cases, so names are taken in upper case.
    Upper,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MappingFile {
    columns: Columns,
    #[serde(default)]
    file: FileTable,
    #[serde(default)]
    numbers: NumbersTable,
    #[serde(default)]
    dates: DatesTable,
    #[serde(default)]
    names: NamesTable,
    rules: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileTable {
    separator: String,
    quote: String,
    encoding: String,
    line_breaks_in_fields: bool,
}

impl Default for FileTable {
    fn default() -> Self {
        Self {
            separator: ",".to_owned(),
            quote: "\"".to_owned(),
            encoding: "utf-8".to_owned(),
            line_breaks_in_fields: false,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct NumbersTable {
    decimal: String,
    thousands: String,
}

impl Default for NumbersTable {
    fn default() -> Self {
        Self {
            decimal: ".".to_owned(),
            thousands: String::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DatesTable {
    formats: Vec<String>,
}

impl Default for DatesTable {
    /// Returns the formats of ISO 8601, which most programs write.
    fn default() -> Self {
        let mut formats = vec!["%Y-%m-%d".to_owned()];
        for between in ["T", " "] {
            for time in ["%H:%M", "%H:%M:%S", "%H:%M:%S%.f"] {
                for offset in ["", "Z", "%:z", "%z", " %z", " UTC"] {
                    formats.push(format!("%Y-%m-%d{between}{time}{offset}"));
                }
            }
        }
        Self { formats }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct NamesTable {
    document_case: Case,
    sku_case: Case,
}

impl Mapping {
    /// Returns the mapping that is used when nobody named one. It has the columns `InvoiceNo`, `StockCode`,
    /// `Quantity`, `InvoiceDate`, `UnitPrice` and `CustomerID`, and dates of ISO 8601. A positive quantity is
    /// a sale. A negative one with a price is a return.
    pub fn plain() -> Self {
        let text = include_str!("plain.toml");
        // A unit test reads this mapping.
        Self::parse(text).unwrap_or_else(|error| unreachable!("the plain mapping: {error}"))
    }

    /// Reads the text of a mapping file.
    ///
    /// # Errors
    /// [`MappingError`] describes the fault.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        if text.len() > MAX_MAPPING_BYTES {
            return Err(MappingError::TooLarge);
        }
        let file: MappingFile = toml::from_str(text).map_err(Box::new)?;
        let rules = file.rules.unwrap_or_else(rules::plain);
        let mapping = Self {
            file: file_format(&file.file)?,
            columns: file.columns,
            numbers: number_format(&file.numbers)?,
            date_formats: file.dates.formats,
            document_case: file.names.document_case,
            sku_case: file.names.sku_case,
            not_stock: None,
            rules,
        };
        mapping.check()?;
        Ok(mapping)
    }

    /// Returns the mapping with a further rule before all others: these articles are not goods.
    #[must_use]
    pub fn without_stock(mut self, skus: &[String]) -> Self {
        self.not_stock = (!skus.is_empty()).then(|| rules::not_stock(skus));
        self
    }

    fn check(&self) -> Result<(), MappingError> {
        let wrong = |what: String| Err(MappingError::Meaningless(what));
        let columns = &self.columns;
        let needed = [&columns.document, &columns.sku, &columns.quantity, &columns.date];
        let others = columns.price.iter().chain(&columns.customer);
        let mut used: BTreeMap<&str, u32> = BTreeMap::new();
        for name in needed.into_iter().chain(others) {
            *used.entry(name).or_default() += 1;
        }
        if let Some((name, _)) = used
            .iter()
            .find(|(name, count)| name.trim().is_empty() || **count > 1)
        {
            return wrong(format!(
                "[columns] names the column {name:?} twice, or not at all"
            ));
        }
        if self.date_formats.is_empty() || self.date_formats.len() > MAX_DATE_FORMATS {
            return wrong(format!(
                "[dates] formats has none, or more than {MAX_DATE_FORMATS}"
            ));
        }
        if let Some(format) = self.date_formats.iter().find(|format| !dates::is_format(format)) {
            return wrong(format!(
                "[dates] formats has {format:?}, which does not name a day as strftime does"
            ));
        }
        if self.rules.is_empty() || self.rules.len() > MAX_MAPPING_RULES {
            return wrong(format!("[[rules]] has none, or more than {MAX_MAPPING_RULES}"));
        }
        for (number, rule) in self.rules.iter().enumerate() {
            rule.check()
                .map_err(|why| MappingError::Meaningless(format!("rule {} {why}", number + 1)))?;
        }
        Ok(())
    }
}

fn file_format(file: &FileTable) -> Result<FileFormat, MappingError> {
    let wrong = |what: String| Err(MappingError::Meaningless(what));
    let mark = |text: &str| match text.as_bytes() {
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !matches!(byte, b'\n' | b'\r') => {
            Some(*byte)
        }
        _ => None,
    };
    let Some(separator) = mark(&file.separator) else {
        return wrong(format!(
            "[file] separator is {:?}: it must be one character, such as \",\"",
            file.separator
        ));
    };
    let quote = match file.quote.as_str() {
        "" => None,
        text => match mark(text).filter(|quote| *quote != separator) {
            Some(quote) => Some(quote),
            None => {
                return wrong(format!(
                    "[file] quote is {text:?}: it must be one character, or \"\" for none"
                ));
            }
        },
    };
    let encoding = match Encoding::for_label(file.encoding.as_bytes()) {
        Some(encoding) if encoding == encoding_rs::UTF_8 => None,
        Some(encoding) if encoding.is_single_byte() && encoding.is_ascii_compatible() => Some(encoding),
        _ => {
            return wrong(format!(
                "[file] encoding is {:?}: read are utf-8, and those of one byte a character such as windows-1252 \
                 (https://encoding.spec.whatwg.org/#names-and-labels)",
                file.encoding
            ));
        }
    };
    Ok(FileFormat {
        separator,
        quote,
        encoding,
        has_line_breaks: file.line_breaks_in_fields,
    })
}

fn number_format(numbers: &NumbersTable) -> Result<NumberFormat, MappingError> {
    let one = |text: &str| {
        let mut all = text.chars();
        let first = all
            .next()
            .filter(|mark| !mark.is_ascii_digit() && !matches!(mark, '+' | '-'));
        first.filter(|_| all.next().is_none())
    };
    let thousands = match numbers.thousands.as_str() {
        "" => Some(None),
        text => one(text).map(Some),
    };
    match (one(&numbers.decimal), thousands) {
        (Some(decimal), Some(thousands)) if Some(decimal) != thousands => {
            Ok(NumberFormat { decimal, thousands })
        }
        _ => Err(MappingError::Meaningless(
            "[numbers] decimal and thousands must each be one mark, and not the same".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &str = "[columns]\ndocument = \"a\"\nsku = \"b\"\nquantity = \"c\"\ndate = \"d\"\n";

    #[test]
    fn the_plain_mapping_is_one() {
        assert_eq!(Mapping::plain().columns.document, "InvoiceNo");
    }

    #[test]
    fn what_is_left_out_is_as_most_files_have_it() {
        let mapping = Mapping::parse(COLUMNS).unwrap();
        assert_eq!((mapping.file.separator, mapping.file.quote), (b',', Some(b'"')));
        assert!(mapping.file.encoding.is_none() && !mapping.file.has_line_breaks);
        assert_eq!(mapping.rules.len(), rules::plain().len());
    }

    #[test]
    fn a_mapping_without_meaning_is_refused_with_what_is_wrong() {
        let cases = [
            ("", "columns"),
            ("[columns]\nsku = \"b\"", "document"),
            (
                "[columns]\ndocument = \"a\"\nsku = \"a\"\nquantity = \"c\"\ndate = \"d\"",
                "twice",
            ),
            ("[file]\nseparator = \";;\"", "separator"),
            ("[file]\nquote = \",\"", "quote"),
            ("[file]\nencoding = \"utf-16\"", "encoding"),
            ("[file]\nencoding = \"shift_jis\"", "encoding"),
            ("[file]\ncolour = 1", "colour"),
            ("[numbers]\ndecimal = \".\"\nthousands = \".\"", "thousands"),
            ("[dates]\nformats = [\"%H:%M\"]", "%H:%M"),
            ("[dates]\nformats = []", "formats"),
            ("[[rules]]\nthen = \"steal\"", "steal"),
            ("[[rules]]\nthen = \"left-out\"", "because"),
            ("[names]\nsku_case = \"lower\"", "lower"),
        ];
        for (text, names) in cases {
            let whole = if text.contains("[columns]") || text.is_empty() {
                text.to_owned()
            } else {
                format!("{COLUMNS}{text}")
            };
            let error = Mapping::parse(&whole).unwrap_err().to_string();
            assert!(error.contains(names), "{text}: {error}");
        }
        let rules = |count: usize| format!("{COLUMNS}{}", "[[rules]]\nthen = \"sale\"\n".repeat(count));
        assert!(Mapping::parse(&rules(MAX_MAPPING_RULES + 1)).is_err());
        Mapping::parse(&rules(MAX_MAPPING_RULES)).unwrap();
        let formats =
            |count: usize| format!("{COLUMNS}[dates]\nformats = [{}]", "\"%Y-%m-%d\",".repeat(count));
        assert!(Mapping::parse(&formats(MAX_DATE_FORMATS + 1)).is_err());
        Mapping::parse(&formats(MAX_DATE_FORMATS)).unwrap();
        let large = format!("# {}\n{COLUMNS}", " ".repeat(MAX_MAPPING_BYTES));
        assert!(matches!(Mapping::parse(&large), Err(MappingError::TooLarge)));
    }
}
