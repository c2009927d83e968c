//! The script that tells the linker which code belongs together.

use std::collections::BTreeSet;

use super::Entered;
use super::map::{Function, Map, Piece};

/// What a script begins with.
const HEAD: &str = "\
/* The code that nodes run, so that the linker puts it together: of the rest of the program, pages are never read. First what all run,
   to start, to join and to rest; then what some do. Written by `cargo xtask link-order`; names that are gone do no harm, and new
   ones only lie elsewhere. */
SECTIONS {
";
const TAIL: &str = "}\nINSERT BEFORE .text;\n";

/// Where code lies: by the name of its section, or by the file of which it is all.
#[derive(Default)]
struct Places {
    sections: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Places {
    fn add(&mut self, piece: &Piece, function: &Function) {
        match named_sections(piece, function) {
            Some(names) => self.sections.extend(names),
            None => self.files.extend(file(piece)),
        }
    }

    /// Returns a section for the program: of what lies in these places, and not in `others`.
    fn section(&self, name: &str, others: &BTreeSet<String>) -> String {
        let fronts: BTreeSet<_> = self.sections.iter().map(|section| telling(section, others)).collect();
        let sections: String = fronts.into_iter().map(|front| format!("      {front}*\n")).collect();
        let files: String = self.files.iter().map(|file| format!("    {file}(.text .text.*)\n")).collect();
        format!("  {name} : {{\n    *(\n{sections}    )\n{files}  }}\n")
    }
}

/// Returns the script that puts together what was entered.
pub(super) fn script(map: &Map, entered: &Entered) -> String {
    let (mut hot, mut warm, mut others) = (Places::default(), Places::default(), Places::default());
    for (at, function) in &map.functions {
        let Some(piece) = map.pieces.get(function.piece) else { continue };
        let places = match (entered.hot.contains(at), entered.warm.contains(at)) {
            (true, _) => &mut hot,
            (false, true) => &mut warm,
            (false, false) => &mut others,
        };
        places.add(piece, function);
    }
    // What is hot is taken first, so that a front which is common to both does no harm to the warm.
    let not_warm = others.sections.clone();
    others.sections.extend(warm.sections.iter().cloned());
    [HEAD, &hot.section(".text.hot", &others.sections), &warm.section(".text.warm", &not_warm), TAIL].concat()
}

/// Returns the sections that hold `function` under each of its names; `None` if its section is not named by it.
fn named_sections(piece: &Piece, function: &Function) -> Option<Vec<String>> {
    let kind = function.names.iter().find_map(|name| piece.section.strip_suffix(&**name))?;
    Some(function.names.iter().map(|name| format!("{kind}{}", lasting(name))).collect())
}

/// Returns as much of the front of `name` as none of `others` has; all of it if one begins with all of it.
fn telling<'a>(name: &'a str, others: &BTreeSet<String>) -> &'a str {
    let before = others.range(..=name.to_owned()).next_back();
    let after = others.range(name.to_owned()..).next();
    let common = |other: &String| name.bytes().zip(other.bytes()).take_while(|(mine, its)| mine == its).count();
    let common = before.map(common).max(after.map(common)).unwrap_or(0);
    name.get(..common + 1).unwrap_or(name)
}

/// Returns the pattern of a mangled name that outlives this build: without the number of each crate, which depends on its version
/// and the compiler's, and without what is appended where units share a function.
///
/// A crate is `C`, its number `s…_`, and its name (mangling of Rust, version 0: RFC 2603).
fn lasting(name: &str) -> String {
    let (mut rest, _) = name.split_once(".llvm.").unwrap_or((name, ""));
    let mut pattern = String::with_capacity(rest.len());
    while let Some((before, number)) = rest.split_once("Cs") {
        pattern.push_str(before);
        pattern.push_str("Cs");
        rest = number;
        let digits = number.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        if let Some(after) = digits.strip_prefix('_') {
            pattern.push_str("*_");
            rest = after;
        }
    }
    pattern + rest
}

/// Returns the pattern of an object file in an archive, without the numbers that say which build it is of.
fn file(piece: &Piece) -> Option<String> {
    let (archive, member) = piece.file.strip_suffix(')')?.rsplit_once('(')?;
    let archive = archive.rsplit('/').next().unwrap_or(archive);
    let archive = match archive.strip_suffix(".rlib").and_then(|name| name.rsplit_once('-')) {
        Some((name, _)) => format!("{name}-*.rlib"),
        None => archive.to_owned(),
    };
    let is_number = |text: &str| text.len() == 16 && text.chars().all(|c| c.is_ascii_hexdigit());
    let member = match member.split_once('-') {
        Some((number, name)) if is_number(number) => format!("*-{name}"),
        _ => member.to_owned(),
    };
    Some(format!("*{archive}:{member}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "VMA
             100              100      999    64 .text
             110              110       10     1         /x/deps/node.o:(.text._RNvCs1aB_3fmt3two.llvm.77)
             110              110       10     1                 _RNvCs1aB_3fmt3two.llvm.77
             110              110       10     1                 _RNvMCs2_5alloc
             120              120       10     1         /x/deps/node.o:(.text.unlikely._RNvCs1aB_3fmt5three)
             120              120       10     1                 _RNvCs1aB_3fmt5three
             130              130       10     1         /x/deps/node.o:(.text._RNvCs1aB_3fmt4four)
             130              130       10     1                 _RNvCs1aB_3fmt4four
             140              140       10     1         /usr/lib/libc.a(malloc.o):(.text)
             140              140        8     1                 malloc
             148              148        8     1                 free
             150              150       10     1         /x/libring-58b634002b3316ab.rlib(b9fed4bd5e786284-x86_64-mont.o):(.text)
             150              150       10     1                 mont
";

    #[test]
    fn a_name_is_told_by_its_front_unless_others_have_all_of_it() {
        let others = ["ab", "abcd", "b"].map(str::to_owned).into();
        assert_eq!(["abce", "ab", "abc", "c"].map(|name| telling(name, &others)), ["abce", "ab", "abc", "c"]);
        assert_eq!(telling("aaaa", &others), "aa");
    }

    #[test]
    fn a_script_names_what_was_seen_so_that_another_build_has_it_too() {
        let map = Map::parse(MAP).expect("a map");
        let entered = Entered { hot: [0x110, 0x140, 0x148].into(), warm: [0x120, 0x150].into() };
        let script = script(&map, &entered);
        let told: Vec<_> = script.lines().skip_while(|line| !line.contains("SECTIONS")).map(str::trim).collect();
        let expected = [
            "SECTIONS {",
            ".text.hot : {",
            "*(",
            ".text._RNvCs*_3fmt3*",
            ".text._RNvM*",
            ")",
            "*libc.a:malloc.o(.text .text.*)",
            "}",
            ".text.warm : {",
            "*(",
            ".text.u*",
            ")",
            "*libring-*.rlib:*-x86_64-mont.o(.text .text.*)",
            "}",
            "}",
            "INSERT BEFORE .text;",
        ];
        assert_eq!(told, expected);
    }
}
