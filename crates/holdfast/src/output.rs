//! Output of results: lines and aligned tables for people, JSON for programs.

use std::io::Write;

use unicode_width::UnicodeWidthStr as _;

/// The printer of results. Results go to stdout. Notes and progress go to stderr, and are left out in JSON
/// mode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Returns whether `--json` was given.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints one line of text on stdout.
    ///
    /// # Errors
    /// When stdout is closed.
    pub(crate) fn line(self, text: impl AsRef<str>) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_ref().as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// Prints one JSON value on a line of its own on stdout.
    ///
    /// # Errors
    /// When stdout is closed.
    pub(crate) fn json(self, value: &impl serde::Serialize) -> std::io::Result<()> {
        self.line(serde_json::to_string(value).map_err(std::io::Error::other)?)
    }

    /// Prints a note for people on stderr. Prints nothing in JSON mode.
    pub(crate) fn note(self, text: impl AsRef<str>) {
        if !self.json {
            let mut err = std::io::stderr().lock();
            // When stderr is closed, only notes are lost, never results.
            let _ = writeln!(err, "{}", text.as_ref());
        }
    }

    /// Prints a table on stdout. Each column is as wide as its widest value; numbers are aligned to the
    /// right.
    ///
    /// # Errors
    /// When stdout is closed.
    pub(crate) fn table(self, headers: &[&str], rows: &[Vec<String>]) -> std::io::Result<()> {
        self.line(render_table(headers, rows).trim_end_matches('\n'))
    }
}

/// Returns whether the command failed because its output was closed by the reader. Broken pipes of the
/// network are client errors, so they do not count here.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

fn render_table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let is_number = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        !digits.is_empty()
            && digits
                .bytes()
                .all(|b| b.is_ascii_digit() || b == b'.' || b == b',')
    };
    let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
    let columns: Vec<(usize, bool)> = headers
        .iter()
        .enumerate()
        .map(|(column, header)| {
            let cells = rows.iter().map(|row| cell(row, column));
            let width = cells
                .clone()
                .map(|text| text.width())
                .chain([header.width()])
                .max()
                .unwrap_or(0);
            let numeric = !rows.is_empty()
                && cells
                    .clone()
                    .all(|text| text.is_empty() || text == "-" || is_number(&text));
            (width, numeric)
        })
        .collect();
    let mut text = String::new();
    let mut push = |cells: Vec<String>| {
        let mut line = String::new();
        for (cell, (width, numeric)) in cells.iter().zip(&columns) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            if *numeric {
                line.push_str(&padding);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&padding);
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    push(headers.iter().map(|header| (*header).to_owned()).collect());
    for row in rows {
        push((0..headers.len()).map(|column| cell(row, column)).collect());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::render_table;

    #[test]
    fn numbers_stand_to_the_right_and_text_to_the_left() {
        let table = render_table(
            &["SKU", "FREE"],
            &[
                vec!["SHIRT-1".to_owned(), "5".to_owned()],
                vec!["HAT".to_owned(), "1000".to_owned()],
            ],
        );
        assert_eq!(table, "SKU      FREE\nSHIRT-1     5\nHAT      1000\n");
    }

    #[test]
    fn a_column_is_as_wide_as_its_characters_are_shown() {
        let row = |sku: &str| vec![sku.to_owned(), "7".to_owned()];
        let table = render_table(
            &["SKU", "FREE"],
            &[row("Größe"), row("サイズ-M"), row("x\u{301}")],
        );
        let lines: Vec<&str> = table.lines().collect();
        // A Japanese character takes two columns, a combining mark takes none.
        assert_eq!(lines[0], "SKU       FREE");
        assert_eq!(lines[1], "Größe        7");
        assert_eq!(lines[2], "サイズ-M     7");
        assert_eq!(lines[3], "x\u{301}            7");
    }
}
