//! The source tree as text: what is code, what is comment, literal or test.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

/// One file of the repository.
#[derive(Debug, Clone)]
pub struct Source {
    /// Relative to the repository, with `/`.
    pub path: String,
    pub text: String,
}

impl Source {
    /// A made-up file, to try a rule on.
    pub fn sample(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    /// The module path below the crate: `src/a/b.rs` is `[a, b]`, `src/a/mod.rs` is `[a]`, `src/lib.rs` is `[]`.
    pub fn module(&self) -> Vec<&str> {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let path = path.strip_suffix(".rs").unwrap_or(path);
        let mut parts: Vec<&str> = path.split('/').collect();
        if matches!(parts.last(), Some(&"mod" | &"lib" | &"main")) {
            parts.pop();
        }
        parts
    }

    /// The code: comments, literals and `#[cfg(test)]` items are blank, line numbers are kept.
    pub fn code(&self) -> String {
        without_tests(&without_comments_and_literals(&self.text))
    }
}

/// The folder of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One file of the repository; fails when it is missing.
pub fn file(path: &str) -> Source {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    Source { path: path.into(), text }
}

/// Every file below a folder whose name ends so, by path.
pub fn below(folder: &str, suffix: &str) -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root().join(folder), suffix, &mut found);
    found.sort();
    let relative =
        |path: &PathBuf| path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
    found.iter().map(|path| file(&relative(path))).collect()
}

/// Every file of the library and the binary that is not a test.
pub fn library() -> Vec<Source> {
    let all = below("src", ".rs");
    let tests: BTreeSet<String> = all.iter().flat_map(test_modules).collect();
    let is_test =
        |path: &str| tests.iter().any(|test| path == format!("{test}.rs") || path.starts_with(&format!("{test}/")));
    all.into_iter().filter(|source| !is_test(&source.path)).collect()
}

/// The files, without `.rs`, of modules declared as `#[cfg(test)] mod name;`.
fn test_modules(source: &Source) -> Vec<String> {
    let declared = Regex::new(r"#\[cfg\(test\)\]\s*(?:pub(?:\(\w+\))?\s+)?mod\s+(\w+)\s*;").expect("a regex");
    let module = source.module();
    let names = declared.captures_iter(&source.text).map(|found| found[1].to_owned());
    names.map(|name| format!("src/{}", [module.clone(), vec![&name]].concat().join("/"))).collect()
}

fn walk(folder: &Path, suffix: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            walk(&path, suffix, found);
        } else if path.to_string_lossy().ends_with(suffix) {
            found.push(path);
        }
    }
}

/// Blanks comments and the insides of literals; newlines stay.
fn without_comments_and_literals(text: &str) -> String {
    let literal = Regex::new(
        r##"(?sx)
          //[^\n]*                                   # line comment
        | b?r\#\#"  .*? "\#\#  | b?r\#"  .*? "\#  | b?r" [^"]* "   # raw strings
        | b?" (?: \\. | [^"\\] )* "                  # strings
        | b?' (?: \\ (?: u\{[0-9a-fA-F_]+\} | x[0-9a-fA-F]{2} | . ) | [^'\\] ) '   # characters; a lifetime has no end
        | /\* .*? \*/                                # block comment
        "##,
    )
    .expect("a regex");
    literal.replace_all(text, |found: &regex::Captures<'_>| blank(&found[0])).into_owned()
}

/// Blanks items under `#[cfg(test)]`: to the matching brace, or to the semicolon.
fn without_tests(code: &str) -> String {
    let mut rest = code;
    let mut kept = String::new();
    while let Some(start) = rest.find("#[cfg(test)]") {
        let item = &rest[start..];
        let mut depth = 0;
        let end = item.char_indices().skip("#[cfg(test)]".len()).find_map(|(at, character)| {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            (depth == 0 && matches!(character, '}' | ';')).then_some(at + 1)
        });
        let end = end.unwrap_or(item.len());
        kept.push_str(&rest[..start]);
        kept.push_str(&blank(&item[..end]));
        rest = &item[end..];
    }
    kept + rest
}

fn blank(text: &str) -> String {
    text.chars().map(|character| if character == '\n' { '\n' } else { ' ' }).collect()
}

#[test]
fn comments_literals_and_tests_are_no_code() {
    let code = Source::sample(
        "src/a.rs",
        r###"
        use crate::kept; // use crate::comment;
        /* crate::block */ fn f<'a>(x: &'a str) -> char { g("crate::text \" ", r#"crate::"raw""#); '"' }
        #[cfg(test)]
        mod tests { use crate::tested; fn t() { { crate::deep() } } }
        #[cfg(test)] mod more;
        fn g() { crate::also_kept() }
        "###,
    )
    .code();
    let found: Vec<&str> =
        Regex::new(r"crate::(\w+)").expect("a regex").find_iter(&code).map(|at| at.as_str()).collect();
    assert_eq!(found, ["crate::kept", "crate::also_kept"], "{code}");
}

#[test]
fn a_module_is_named_by_its_place() {
    let module = |path| Source::sample(path, "").module().join("::");
    let modules = ["src/lib.rs", "src/clock.rs", "src/a/mod.rs", "src/a/b.rs", "src/a/b/mod.rs"].map(module);
    assert_eq!(modules, ["", "clock", "a", "a::b", "a::b"]);
}

#[test]
fn a_file_of_tests_is_known_by_its_declaration() {
    let source =
        Source::sample("src/a/b.rs", "#[cfg(test)]\nmod tests;\n#[cfg(test)] pub(crate) mod fakes;\nmod real;");
    assert_eq!(test_modules(&source), ["src/a/b/tests", "src/a/b/fakes"]);
}
