//! The one table that the figures of several benchmarks make.

use std::fmt;

use anyhow::{Context as _, ensure};

const HEAD: Row<'static> = Row(["benchmark", "measured", "compared", "limit", "verdict"]);
/// Verdict of a figure beyond its limit.
const BROKEN: &str = "BROKEN";

/// Rows of the tables that benchmarks print: Markdown of five columns, [`HEAD`]'s.
#[derive(Debug, Default)]
pub(super) struct Table {
    lines: Vec<String>,
}

/// The cells of one line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row<'a>([&'a str; 5]);

impl Table {
    /// Adds what a benchmark has printed; what is not of its table is passed over.
    ///
    /// # Errors
    /// When there is no row in it, or one of another number of columns.
    pub(super) fn add(&mut self, printed: &str) -> anyhow::Result<()> {
        let before = self.lines.len();
        for line in printed.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---")) {
            let row = Row::of(line).with_context(|| format!("a row of other columns than {HEAD}: {line}"))?;
            if row != HEAD {
                self.lines.push(line.to_owned());
            }
        }
        ensure!(self.lines.len() > before, "a benchmark printed no figures");
        Ok(())
    }

    /// Returns the rows whose limits are broken.
    pub(super) fn broken(&self) -> Vec<Row<'_>> {
        self.rows().filter(|Row([.., verdict])| *verdict == BROKEN).collect()
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.lines.iter().filter_map(|line| Row::of(line))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = HEAD.0.map(str::len);
        for Row(cells) in self.rows() {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = cell.chars().count().max(*width);
            }
        }
        let [w0, w1, w2, w3, w4] = widths;
        for (row, number) in std::iter::once(HEAD).chain(self.rows()).zip(0..) {
            let [name, measured, compared, limit, verdict] = row.0;
            writeln!(f, "| {name:<w0$} | {measured:>w1$} | {compared:<w2$} | {limit:<w3$} | {verdict:<w4$} |")?;
            if number == 0 {
                writeln!(f, "|---|---:|---|---|---|")?;
            }
        }
        Ok(())
    }
}

impl<'a> Row<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let cells: Vec<&str> = line.trim().strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
        // Not an error here: who asks knows what the line was.
        <[&str; 5]>::try_from(cells).map(Self).ok()
    }
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.0.into_iter().filter(|cell| !cell.is_empty()).collect();
        f.write_str(&words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "warming up\n| benchmark | measured | compared | limit | verdict |\n|---|---:|---|---|---|\n\
                       | pick | 9.10 ns | 1.90 x floor | <= 2.0 x | ok |\n\
                       | gate |    3 ns |  | <= 2 ns | BROKEN |\n";

    fn table(printed: &[&str]) -> anyhow::Result<Table> {
        let mut table = Table::default();
        for text in printed {
            table.add(text)?;
        }
        Ok(table)
    }

    #[test]
    fn tables_become_one_with_one_head_and_straight_columns() {
        let table = table(&[ONE, ONE]).expect("two tables");
        let expected = "\
| benchmark | measured | compared     | limit    | verdict |
|---|---:|---|---|---|
| pick      |  9.10 ns | 1.90 x floor | <= 2.0 x | ok      |
| gate      |     3 ns |              | <= 2 ns  | BROKEN  |
| pick      |  9.10 ns | 1.90 x floor | <= 2.0 x | ok      |
| gate      |     3 ns |              | <= 2 ns  | BROKEN  |
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn broken_limits_are_found_and_said_in_a_line() {
        let table = table(&[ONE]).expect("a table");
        let broken: Vec<String> = table.broken().iter().map(ToString::to_string).collect();
        assert_eq!(broken, ["gate, 3 ns, <= 2 ns, BROKEN"]);
    }

    #[test]
    fn a_benchmark_without_figures_or_of_other_columns_is_an_error() {
        assert_eq!(table(&["all fine\n"]).expect_err("no row").to_string(), "a benchmark printed no figures");
        let wrong = table(&[ONE, "| a | b |"]).expect_err("two columns").to_string();
        assert!(wrong.ends_with(": | a | b |"), "{wrong}");
    }
}
