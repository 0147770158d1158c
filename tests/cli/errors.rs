//! docs/errors.md and the program agree: every message on the page occurs in the sources or in a test of them, and
//! every error that keeps a command from starting is on the page.

use crate::harness::repository;
use std::{fs, path::Path};

/// A source file with the lines joined that a string literal continues on, and without its unit tests.
fn source(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.fold(String::new(), |mut joined, line| {
        match joined.strip_suffix('\\').map(str::len) {
            Some(length) => joined.truncate(length),
            None => joined.push('\n'),
        }
        let continues = joined.ends_with(|last| last != '\n');
        joined + if continues { line.trim_start() } else { line }
    })
}

/// The Rust files below a folder, or the file itself.
fn files(path: &Path) -> Vec<std::path::PathBuf> {
    if path.is_file() {
        return if path.extension().is_some_and(|extension| extension == "rs") {
            vec![path.into()]
        } else {
            Vec::new()
        };
    }
    fs::read_dir(path).unwrap().flat_map(|entry| files(&entry.unwrap().path())).collect()
}

/// The string literals between the parenthesis that is open at the start of this code and its end.
fn literals(code: &str) -> Vec<String> {
    let (mut found, mut literal, mut depth) = (Vec::new(), None::<String>, 1);
    let mut chars = code.chars();
    while let Some(char) = chars.next() {
        match (&mut literal, char) {
            (Some(text), '\\') => text.extend(chars.next()),
            (Some(_), '"') => found.extend(literal.take()),
            (Some(text), _) => text.push(char),
            (None, '"') => literal = Some(String::new()),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            // A character, which may be a quotation mark or a parenthesis; a lifetime has no second quote there.
            (None, '\'') if chars.as_str().chars().nth(1) == Some('\'') => _ = chars.nth(1),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

/// The longest part of a message that is the same whatever its values are.
fn fixed(literal: &str) -> &str {
    let parts = literal
        .split('{')
        .enumerate()
        .map(|(at, part)| if at == 0 { part } else { part.split_once('}').map_or("", |(_, behind)| behind) });
    parts.max_by_key(|part| part.len()).unwrap_or_default()
}

/// Where errors that keep a command from starting are made, and how.
const OF_THE_START: [&str; 6] = [
    "host/src/cli",
    "host/src/exit_codes.rs",
    "host/src/text.rs",
    "host/src/environment.rs",
    "host/src/supervise/rewrite.rs",
    "host/src/hook",
];
const MAKES_AN_ERROR: [&str; 11] = [
    "bail!(",
    "ensure!(",
    "anyhow!(",
    "context(",
    "with_context(",
    "errors.push(",
    "errors.extend(",
    "Err(",
    "unless(",
    "Some(format!(",
    "Line::new(Level::Error,",
];

#[test]
fn every_error_that_keeps_a_command_from_starting_is_on_the_page() {
    let page = fs::read_to_string(repository("docs/errors.md")).unwrap().replace("\\|", "|");
    let (mut checked, mut missing) = (0, Vec::new());
    for file in OF_THE_START.iter().flat_map(|path| files(&repository(path))) {
        // What a hook does when it runs.
        if file.components().any(|part| part.as_os_str() == "runner") {
            continue;
        }
        let source = source(&file);
        for marker in MAKES_AN_ERROR {
            for (place, _) in source.match_indices(marker) {
                for literal in literals(&source[place + marker.len()..]) {
                    // The page may leave out the end of a long one.
                    let words: Vec<_> = fixed(&literal).trim().split(' ').take(4).collect();
                    if words.len() > 2 {
                        let start = words.join(" ");
                        if !page.contains(&start) {
                            missing.push(format!("{start:?} of {literal:?}, {}", file.display()));
                        }
                        checked += 1;
                    }
                }
            }
        }
    }
    assert!(missing.is_empty(), "docs/errors.md lacks {missing:#?}");
    assert!(checked > 60, "{checked}");
}

#[test]
fn every_message_on_the_page_occurs_in_the_sources_or_in_a_test() {
    let page = fs::read_to_string(repository("docs/errors.md")).unwrap().replace("\\|", "|");
    let folders = ["host/src", "guest-sdk/src", "hooks", "tests"].map(|folder| files(&repository(folder)));
    // Not this file: a message in it is no proof.
    let files = folders.iter().flatten().filter(|file| !file.ends_with("cli/errors.rs"));
    let sources: String = files.map(|file| source(file).replace("\\\"", "\"")).collect();
    let (mut checked, mut unknown) = (0, Vec::new());
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let quoted = row.split(" | ").next().unwrap();
        for message in quoted.split('`').skip(1).step_by(2) {
            // What depends on the case: words with digits, names in capitals, and what is left out.
            let is_value = |word: &str| {
                let letters = word.trim_matches(|c: char| !c.is_alphanumeric());
                word.contains(|c: char| c == '…' || c.is_ascii_digit())
                    || (letters.len() > 2 && !letters.contains(|c: char| c.is_lowercase()))
            };
            // The verdict, and what a message is about, are put in front of it.
            let parts = message.split(": ").map(|part| part.split(' ').collect::<Vec<_>>());
            let parts: Vec<Vec<_>> =
                parts.flat_map(|words| words.split(|word| is_value(word)).map(Vec::from).collect::<Vec<_>>()).collect();
            for part in parts.iter().filter(|part| part.len() > 1) {
                let part = part.join(" ");
                if !sources.contains(part.trim_matches(['(', ')', ':'])) {
                    unknown.push(format!("{part:?} of {message:?}"));
                }
                checked += 1;
            }
        }
    }
    assert!(unknown.is_empty(), "no source has {unknown:#?}");
    assert!(checked > 60, "{checked}");
}
