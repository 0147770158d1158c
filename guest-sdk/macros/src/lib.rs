//! `text!`: splits a format string at compile time, so that a hook concatenates the pieces without `core::fmt`.

use proc_macro::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use std::{iter::Peekable, str::Chars};

/// Exported and documented by `wrapper-hook`.
#[proc_macro]
pub fn text(input: TokenStream) -> TokenStream {
    let mut tokens = input.into_iter();
    let first = tokens.next();
    match pieces(first.as_ref(), values(tokens)) {
        Ok(pieces) => concatenated(pieces),
        Err(why) => source(&format!("::core::compile_error!({why:?})")),
    }
}

/// A piece of a format string.
enum Piece {
    /// The source of a string literal.
    Text(String),
    /// An expression.
    Value(TokenStream),
}

/// The arguments behind the format string, separated by commas.
fn values(tokens: impl Iterator<Item = TokenTree>) -> Vec<TokenStream> {
    let mut values = Vec::new();
    for token in tokens {
        match (&token, values.last_mut()) {
            (TokenTree::Punct(comma), _) if comma.as_char() == ',' => values.push(TokenStream::new()),
            (_, Some(value)) => value.extend([token]),
            (_, None) => {}
        }
    }
    values.retain(|value| !value.is_empty());
    values
}

fn pieces(literal: Option<&TokenTree>, values: Vec<TokenStream>) -> Result<Vec<Piece>, String> {
    let Some(TokenTree::Literal(literal)) = literal else { return Err("text! takes a string literal first".into()) };
    let span = literal.span();
    let literal = literal.to_string();
    let (open, inside, close) = quotes(&literal).ok_or("text! takes a string literal first")?;
    let mut pieces = Vec::new();
    let mut plain = String::from(open);
    let mut values = values.into_iter();
    let mut rest = inside.chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            '\\' if !open.starts_with('r') => escape(&mut rest, &mut plain),
            '{' | '}' if rest.next_if_eq(&char).is_some() => plain.push(char),
            '{' => {
                let name: String = std::iter::from_fn(|| rest.next_if(|char| *char != '}')).collect();
                rest.next().ok_or("text! has a { without its }; a brace itself is written {{")?;
                plain.push_str(close);
                pieces.push(Piece::Text(std::mem::replace(&mut plain, open.into())));
                pieces.push(Piece::Value(if name.is_empty() {
                    values.next().ok_or("text! has more {} than values")?
                } else {
                    named(&name, span)?
                }));
            }
            '}' => return Err("text! has a } without its {; a brace itself is written }}".into()),
            _ => plain.push(char),
        }
    }
    plain.push_str(close);
    pieces.push(Piece::Text(plain));
    match values.next() {
        Some(unused) => Err(format!("text! has no {{}} for {unused}")),
        None => Ok(pieces),
    }
}

/// The variable of this name in the scope of the format string.
fn named(name: &str, span: Span) -> Result<TokenStream, String> {
    let is_name = |char: char| char.is_alphanumeric() || char == '_';
    if !name.chars().all(is_name) || name.starts_with(|char: char| char.is_ascii_digit()) {
        return Err(format!(
            "{{{name}}}: text! supports {{}} and {{name}}; alloc::format! supports the rest, and makes a hook 4 kB larger"
        ));
    }
    Ok(TokenTree::from(Ident::new(name, span)).into())
}

/// Splits a literal into what is before, between and behind its quotes; the quotes stay outside.
fn quotes(literal: &str) -> Option<(&str, &str, &str)> {
    let start = literal.find('"')? + 1;
    let end = literal.rfind('"')?;
    let is_text = literal.starts_with(['"', 'r']);
    Some((literal.get(..start)?, literal.get(start..end)?, literal.get(end..)?)).filter(|_| is_text)
}

/// Copies an escape; the braces of `\u{…}` are no placeholder.
fn escape(rest: &mut Peekable<Chars<'_>>, plain: &mut String) {
    plain.push('\\');
    let Some(char) = rest.next() else { return };
    plain.push(char);
    if char == 'u' {
        plain.extend(std::iter::from_fn(|| rest.next_if(|char| *char != '}')));
        plain.extend(rest.next());
    }
}

/// Generates `&PIECE as &dyn wrapper_hook::Text,`.
fn code(piece: Piece) -> TokenStream {
    let value = match piece {
        Piece::Text(text) if text == "\"\"" => return TokenStream::new(),
        Piece::Text(text) => source(&text),
        Piece::Value(value) => value,
    };
    let value = TokenTree::from(Group::new(Delimiter::Parenthesis, value));
    [source("&"), value.into(), source("as &dyn ::wrapper_hook::Text,")].into_iter().collect()
}

/// Generates `wrapper_hook::concat(&[PIECES])`.
fn concatenated(pieces: Vec<Piece>) -> TokenStream {
    let pieces = TokenTree::from(Group::new(Delimiter::Bracket, pieces.into_iter().map(code).collect()));
    let list = [source("&"), pieces.into()].into_iter().collect();
    let list = TokenTree::from(Group::new(Delimiter::Parenthesis, list));
    [source("::wrapper_hook::concat"), list.into()].into_iter().collect()
}

fn source(code: &str) -> TokenStream {
    code.parse().unwrap_or_default()
}
