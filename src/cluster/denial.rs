//! Why the API server denied a request, by name: a missing right, a quota, a policy, a webhook, or
//! invalid fields. The server's own texts may quote an object, so only names are taken from them.

use std::fmt;

use kube::core::Status;

/// The maximum number of fields that a message names; the others are counted.
const NAMED: usize = 3;
/// The maximum length of a name that is believed.
const LONGEST_NAME: usize = 253;

/// Who denied the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// A right is missing.
    Right(Box<Right>),
    /// A ResourceQuota is used up.
    Quota {
        /// Its name; it is in the namespace of the object.
        name: String,
    },
    /// A ValidatingAdmissionPolicy.
    Policy { name: String },
    /// An admission webhook.
    Webhook { name: String },
    /// Fields that are not valid.
    Fields {
        /// The first of them.
        named: Vec<String>,
        /// How many more there are.
        others: usize,
    },
    /// The server does not recognise the user.
    Unknown,
    /// The reply does not say.
    Unnamed,
}

/// What a user may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    user: String,
    verb: String,
    /// With its subresource, as in `serviceaccounts/token`.
    resource: String,
    /// Empty for the core group.
    group: String,
    /// `None` for the whole cluster.
    namespace: Option<String>,
}

impl Denial {
    /// Parses a reply that denies a request.
    pub fn of(status: &Status) -> Self {
        let text = status.message.as_str();
        if status.code == 401 {
            return Denial::Unknown;
        }
        // These first: their texts end with text of their authors.
        if let Some(name) = name_between(text, "ValidatingAdmissionPolicy '", "'") {
            return Denial::Policy { name };
        }
        if let Some(name) = name_between(text, "admission webhook \"", "\" denied") {
            return Denial::Webhook { name };
        }
        // The second text appears while the quota has not been counted yet.
        let quota = ["exceeded quota: ", "status unknown for quota: "].into_iter();
        if let Some(name) = quota.filter_map(|words| name_between(text, words, ",")).next() {
            return Denial::Quota { name };
        }
        if let Some(right) = right(text) {
            return Denial::Right(Box::new(right));
        }
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let mut fields: Vec<String> = causes.map(|cause| cause.field.clone()).filter(|field| is_field(field)).collect();
        fields.dedup();
        let others = fields.len().saturating_sub(NAMED);
        fields.truncate(NAMED);
        match fields.is_empty() {
            true => Denial::Unnamed,
            false => Denial::Fields { named: fields, others },
        }
    }
}

/// `User "…" cannot create resource "secrets" in API group "" in the namespace "app"`, in RBAC's
/// words.
fn right(text: &str) -> Option<Right> {
    let (_, text) = text.split_once("User \"")?;
    Some(Right {
        user: name_between(text, "", "\" cannot ")?,
        verb: name_between(text, "\" cannot ", " resource \"")?,
        resource: name_between(text, " resource \"", "\"")?,
        group: name_between(text, "in API group \"", "\"").unwrap_or_default(),
        namespace: name_between(text, "in the namespace \"", "\""),
    })
}

/// The text between two others, if it can be a name.
fn name_between(text: &str, before: &str, after: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    let (name, _) = rest.split_once(after)?;
    let fits = |character: char| character.is_ascii_alphanumeric() || "-._:/@".contains(character);
    (!name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(fits)).then(|| name.to_owned())
}

/// Whether a text can be the path of a field. A key of a Secret in it may have a space.
fn is_field(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_NAME && text.chars().all(|character| matches!(character, ' '..='~'))
}

/// Names who denied the request, and what to do about it.
impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denial::Right(right) => write!(f, "{right}"),
            Denial::Quota { name } => {
                write!(
                    f,
                    "the ResourceQuota {name} is used up: raise it, or delete what it counts (kubectl describe resourcequota {name})"
                )
            }
            Denial::Policy { name } => {
                write!(
                    f,
                    "the ValidatingAdmissionPolicy {name} denies it: kubectl get validatingadmissionpolicy {name} -o yaml shows its rules"
                )
            }
            Denial::Webhook { name } => write!(f, "the admission webhook {name} denies it: its operator knows why"),
            Denial::Fields { named, others } => {
                let named: Vec<String> = named.iter().map(|field| format!("`{field}`")).collect();
                write!(f, "not valid: {}", named.join(", "))?;
                match others {
                    0 => Ok(()),
                    others => write!(f, " and {others} more"),
                }
            }
            Denial::Unknown => f.write_str(
                "the API server does not know who asks: check the token or certificate that Waypost logs in with",
            ),
            Denial::Unnamed => f.write_str("the API server does not say who denied it: see its audit log"),
        }
    }
}

