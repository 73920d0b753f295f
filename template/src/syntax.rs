//! From text to tree: Go's syntax of templates.

mod lexer;
pub mod node;
mod number;
mod parser;
mod token;

pub use number::{float as float_of, signed as int_of, unsigned as uint_of};
pub use parser::{Trees, parse};
