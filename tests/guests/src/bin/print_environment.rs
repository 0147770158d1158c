//! Prints every argument and variable it can see.

fn main() {
    for (index, arg) in std::env::args().enumerate() {
        println!("argument {index} {arg}");
    }
    for (name, value) in std::env::vars() {
        println!("variable {name}={value}");
    }
}
