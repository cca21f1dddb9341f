//! Lines and fields, read strictly by RFC 4180. A file that uses something the RFC leaves open is refused.
//!
//! A quote that is never closed would swallow the rows up to the next quote. So a quote that can be read in
//! two ways refuses the whole file, and the error names the lines. A field may extend over several lines only
//! where the mapping allows it. Even then, no line of the field may look like a row of its own.

use std::io::{self, BufRead};

use super::mapping::FileFormat;

/// The most bytes of a line, and of all lines of one row.
pub(crate) const MAX_ROW_BYTES: usize = 1 << 20;
/// The most places that an error names.
const MAX_NAMED_PLACES: usize = 10;

/// The reason why a whole file of orders is refused. Nothing was done with it.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The file is empty.
    #[error("it is empty: the first line must have the names of the columns")]
    Empty,
    /// The file has an encoding with zeros between its letters.
    #[error("it is in UTF-16: save it as UTF-8")]
    Utf16,
    /// One line is too long.
    #[error(
        "line {line} and what belongs to it has more than {MAX_ROW_BYTES} bytes: is it a file of orders?"
    )]
    TooLong {
        /// The line, counted from 1.
        line: u64,
    },
    /// The quotes do not show where a field ends.
    #[error("its quotes do not say where fields end: {}{}", places.join("; "), if *more { "; and more" } else { "" })]
    Quotes {
        /// The faults and their lines.
        places: Vec<String>,
        /// True when there are more places than are named.
        more: bool,
    },
    /// Several lines are one row by their quotes, but cannot be one.
    #[error(
        "lines {first_line} to {last_line} are one row by their quotes, but {why}: is a quote left open on line {first_line}?"
    )]
    NoRow {
        /// The line on which the row begins, counted from 1.
        first_line: u64,
        /// The line on which the row ends.
        last_line: u64,
        /// The property that the row lacks.
        why: String,
    },
    /// A column that the mapping names is missing, or appears twice.
    #[error("{0}")]
    Header(String),
}

/// One row: its fields and its lines.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// The line on which the row begins, counted from 1.
    pub(crate) line: u64,
    /// The line on which the row ends.
    pub(crate) last_line: u64,
    bytes: Vec<u8>,
    /// The end of each field in `bytes`.
    ends: Vec<usize>,
}

impl Record {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, field: usize) -> Option<&[u8]> {
        let end = *self.ends.get(field)?;
        let start = match field.checked_sub(1) {
            None => 0,
            Some(before) => *self.ends.get(before)?,
        };
        self.bytes.get(start..end)
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|field| self.get(field))
    }

    fn clear(&mut self, line: u64) {
        self.line = line;
        self.bytes.clear();
        self.ends.clear();
    }

    fn end_field(&mut self) {
        self.ends.push(self.bytes.len());
    }
}

/// A file of rows.
pub(crate) struct Table<'a, R> {
    reader: R,
    format: &'a FileFormat,
    /// The number of the line that was read last.
    line: u64,
    /// The bytes of that line, without its line end.
    text: Vec<u8>,
    /// The number of separators of the header. A line with at least as many looks like a row.
    separators: Option<usize>,
    places: Vec<String>,
}

/// The position of the reader in a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    FieldBegin,
    Plain,
    Quoted,
    QuoteInQuoted,
}

impl<'a, R: BufRead> Table<'a, R> {
    pub(crate) fn new(reader: R, format: &'a FileFormat) -> Self {
        Self {
            reader,
            format,
            line: 0,
            text: Vec::new(),
            separators: None,
            places: Vec::new(),
        }
    }

    /// Reads the first line: the names of the columns.
    pub(crate) fn header(&mut self) -> Result<Record, FeedError> {
        match self.reader.fill_buf()? {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Err(FeedError::Utf16),
            [0xef, 0xbb, 0xbf, ..] => self.reader.consume(3),
            _ => {}
        }
        let mut header = Record::default();
        if !self.read(&mut header)? {
            return Err(FeedError::Empty);
        }
        self.separators = Some(header.len() - 1);
        Ok(header)
    }

    /// Reads the next row, and skips blank lines. Returns false when there is no further row.
    ///
    /// # Errors
    /// The file is refused. Places with wrong quotes are reported together at the file's end.
    pub(crate) fn read(&mut self, record: &mut Record) -> Result<bool, FeedError> {
        loop {
            if !self.next_line()? {
                return if self.places.is_empty() {
                    Ok(false)
                } else {
                    Err(self.quotes(false))
                };
            }
            if self.text.trim_ascii().is_empty() {
                continue;
            }
            match self.row(record)? {
                Ok(()) if self.places.is_empty() => return Ok(true),
                // The rest is searched only for more places.
                Ok(()) => {}
                Err(place) => {
                    self.places.push(place);
                    // When a field may extend over lines, nobody can tell where the next row begins.
                    if self.format.has_line_breaks || self.places.len() == MAX_NAMED_PLACES {
                        return Err(self.quotes(true));
                    }
                }
            }
        }
    }

