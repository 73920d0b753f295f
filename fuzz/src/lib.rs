//! What must hold for any input, whatever it is. Each target takes bytes and panics if its promise
//! is broken. The fuzzer (`make fuzz`) looks for such bytes; a test replays those that are kept in
//! `corpus/`.
#![forbid(unsafe_code)]

mod decode;
mod json_path;
mod key_rewrite;
mod template;

/// A promise about any input. It panics if the promise is broken.
pub type Target = fn(&[u8]);

/// The targets by their names, which are those of their folders in `corpus/`.
pub const TARGETS: [(&str, Target); 5] = [
    ("decode", decode::check),
    ("json_path", json_path::check),
    ("key_rewrite", key_rewrite::check),
    ("template_parse", template::check_parser),
    ("template_render", template::check_evaluator),
];
