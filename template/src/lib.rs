//! Go's `text/template` for values that are byte strings and secrets.
//!
//! A template is [parsed](Template::parse) once and [rendered](Template::render) often. Its text is
//! split into [tokens](syntax), which become a tree; the [evaluator](exec) walks the tree; and
//! [`format`] prints values as Go's `fmt` does. Nothing here does I/O, and nothing here puts a
//! value into an error: errors carry positions, names of functions and keys, and kinds of values.
//! What a template may use is bounded by a [`Budget`].

#![forbid(unsafe_code)]

pub mod budget;
mod calls;
pub mod check;
pub mod error;
mod exec;
pub mod expression;
mod format;
mod functions;
mod go_text;
mod piece;
mod syntax;
mod template;
mod value;
mod yaml;

pub use budget::Budget;
pub use error::{Fault, Position};
pub use functions::json::escaped as json_escaped;
pub use functions::names as function_names;
pub use piece::Piece;
pub use template::Template;
pub use value::{Data, Output};
pub use yaml::{NoKeysAndValues, keys_and_values};

/// The example of the README is run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
