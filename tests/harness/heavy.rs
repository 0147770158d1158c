//! Valid components that take long to validate or to compile: a program of WebAssembly text, followed by core modules
//! that it never instantiates, which are validated and compiled all the same. The bytes are assembled here, because
//! parsing the text of so many instructions would take longer than the test.

use super::guests;
use tempfile::TempPath;

/// Forty functions, each with a branch to one of 65,000 places with 900 values: every one of those is checked for every
/// place. Some MB that take far more than ten seconds to check.
pub fn slow_to_check() -> TempPath {
    const RESULTS: usize = 900;
    const TARGETS: usize = 65_000;
    let mut body = vec![0]; // no locals
    body.extend([0x02, 1]); // a block of the second type: RESULTS values
    body.extend([0x41, 0].repeat(RESULTS + 1)); // i32.const 0
    body.push(0x0e); // br_table
    body.extend(leb(TARGETS));
    body.extend(vec![0; TARGETS + 1]);
    body.push(0x0b);
    body.extend([0x1a].repeat(RESULTS)); // drop
    body.push(0x0b);
    component_with(&module(&results(RESULTS), &vec![body; 40]))
}

/// One function of that many blocks, each inside the one before. A MB of it takes the compiler hundreds of MiB.
pub fn hungry_to_compile(blocks: usize) -> TempPath {
    let mut body = vec![0];
    body.extend([0x02, 0x40].repeat(blocks));
    body.extend([0x0b].repeat(blocks));
    body.push(0x0b);
    component_with(&module(&results(0), &[body]))
}

/// A type with these results, all of them 32-bit numbers.
fn results(count: usize) -> Vec<u8> {
    [vec![0x60, 0], leb(count), vec![0x7f; count]].concat()
}

/// A core module with functions of the type `() -> ()`, whose bodies may use the second type.
fn module(second_type: &[u8], bodies: &[Vec<u8>]) -> Vec<u8> {
    let types = [vec![2, 0x60, 0, 0], second_type.to_vec()].concat();
    let functions = [leb(bodies.len()), vec![0; bodies.len()]].concat();
    let code = [leb(bodies.len()), bodies.iter().flat_map(|body| sized(body)).collect()].concat();
    [b"\0asm\x01\0\0\0".to_vec(), section(1, &types), section(3, &functions), section(10, &code)].concat()
}

fn component_with(module: &[u8]) -> TempPath {
    let program = guests::as_program(r#"(func (export "run") (result i32) (i32.const 0))"#);
    let mut bytes = std::fs::read(&program).unwrap();
    bytes.extend(section(1, module)); // a core module
    guests::bytes(&bytes)
}

fn section(id: u8, contents: &[u8]) -> Vec<u8> {
    [vec![id], sized(contents)].concat()
}

fn sized(contents: &[u8]) -> Vec<u8> {
    [leb(contents.len()), contents.to_vec()].concat()
}

/// A number as WebAssembly writes it, seven bits a byte.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