/// The command in it checks the right as the user who lacks it.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Right { user, verb, resource, group, namespace } = self;
        let (kind, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let dot = if group.is_empty() { "" } else { "." };
        write!(f, "{user} may not {verb} {resource}{dot}{group}")?;
        if let Some(namespace) = namespace {
            write!(f, " in namespace {namespace}")?;
        }
        write!(f, ": grant it by a Role or ClusterRole, and check with kubectl auth can-i {verb} {kind}{dot}{group}")?;
        if !subresource.is_empty() {
            write!(f, " --subresource={subresource}")?;
        }
        if let Some(namespace) = namespace {
            write!(f, " -n {namespace}")?;
        }
        write!(f, " --as={user}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The message for a reply with this text and these causes.
    fn said(code: u16, message: &str, fields: &[&str]) -> String {
        let cause = |field: &&str| json!({ "reason": "FieldValueInvalid", "field": field, "message": "\"s3cret\"" });
        let causes: Vec<_> = fields.iter().map(cause).collect();
        let answer = json!({ "code": code, "message": message, "details": { "causes": causes } });
        Denial::of(&serde_json::from_value(answer).unwrap()).to_string()
    }

    #[test]
    fn who_said_no_is_named_with_the_next_step() {
        let account = "system:serviceaccount:waypost:waypost";
        let rbac = |resource: &str, scope: &str| {
            let text = format!(
                "serviceaccounts \"es-sa\" is forbidden: User \"{account}\" cannot create resource \"{resource}\" in API group \"\" {scope}"
            );
            said(403, &text, &[])
        };
        let token = rbac("serviceaccounts/token", "in the namespace \"app\"");
        assert!(
            token.starts_with(&format!("{account} may not create serviceaccounts/token in namespace app: ")),
            "{token}"
        );
        let command = format!("can-i create serviceaccounts --subresource=token -n app --as={account}");
        assert!(token.ends_with(&command), "{token}");
        let whole = rbac("namespaces", "at the cluster scope");
        assert!(whole.ends_with(&format!("kubectl auth can-i create namespaces --as={account}")), "{whole}");
        let group = said(
            403,
            "x is forbidden: User \"u\" cannot patch resource \"pushsecrets/status\" in API group \"external-secrets.io\" in the namespace \"a\"",
            &[],
        );
        assert!(group.contains("can-i patch pushsecrets.external-secrets.io --subresource=status -n a"), "{group}");
        let quota = said(
            403,
            "secrets \"a\" is forbidden: exceeded quota: few, requested: count/secrets=1, used: count/secrets=1, limited: count/secrets=1",
            &[],
        );
        assert!(quota.contains("ResourceQuota few is used up"), "{quota}");
        for code in [403, 422] {
            let policy = said(
                code,
                "secrets \"a\" is forbidden: ValidatingAdmissionPolicy 'no-tokens' with binding 'all' denied request: s3cret",
                &[""],
            );
            assert!(policy.contains("ValidatingAdmissionPolicy no-tokens denies it"), "{policy}");
            assert!(!policy.contains("s3cret"), "{policy}");
        }
        let webhook = said(400, "admission webhook \"check.example.com\" denied the request: s3cret", &[]);
        assert!(webhook.contains("webhook check.example.com") && !webhook.contains("s3cret"), "{webhook}");
        assert!(said(401, "Unauthorized", &[]).contains("does not know who asks"));
    }

    #[test]
    fn fields_are_named_and_nothing_of_a_value_is() {
        assert_eq!(said(422, "Secret \"a\" is invalid: data[a b]: s3cret", &["data[a b]"]), "not valid: `data[a b]`");
        let many = said(422, "", &["a", "b", "c", "d", "e"]);
        assert_eq!(many, "not valid: `a`, `b`, `c` and 2 more");
        for hostile in ["exceeded quota: s3cret value, x", "User \"s3 cret\" cannot", "nothing known: s3cret"] {
            assert!(!said(403, hostile, &["s3cret\n"]).contains("s3"), "{hostile}");
        }
    }
}
