//! Tests files whose structure is broken at random: no row vanishes, and none gets a field of another row.

use proptest::prelude::*;

use super::*;

/// One row. Each of its fields distinguishes it from all other rows.
#[derive(Debug, Clone)]
struct Written {
    description: String,
    is_quoted: bool,
    breakage: Breakage,
    blank_lines_before: usize,
}

/// The damage that is done to one row as it is written.
#[derive(Debug, Clone)]
enum Breakage {
    None,
    /// This text is inserted at a place of the row.
    Inserted(prop::sample::Index, &'static str),
    /// One byte is lost.
    Lost(prop::sample::Index),
    /// The rest of the row is lost.
    Cut(prop::sample::Index),
    /// One byte is replaced by this one.
    Changed(prop::sample::Index, u8),
}

fn breakage() -> impl Strategy<Value = Breakage> {
    let text = prop::sample::select(vec![
        "\"", "\"\"", ",", ",,", "\n", "\r", "\r\n", "\n\"", "\",", ";", "\u{0}",
    ]);
    prop_oneof![
        4 => Just(Breakage::None),
        2 => (any::<prop::sample::Index>(), text).prop_map(|(place, text)| Breakage::Inserted(place, text)),
        1 => any::<prop::sample::Index>().prop_map(Breakage::Lost),
        1 => any::<prop::sample::Index>().prop_map(Breakage::Cut),
        1 => (any::<prop::sample::Index>(), prop::sample::select(vec![b'"', b',', b'\n', 0xe9, 0xff]))
            .prop_map(|(place, byte)| Breakage::Changed(place, byte)),
    ]
}

fn written() -> impl Strategy<Value = Written> {
    let description = prop::collection::vec(
        prop::sample::select(vec!["a", "b ", ",", "\"", "é", "\n", "x\ny"]),
        0..6,
    );
    (description, any::<bool>(), breakage(), 0..2_usize).prop_map(
        |(parts, is_quoted, breakage, blank_lines_before)| Written {
            description: parts.concat(),
            is_quoted,
            breakage,
            blank_lines_before,
        },
    )
}

/// A file: its text, and its rows as they were written.
struct File {
    text: Vec<u8>,
    rows: Vec<Place>,
}

/// The place of a written row: its lines and its bytes.
struct Place {
    first_line: u64,
    last_line: u64,
    bytes: Vec<u8>,
    is_whole: bool,
}

impl Place {
    fn has(&self, field: &str) -> bool {
        self.bytes
            .windows(field.len().max(1))
            .any(|part| part == field.as_bytes())
    }
}

fn file(rows: &[Written], end: &str, has_line_breaks: bool) -> File {
    let mut file = File {
        text: format!("{}{end}", HEADER.trim_end()).into_bytes(),
        rows: Vec::new(),
    };
    for (number, row) in rows.iter().enumerate() {
        file.text.extend(end.repeat(row.blank_lines_before).bytes());
        let mut description = row.description.clone();
        if !has_line_breaks {
            description = description.replace('\n', " ");
        }
        let must_quote = description.contains([',', '"', '\n']);
        if must_quote || row.is_quoted {
            description = format!("\"{}\"", description.replace('"', "\"\"").replace('\n', end));
        }
        let text = format!(
            "D{number:02},S{number:02},{description},{},2031-03-01,1.5,{number},X",
            number + 1
        );
        let mut bytes = text.clone().into_bytes();
        let place = |index: &prop::sample::Index, length: usize| index.index(length);
        match &row.breakage {
            Breakage::None => {}
            Breakage::Inserted(index, text) => {
                let place = place(index, bytes.len() + 1);
                bytes.splice(place..place, text.bytes());
            }
            Breakage::Lost(index) => {
                bytes.remove(place(index, bytes.len()));
            }
            Breakage::Cut(index) => bytes.truncate(place(index, bytes.len())),
            Breakage::Changed(index, byte) => {
                let place = place(index, bytes.len());
                bytes[place] = *byte;
            }
        }
        let first_line = lines(&file.text) + 1;
        file.text.extend(&bytes);
        file.text.extend(end.bytes());
        file.rows.push(Place {
            first_line,
            last_line: lines(&file.text),
            is_whole: bytes == text.into_bytes(),
            bytes,
        });
    }
    file
}

/// Returns how many lines end in a text.
fn lines(text: &[u8]) -> u64 {
    let ends = text.iter().enumerate().filter(|(at, byte)| match byte {
        b'\n' => true,
        b'\r' => text.get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    ends.count() as u64
}

/// Returns the number of a row if all its fields agree on it.
fn number_of(row: &Row) -> Option<usize> {
    let number: usize = row.document.strip_prefix('D')?.parse().ok()?;
    (row.sku == format!("S{number:02}") && row.quantity == number as i64 + 1).then_some(number)
}

proptest! {
    #[test]
    fn every_row_is_taken_as_it_stands_or_rejected_with_its_line_or_the_file_is_refused(
        rows in prop::collection::vec(written(), 1..12),
        end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        has_line_breaks in any::<bool>(),
    ) {
        let mut rows = rows;
        if has_line_breaks {
            // When one of two broken rows ends the other's quote, both together may look like one good row.
            // Nobody can detect that.
            let broken = rows.iter().position(|row| !matches!(row.breakage, Breakage::None));
            let others = rows.iter_mut().enumerate().filter(|(number, _)| Some(*number) != broken);
            others.for_each(|(_, row)| row.breakage = Breakage::None);
        }
        let written = file(&rows, end, has_line_breaks);
        let mut mapping = Mapping::plain();
        mapping.file.has_line_breaks = has_line_breaks;
        let any_is_broken = written.rows.iter().any(|place| !place.is_whole);
        let read = match read_orders(&written.text[..], &mapping) {
            Ok(read) => read,
            Err(error) => {
                prop_assert!(any_is_broken, "a whole file was refused: {error}");
                return Ok(());
            }
        };
        for (number, place) in written.rows.iter().enumerate() {
            let lines = place.first_line..=place.last_line;
            let taken: Vec<&Row> = read.rows.iter().filter(|row| lines.contains(&row.line)).collect();
            let rejected = read.rejected.iter().filter(|reject| lines.contains(&reject.line)).count();
            if place.is_whole {
                prop_assert!(taken.len() == 1 && rejected == 0, "row {number}: {read:?}");
                prop_assert_eq!((taken[0].line, number_of(taken[0])), (place.first_line, Some(number)));
            } else {
                // A row that lost all its bytes is a blank line.
                let is_blank = place.bytes.trim_ascii().is_empty();
                prop_assert!(is_blank || taken.len() + rejected > 0, "row {number} vanished: {read:?}");
            }
            for row in taken {
                let own = place.has(&row.document) && place.has(&row.sku) && place.has(&row.quantity.to_string());
                prop_assert!(own, "row {number} has fields of another: {row:?}");
            }
        }
        let is_of_a_row = |line: u64| written.rows.iter().any(|place| (place.first_line..=place.last_line).contains(&line));
        prop_assert!(read.rows.iter().all(|row| is_of_a_row(row.line)));
        prop_assert!(read.rejected.iter().all(|reject| is_of_a_row(reject.line)));
    }

    #[test]
    fn garbage_never_panics_and_is_counted(text in prop::collection::vec(prop::sample::select(vec![b',', b'\n', b'\r', b'"', b'1', b'-', 0xff]), 0..300)) {
        for has_line_breaks in [false, true] {
            let mut mapping = Mapping::plain();
            mapping.file.has_line_breaks = has_line_breaks;
            let whole = [HEADER.as_bytes(), &text].concat();
            if let Ok(read) = read_orders(&whole[..], &mapping) {
                let mut numbers: Vec<u64> = read.rows.iter().map(|row| row.number)
                    .chain(read.rejected.iter().map(|reject| reject.row)).collect();
                numbers.sort_unstable();
                prop_assert_eq!(numbers, (1..=read.count()).collect::<Vec<_>>());
            }
        }
    }
}
