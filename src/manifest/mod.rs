//! Reads manifests: parses files and streams into objects with the span of each field, and finds
//! the stores and namespaces among them. Every command reads manifests with this module;
//! `waypost lint` reports what is wrong with them.

mod bundle;
mod document;
mod kinds;
mod kustomize;
mod namespaces;
mod problem;
mod scalar;
mod source;
mod stores;
mod templates;
mod uses;

pub use bundle::{Bundle, Holder, Object, bundle, documents, span_of};
pub use document::{Entry, Node, Value};
pub use kinds::{Kind, kind_named};
pub use namespaces::{LABEL_NAME, Namespace, Namespaces};
pub use problem::{Located, Problem};
pub use source::{Exclude, Found, ReadError, Skipped, Source, bytes, from_file, one, read};
pub use stores::{AtHand, Closed, Stores, query, stores};
pub use templates::{in_template, template_fault};
pub use uses::{Read, earlier_versions, folders, mapping, push_facts, push_root, read_spec, reads, store_references};
