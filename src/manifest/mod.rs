//! Reads manifests: files and streams become objects that know where each field was written, with the stores and namespaces
//! among them. Every command reads manifests by this module; what is wrong with them, `waypost lint` says.

mod bundle;
mod document;
mod kinds;
mod kustomize;
mod namespaces;
mod problem;
mod source;
mod stores;
mod uses;

pub use bundle::{Bundle, Object, bundle, span_of};
pub use document::{Entry, Node, Value};
pub use kinds::{Kind, kind_named};
pub use namespaces::Labels;
pub use problem::{Located, Problem};
pub use source::{Exclude, Found, ReadError, Skipped, Source, read};
pub use stores::{AtHand, Stores, query, stores};
pub use uses::{Read, earlier_versions, mapping, push_facts, push_root, read_spec, reads};
