//! Panics in a function with a name.

use wrapper_hook::{Context, Result};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    open_the_box(cx.command().len());
    Ok(())
}

#[inline(never)]
fn open_the_box(cats: usize) {
    panic!("no cat in the box of {cats}");
}