    fn quotes(&mut self, more: bool) -> FeedError {
        FeedError::Quotes {
            places: std::mem::take(&mut self.places),
            more,
        }
    }

    /// Reads the row that begins with the current line. The inner error is a place where its quotes are
    /// wrong.
    fn row(&mut self, record: &mut Record) -> Result<Result<(), String>, FeedError> {
        let begins = self.line;
        record.clear(begins);
        let mut at = At::FieldBegin;
        // This is the line on which the current field began.
        let mut field_began = begins;
        let mut looks_like_rows = Vec::new();
        loop {
            if self.looks_like_a_row() {
                looks_like_rows.push(self.line);
            }
            for byte in &self.text {
                let is_separator = *byte == self.format.separator;
                let is_quote = Some(*byte) == self.format.quote;
                at = match at {
                    At::FieldBegin | At::Plain if is_separator => {
                        record.end_field();
                        At::FieldBegin
                    }
                    At::FieldBegin if is_quote => {
                        field_began = self.line;
                        At::Quoted
                    }
                    At::Plain if is_quote => {
                        return Ok(Err(format!(
                            "line {} has a quote in the middle of a field that does not begin with one",
                            self.line
                        )));
                    }
                    At::Quoted if is_quote => At::QuoteInQuoted,
                    At::QuoteInQuoted if is_quote => {
                        record.bytes.push(*byte);
                        At::Quoted
                    }
                    At::QuoteInQuoted if is_separator => {
                        record.end_field();
                        At::FieldBegin
                    }
                    At::QuoteInQuoted => {
                        return Ok(Err(format!(
                            "the quote that is opened on line {field_began} is closed on line {}, and what follows is no \
                             separator",
                            self.line
                        )));
                    }
                    At::FieldBegin | At::Plain => {
                        record.bytes.push(*byte);
                        At::Plain
                    }
                    At::Quoted => {
                        record.bytes.push(*byte);
                        At::Quoted
                    }
                };
            }
            if at != At::Quoted {
                break;
            }
            let goes_on = self.format.has_line_breaks && self.next_line()?;
            if !goes_on {
                let advice = if self.format.has_line_breaks {
                    ""
                } else {
                    " (where fields may have line breaks, say line_breaks_in_fields = true in the mapping)"
                };
                return Ok(Err(format!(
                    "the quote that is opened on line {field_began} is not closed{advice}"
                )));
            }
            record.bytes.push(b'\n');
            if record.bytes.len() + self.text.len() > MAX_ROW_BYTES {
                return Err(FeedError::TooLong { line: begins });
            }
        }
        record.end_field();
        let ends = self.line;
        record.last_line = ends;
        // One of the two ends alone may have as many separators by chance, because some are part of the text.
        let both_ends = looks_like_rows.contains(&begins) && looks_like_rows.contains(&ends);
        looks_like_rows.retain(|line| both_ends || (*line != begins && *line != ends));
        if ends > begins && !looks_like_rows.is_empty() {
            let lines: Vec<String> = looks_like_rows.iter().map(u64::to_string).collect();
            return Ok(Err(format!(
                "one row reaches from line {begins} to line {ends}, and line {} of it looks like a row of its own",
                lines.join(", ")
            )));
        }
        Ok(Ok(()))
    }

    fn looks_like_a_row(&self) -> bool {
        let separators = || {
            self.text
                .iter()
                .filter(|byte| **byte == self.format.separator)
                .count()
        };
        self.separators
            .is_some_and(|of_header| of_header > 0 && separators() >= of_header)
    }

    /// Reads a line that ends with LF, CRLF or CR, or at the file's end. Returns false when there is no
    /// further line.
    fn next_line(&mut self) -> Result<bool, FeedError> {
        self.text.clear();
        let mut has_begun = false;
        loop {
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if available.is_empty() {
                if has_begun {
                    self.line += 1;
                }
                return Ok(has_begun);
            }
            has_begun = true;
            let end = available.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let taken = end.unwrap_or(available.len());
            if self.text.len() + taken > MAX_ROW_BYTES {
                return Err(FeedError::TooLong { line: self.line + 1 });
            }
            self.text.extend_from_slice(&available[..taken]);
            let Some(end) = end else {
                self.reader.consume(taken);
                continue;
            };
            let is_carriage_return = available[end] == b'\r';
            self.reader.consume(end + 1);
            if is_carriage_return && self.reader.fill_buf()?.first() == Some(&b'\n') {
                self.reader.consume(1);
            }
            self.line += 1;
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(quote: Option<u8>, has_line_breaks: bool) -> FileFormat {
        FileFormat {
            separator: b',',
            quote,
            encoding: None,
            has_line_breaks,
        }
    }

    type Rows = Vec<(u64, Vec<String>)>;

    fn rows_as(format: &FileFormat, text: &[u8]) -> Result<Rows, FeedError> {
        // The buffer has three bytes, so lines and their ends are cut into pieces.
        let mut table = Table::new(io::BufReader::with_capacity(3, text), format);
        table.header()?;
        let mut rows = Rows::new();
        let mut record = Record::default();
        while table.read(&mut record)? {
            let fields = record
                .fields()
                .map(|field| String::from_utf8(field.to_vec()).unwrap());
            rows.push((record.line, fields.collect()));
        }
        Ok(rows)
    }

    fn rows(text: &str) -> Result<Rows, FeedError> {
        rows_as(&format(Some(b'"'), false), text.as_bytes())
    }

    fn row(line: u64, fields: &[&str]) -> (u64, Vec<String>) {
        (line, fields.iter().map(|field| (*field).to_owned()).collect())
    }

    #[test]
    fn lines_are_counted_whatever_ends_them_and_blank_ones_are_passed_over() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["a,b", "1,x", "", "  ", "2,", ",", "\"3\",\"y, \"\"z\"\"\""].join(end);
            let expected = [
                row(2, &["1", "x"]),
                row(5, &["2", ""]),
                row(6, &["", ""]),
                row(7, &["3", "y, \"z\""]),
            ];
            assert_eq!(rows(&text).unwrap(), expected, "{end:?}");
            assert_eq!(rows(&format!("{text}{end}{end}")).unwrap(), expected, "{end:?}");
        }
    }

