//! Checks the spec of a store with the controller's own parsers.

use std::ops::Range;

use crate::api::store_spec::StoreInterval;
use crate::api::{StoreKind, StoreSpec};
use crate::manifest::{Object, Problem, span_of};
use crate::store::admit::{self, ConditionError};
use crate::store::connection::CaSource;
use crate::store::vault::connect::{self, ConnectError};
use crate::store::{StoreName, StoreRefusal, connection, credentials};

/// The fields below which a refusal's words may be fields.
const ROOTS: [&str; 5] =
    ["spec.provider.vault", "spec.provider.openBao", "spec.provider.vault.auth", "spec.provider.openBao.auth", "spec"];

/// Checks a SecretStore or ClusterSecretStore.
pub fn check(object: &Object<'_>, kind: StoreKind) -> Vec<Problem> {
    // The schema reports a wrong shape.
    let spec = object.node.get("spec").and_then(|node| serde_json::from_value::<StoreSpec>(node.admitted()).ok());
    let Some(spec) = spec else { return Vec::new() };
    let name = StoreName::referred(object.metadata("namespace"), kind, object.metadata("name"));
    let interval = spec.refresh_interval.as_ref().and_then(|interval| wrong_interval(object, interval));
    let conditions = admit::check(&spec.conditions).err().map(|refused| wrong_condition(object, &refused));
    interval.into_iter().chain(conditions).chain(wrong_connection(object, &name, &spec)).collect()
}

fn wrong_interval(object: &Object<'_>, interval: &StoreInterval) -> Option<Problem> {
    let (refused, field) = (interval.parse().err()?, "spec.refreshInterval");
    Some(Problem::error("duration", span_of(&object.node, field), format!("`{field}`: {refused}"), None))
}

fn wrong_condition(object: &Object<'_>, refused: &ConditionError) -> Problem {
    let rule = match refused {
        ConditionError::Regex { .. } => "regexp",
        ConditionError::Selector { .. } => "selector",
    };
    Problem::error(rule, span_of(&object.node, &refused.field()), refused.to_string(), None)
}

/// Checks the connection and the login, without reading a credential.
fn wrong_connection(object: &Object<'_>, name: &StoreName, spec: &StoreSpec) -> Option<Problem> {
    // A ClusterSecretStore may read in the namespace of its user.
    let consumer = name.namespace.as_deref().unwrap_or("a-consumer");
    let connection = match connection::parse(name, spec, consumer) {
        Ok(connection) => connection,
        Err(StoreRefusal::Invalid { what, .. }) => return Some(problem(object, "store", &what)),
        Err(StoreRefusal::Unsupported { what, .. }) => {
            let message =
                format!("the store uses {what}, which is not supported by this version of Waypost: change the store");
            return Some(Problem::error("unsupported", written(object, &what), message, None));
        }
        // Only a cluster knows whom it serves and whether it can be reached.
        Err(
            StoreRefusal::NotFound { .. }
            | StoreRefusal::OtherController { .. }
            | StoreRefusal::NotAllowed { .. }
            | StoreRefusal::Failed(_),
        ) => return None,
    };
    let refused = way(&connection).err()?;
    let field = match &refused {
        ConnectError::ReservedHeader { .. } | ConnectError::Header { .. } => "`headers`",
        ConnectError::Namespace => "`namespace`",
        ConnectError::Ca { .. } => "`caBundle`",
        ConnectError::Address { .. }
        | ConnectError::AddressParts
        | ConnectError::LinkLocal { .. }
        | ConnectError::Endpoint { .. }
        | ConnectError::ClientCertificate
        | ConnectError::Client => "`server`",
    };
    Some(Problem::error("store", written(object, field), refused.to_string(), None))
}

fn way(connection: &connection::Connection) -> Result<(), ConnectError> {
    connect::address(&connection.server)?;
    connect::headers(&connection.headers.0)?;
    connect::namespace(connection.namespace.as_deref())?;
    connect::namespace(connection.login_namespace.as_deref())?;
    match &connection.ca {
        CaSource::Bundle(bytes) => {
            let (name, pem) = credentials::ca_bundle(bytes);
            connect::client(Some((&name, &pem)), None).map(drop)
        }
        // Only a cluster has the certificates.
        CaSource::System | CaSource::Secret(_) | CaSource::ConfigMap(_) => Ok(()),
    }
}

fn problem(object: &Object<'_>, rule: &str, what: &str) -> Problem {
    Problem::error(rule, written(object, what), what.to_owned(), None)
}

/// The span of the field that a refusal names first, as in "`auth.appRole` needs `roleId`"; else of
/// the provider.
fn written(object: &Object<'_>, what: &str) -> Range<usize> {
    let named = what.split('`').nth(1).unwrap_or_default();
    let field = named.split([':', ' ']).next().unwrap_or_default();
    let first = field.split('.').next().unwrap_or_default();
    let root = ROOTS.into_iter().find(|root| object.node.at(root).is_some_and(|node| node.get(first).is_some()));
    match root {
        Some(root) => span_of(&object.node, &format!("{root}.{field}")),
        None => span_of(&object.node, "spec.provider"),
    }
}
