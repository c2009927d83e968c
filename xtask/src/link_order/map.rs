//! What the linker's map says of a program: its pieces of code, where each came from, and the functions in it.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};

/// Where the names begin in a line of the map of lld: after four columns of numbers.
const NAME_COLUMN: usize = 49;

/// How far the name of an input section is set in, and of a symbol.
const SECTION_INDENT: usize = 8;
const SYMBOL_INDENT: usize = 16;

/// A piece of code as the compiler made it: one function, or all of an object file of C or assembler.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The file it came from: an object, or `archive(member)`.
    pub(super) file: String,
    /// The name of its section, such as `.text.unlikely._RNv…`.
    pub(super) section: String,
    pub(super) bytes: u64,
}

/// A function, and whatever was folded into it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// The number of the piece it is in.
    pub(super) piece: usize,
    /// Its mangled names: many when functions of equal code were folded into one.
    pub(super) names: Vec<String>,
}

/// The code of a program.
#[derive(Debug, Default)]
pub(super) struct Map {
    pub(super) pieces: Vec<Piece>,
    /// By its address in the file.
    pub(super) functions: BTreeMap<u64, Function>,
}

impl Map {
    /// Reads what lld wrote for `-Map` and `--no-demangle`.
    ///
    /// # Errors
    /// When a line of it is none, or there is no code.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut map = Self::default();
        let mut is_code = false;
        for (number, line) in text.lines().enumerate().skip(1) {
            let columns = line.get(..NAME_COLUMN).zip(line.get(NAME_COLUMN..));
            let (numbers, name) = columns.with_context(|| format!("line {} of the map is cut short", number + 1))?;
            let trimmed = name.trim_start();
            match name.len() - trimmed.len() {
                0 => is_code = trimmed.starts_with(".text"),
                _ if !is_code => {}
                SECTION_INDENT => map.begin_piece(numbers, trimmed),
                SYMBOL_INDENT => map.add_function(numbers, trimmed),
                _ => {}
            }
        }
        ensure!(!map.functions.is_empty(), "the map has no functions");
        Ok(map)
    }

    fn begin_piece(&mut self, numbers: &str, name: &str) {
        // Anything else, such as an assignment of a script, is no piece.
        let Some((file, section)) = name.strip_suffix(')').and_then(|name| name.rsplit_once(":(")) else { return };
        let Some((_, bytes)) = place(numbers) else { return };
        self.pieces.push(Piece { file: file.to_owned(), section: section.to_owned(), bytes });
    }

    fn add_function(&mut self, numbers: &str, name: &str) {
        let (Some((at, bytes)), Some(piece)) = (place(numbers), self.pieces.len().checked_sub(1)) else { return };
        if bytes == 0 {
            return; // a label
        }
        let function = self.functions.entry(at).or_insert_with(|| Function { piece, names: Vec::new() });
        function.names.push(name.to_owned());
    }
}

/// Reads the address and the size, which are the first and the third column.
fn place(numbers: &str) -> Option<(u64, u64)> {
    let mut columns = numbers.split_whitespace();
    let number = |text: Option<&str>| text.and_then(|text| u64::from_str_radix(text, 16).ok());
    Some((number(columns.next())?, number(columns.nth(1))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "             VMA              LMA     Size Align Out     In      Symbol
             400              400       99     1 .rodata
             400              400       99     1         /a/b.o:(.rodata.x)
             400              400       99     1                 x
          2b6b40           2b6b40   b749e8    64 .text
          2b6c29           2b6c29       27     1         /a/libc.a(malloc.o):(.text)
          2b6c29           2b6c29       1a     1                 malloc
          2b6c43           2b6c43        0     1                 a_label
          2b6c44           2b6c44        c     1                 free
          2b6c50           2b6c50      139     1         /a/b.o:(.text.unlikely._RNvCsX_1a1f)
          2b6c50           2b6c50      139     1                 _RNvCsX_1a1f
          2b6c50           2b6c50      139     1                 _RNvCsX_1a1g
";

    #[test]
    fn functions_are_read_with_all_their_names_and_the_piece_they_are_in() {
        let map = Map::parse(TEXT).expect("a map");
        let files: Vec<_> = map.pieces.iter().map(|piece| (&*piece.file, &*piece.section, piece.bytes)).collect();
        assert_eq!(files, [("/a/libc.a(malloc.o)", ".text", 0x27), ("/a/b.o", ".text.unlikely._RNvCsX_1a1f", 0x139)]);
        let names: Vec<_> = map.functions.values().map(|function| (function.piece, &*function.names)).collect();
        let [malloc, free, folded] = ["malloc", "free", "_RNvCsX_1a1f"].map(str::to_owned);
        let second = "_RNvCsX_1a1g".to_owned();
        assert_eq!(names, [(0, &[malloc][..]), (0, &[free][..]), (1, &[folded, second][..])]);
    }

    #[test]
    fn a_map_without_code_or_cut_short_is_refused() {
        let (head, _) = TEXT.split_once("          2b6b40").expect("a line of it");
        assert_eq!(Map::parse(head).expect_err("no code").to_string(), "the map has no functions");
        let cut = Map::parse("VMA\n  2b6b40  ").expect_err("cut short");
        assert_eq!(cut.to_string(), "line 2 of the map is cut short");
    }
}
