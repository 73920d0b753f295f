//! Names of labels, annotations, finalizers and field managers on objects in the cluster.

/// Marks a target that Waypost or ESO keeps up to date; its value is `"true"`.
pub const LABEL_MANAGED: &str = "reconcile.external-secrets.io/managed";
/// Names the owner of an `Owner` target: the SHA3-224 of `<namespace>/<ExternalSecret name>` in
/// hex.
pub const LABEL_CREATED_BY: &str = "reconcile.external-secrets.io/created-by";
/// The component label that every one of our CustomResourceDefinitions carries.
pub const LABEL_COMPONENT: &str = "external-secrets.io/component";

/// The digest of a target's data, on the target itself and nowhere else.
pub const ANNOTATION_DATA_HASH: &str = "reconcile.external-secrets.io/data-hash";
/// On a ClusterExternalSecret: mirrored to its children, so that a change of its value refreshes
/// all of them.
pub const ANNOTATION_FORCE_SYNC: &str = "external-secrets.io/force-sync";
/// On a store: no warnings about unmaintained or deprecated providers.
pub const ANNOTATION_IGNORE_MAINTENANCE: &str = "external-secrets.io/ignore-maintenance-checks";

/// On an ExternalSecret or PushSecret, value `"true"`: adopt an existing Secret or path that is not
/// ours.
pub const ANNOTATION_ADOPT: &str = "waypost.io/adopt";
/// On an ExternalSecret, value `"true"`: delete and recreate a target that is immutable when its
/// data must change.
pub const ANNOTATION_RECREATE_IMMUTABLE: &str = "waypost.io/recreate-immutable";
/// On an ExternalSecret: a new value confirms that it takes the current version of a path that went
/// back to an older one.
pub const ANNOTATION_ACCEPT_OLDER: &str = "waypost.io/force-sync";
/// On a store: allows the deletions that `MassDeletionBlocked` blocks. Any new value counts once.
pub const ANNOTATION_ALLOW_MASS_DELETION: &str = "waypost.io/allow-mass-deletion";
/// On a PushSecret that is being deleted, value `"true"`: it is deleted even where what it pushed
/// cannot be removed.
pub const ANNOTATION_ABANDON: &str = "waypost.io/abandon";
/// On a PushSecret, `Keep`, `Destroy` or `Purge`: what happens to the earlier versions of an entry
/// whose last property it removes.
pub const ANNOTATION_EARLIER_VERSIONS: &str = "waypost.io/earlier-versions";
/// On a Namespace, value `"true"`: cluster-wide kinds create nothing in it.
pub const ANNOTATION_OPT_OUT: &str = "waypost.io/opt-out";
/// Annotations that carry authority: what follows from them may not be undone, and a change of them is
/// no new generation. So they are compared wherever a live read confirms what an object asks for.
pub const WITH_AUTHORITY: [&str; 5] = [
    ANNOTATION_ADOPT,
    ANNOTATION_RECREATE_IMMUTABLE,
    ANNOTATION_ALLOW_MASS_DELETION,
    ANNOTATION_ABANDON,
    ANNOTATION_EARLIER_VERSIONS,
];
/// On a target: where its data comes from (producer cluster, namespace and name; store, path,
/// version), as JSON.
pub const ANNOTATION_ORIGIN: &str = "waypost.io/origin";
/// On a target: a digest of its template and of the values that it was rendered from. While they are
/// the same, the target keeps its data, although a template may make something else each time.
pub const ANNOTATION_TEMPLATE_INPUTS: &str = "waypost.io/template-inputs";

/// The value of [`LABEL_MANAGED`], and the one that enables [`ANNOTATION_ADOPT`] and similar
/// annotations.
pub const TRUE: &str = "true";

/// ESO's finalizer on an ExternalSecret. We never add it, and remove it once we have deleted what
/// it protects.
pub const FINALIZER_EXTERNAL_SECRET: &str = "externalsecrets.external-secrets.io/externalsecret-cleanup";
/// Finalizer on a ClusterExternalSecret.
pub const FINALIZER_CLUSTER_EXTERNAL_SECRET: &str = "externalsecrets.external-secrets.io/clusterexternalsecret-cleanup";
/// ESO's finalizers on Namespaces start with this, followed by the ClusterExternalSecret's name. We
/// add none, ever.
pub const FINALIZER_NAMESPACE_PREFIX: &str = "externalsecrets.external-secrets.io/ces-";
/// Finalizer on a PushSecret whose deletionPolicy is `Delete`.
pub const FINALIZER_PUSH_SECRET: &str = "pushsecret.externalsecrets.io/finalizer";
/// Finalizer on a store while a PushSecret with deletionPolicy `Delete` refers to it.
pub const FINALIZER_STORE: &str = "secretstore.externalsecrets.io/finalizer";

/// Our field manager for status.
pub const MANAGER_STATUS: &str = "waypost-status";
/// Our field manager for a PushSecret's ledger (`status.syncedPushSecrets`).
pub const MANAGER_LEDGER: &str = "waypost-ledger";
/// Our field manager for finalizers and annotations on the resources themselves.
pub const MANAGER_META: &str = "waypost-meta";
/// Our field manager for the PushSecrets that a ClusterPushSecret creates.
pub const MANAGER_FAN_OUT: &str = "waypost-fan-out";
/// The field manager of a target starts with this, followed by the ExternalSecret's name or, when
/// that is too long, by [`MANAGER_TARGET_HASHED`] and a digest.
pub const MANAGER_TARGET_PREFIX: &str = "externalsecrets.external-secrets.io/";
/// The part between [`MANAGER_TARGET_PREFIX`] and the SHA3-224 (hex) of a long ExternalSecret name.
pub const MANAGER_TARGET_HASHED: &str = "sha3/";
/// The longest field manager of a target that spells the ExternalSecret's name.
pub const MANAGER_TARGET_MAX: usize = 63;

/// The key in an entry's `custom_metadata` that marks it as managed by an External Secrets
/// controller.
pub const VAULT_MANAGED_BY: &str = "managed-by";
/// The value of [`VAULT_MANAGED_BY`].
pub const VAULT_MANAGED_BY_VALUE: &str = "external-secrets";

/// The field manager for the target of the ExternalSecret of this name; the same as ESO's, so that
/// a hand-over in either direction keeps the history of keys.
pub fn target_manager(external_secret: &str) -> String {
    use sha3::{Digest, Sha3_224};
    if MANAGER_TARGET_PREFIX.len() + external_secret.len() <= MANAGER_TARGET_MAX {
        return format!("{MANAGER_TARGET_PREFIX}{external_secret}");
    }
    let digest = Sha3_224::digest(external_secret.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{MANAGER_TARGET_PREFIX}{MANAGER_TARGET_HASHED}{hex}")
}
