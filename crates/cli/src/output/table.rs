//! Rows and columns: aligned under a head on a terminal, bare and tab-separated elsewhere.

use comfy_table::{Cell, ColumnConstraint, ContentArrangement, Row, presets};

use super::Output;
use crate::failure::Failure;

/// Below this a terminal is taken for one that does not know its width.
const NARROWEST: u16 = 60;

/// A table in the making.
#[derive(Debug)]
pub(crate) struct Table {
    head: &'static [&'static str],
    rows: Vec<Vec<String>>,
    wraps: bool,
}

impl Table {
    /// With these columns. On a terminal that is too narrow, the last one is cut off.
    pub(crate) fn new(head: &'static [&'static str]) -> Self {
        Self { head, rows: Vec::new(), wraps: false }
    }

    /// With these columns. On a terminal that is too narrow, the last one takes several lines.
    pub(crate) fn wrapping(head: &'static [&'static str]) -> Self {
        Self { wraps: true, ..Self::new(head) }
    }

    /// Names and values, without a head. What has no value is left out.
    pub(crate) fn facts() -> Self {
        Self::wrapping(&["", ""])
    }

    /// Adds a name and its value, unless that is empty or `-`.
    pub(crate) fn fact(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() && value != "-" {
            self.row([name.to_owned(), value]);
        }
    }

    /// Adds a row of as many cells as there are columns.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.head.len());
        self.rows.push(cells.map(|cell| one_line(&cell)).to_vec());
    }

    /// Prints it; on a terminal `nothing` instead where there are no rows.
    pub(crate) fn print(self, output: Output, nothing: &str) -> Result<(), Failure> {
        if !output.terminal {
            let lines: String = self.rows.iter().map(|row| format!("{}\n", row.join("\t"))).collect();
            return output.bytes(lines.as_bytes());
        }
        if self.rows.is_empty() {
            super::note(nothing);
            return Ok(());
        }
        output.line(&self.draw(None))
    }

    /// The table as a terminal of this width shows it; none: of the terminal's own.
    fn draw(self, width: Option<u16>) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_truncation_indicator("…");
        if !self.head.iter().all(|name| name.is_empty()) {
            table.set_header(self.head.iter().map(Cell::new));
        }
        for cells in self.rows {
            let mut row = Row::from(cells);
            if !self.wraps {
                row.max_height(1);
            }
            table.add_row(row);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        if let Some(width) = width.or_else(|| table.width()).filter(|&w| w >= NARROWEST) {
            // What people copy, ids above all, is in the other columns and stays whole.
            table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
            let whole = vec![ColumnConstraint::ContentWidth; self.head.len() - 1];
            table.set_constraints(whole);
        }
        table.trim_fmt()
    }
}

/// What a person would see of `text` in a cell: its first line, without what would break the table.
pub(crate) fn one_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The last line of `text`: what an error usually says last is what it is.
pub(crate) fn last_line(text: &str) -> String {
    one_line(text.trim().lines().next_back().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_cuts_the_last_column_only() {
        let mut table = Table::new(&["ID", "MESSAGE"]);
        table.row(["3441a9609ce00000ba375900".to_owned(), "a long story ".repeat(9)]);
        let text = table.draw(Some(60));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[1].starts_with("3441a9609ce00000ba375900  a long story"), "{text}");
        assert!(lines[1].ends_with('…'), "{text}");
        let mut table = Table::wrapping(&["FACT", "VALUE"]);
        table.row(["message".to_owned(), "a long story ".repeat(9)]);
        assert!(table.draw(Some(60)).lines().count() > 2);
    }

    #[test]
    fn a_cell_cannot_break_the_table() {
        assert_eq!(one_line("\n a\tb\u{1b}[31m\nc"), "a b [31m");
        assert_eq!(last_line("Traceback\n  x\nError: no\n"), "Error: no");
    }
}