    #[test]
    fn quotes_that_do_not_say_where_a_field_ends_refuse_the_file_with_their_lines() {
        let cases = [
            ("a,b\n1,\"TAPE,6\n2,\"LAMP\"", "line 2 is not closed"),
            ("a,b\n1,2\n1,\"2\"x", "opened on line 3 is closed on line 3"),
            ("a,b\n1,5\" TAPE", "line 2 has a quote in the middle"),
            ("a,b\n\"", "line 2 is not closed"),
        ];
        for (text, told) in cases {
            let error = rows(text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
        let many = "a,b\n".to_owned() + &"1,\"\n".repeat(30);
        let FeedError::Quotes { places, more } = rows(&many).unwrap_err() else {
            panic!("not its quotes")
        };
        assert!(places.len() == MAX_NAMED_PLACES && more && places[9].contains("line 11"));
    }

    #[test]
    fn a_field_over_several_lines_is_taken_where_the_mapping_says_so_and_none_of_them_is_a_row() {
        let breaks = format(Some(b'"'), true);
        let good = rows_as(&breaks, b"a,b,c\n1,\"over\r\nlines, two\",3\n4,5,6").unwrap();
        assert_eq!(
            good,
            [row(2, &["1", "over\nlines, two", "3"]), row(4, &["4", "5", "6"])]
        );
        let refused = |text: &str, told: &str| {
            let error = rows_as(&breaks, text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        };
        // Two quotes left open, which together look like one long field.
        refused(
            "a,b,c\n1,\"TAPE,3\n4,5,6\n7,MUG\",9",
            "line 2, 3, 4 of it looks like a row",
        );
        refused("a,b,c\n1,\"TAPE,3\n7,MUG\",9", "line 2, 3 of it looks like a row");
        refused("a,b,c\n1,\"x\n4,5,6\ny\",9", "line 3 of it");
        refused("a,b,c\n1,\"x\ny\"z,9", "closed on line 3");
        refused("a,b,c\n1,\"x\ny", "line 2 is not closed");
    }

    #[test]
    fn where_there_are_no_quotes_a_quote_is_a_letter() {
        let plain = format(None, false);
        let read = rows_as(&plain, b"a,b\n1,5\" TAPE\n\"2,x\"").unwrap();
        assert_eq!(read, [row(2, &["1", "5\" TAPE"]), row(3, &["\"2", "x\""])]);
    }

    #[test]
    fn a_file_that_is_none_is_refused_by_name() {
        assert!(matches!(rows(""), Err(FeedError::Empty)));
        assert!(matches!(rows("\n \n"), Err(FeedError::Empty)));
        let utf16 = rows_as(&format(None, false), &[0xff, 0xfe, b'a', 0]);
        assert!(matches!(utf16, Err(FeedError::Utf16)));
        let marked = rows_as(&format(None, false), b"\xef\xbb\xbfa\n1").unwrap();
        assert_eq!(marked, [row(2, &["1"])]);
    }

    #[test]
    fn a_line_and_a_row_have_a_longest_length() {
        let fits = format!("a\n{}\n", "x".repeat(MAX_ROW_BYTES));
        assert_eq!(rows(&fits).unwrap().len(), 1);
        let long = format!("a\n{}\n", "x".repeat(MAX_ROW_BYTES + 1));
        assert!(matches!(rows(&long), Err(FeedError::TooLong { line: 2 })));
        let lines = format!("a\n\"{}\"\n", "x\n".repeat(MAX_ROW_BYTES / 2 + 1));
        let breaks = format(Some(b'"'), true);
        let read = rows_as(&breaks, lines.as_bytes());
        assert!(matches!(read, Err(FeedError::TooLong { line: 2 })));
    }
}
