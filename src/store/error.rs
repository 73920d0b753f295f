//! What can go wrong between us and a store, as a closed set that holds names, paths and numbers, never a body or a value.

use std::time::Duration;

use thiserror::Error;

/// What to do about an error: wait for somebody's change, report and try at the next refresh, or back off and retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The resource itself is wrong: nothing helps but an edit.
    Invalid,
    /// The other side said no: reported, retried at the refresh interval and when the store changes.
    Refused,
    /// It did not work this time: retried with back-off.
    Failed,
}

/// Why a request could not reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Transport {
    /// The name does not resolve.
    #[error("the server's name does not resolve")]
    Dns,
    /// Nobody listens, or the connection was refused or reset.
    #[error("the connection was refused or reset")]
    Connect,
    /// The server's certificate is not trusted, expired, or for another host.
    #[error("the server's certificate is not trusted (check caBundle or caProvider, the host name, and its dates)")]
    Tls,
    /// Its addresses are all link-local, where clouds keep their own credentials.
    #[error("its address is link-local, which no server of secrets has (check the store's `server`)")]
    LinkLocal,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The reply broke off or was not HTTP.
    #[error("the reply was cut off or is not HTTP")]
    Cut,
}

/// A failed request to a store. Each text says what is wrong and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// No connection.
    #[error("cannot reach {server}: {cause}")]
    Unreachable {
        /// The address as the store says it.
        server: String,
        /// What the connection said.
        cause: Transport,
    },
    /// The server is sealed.
    #[error("{server} is sealed: unseal it; Waypost goes on by itself")]
    Sealed {
        /// The address as the store says it.
        server: String,
    },
    /// The server is up but not initialised, or a standby that cannot serve.
    #[error("{server} is not ready to serve (standby or not initialised)")]
    Standby {
        /// The address as the store says it.
        server: String,
    },
    /// Too many requests.
    #[error("{server} limits our requests; trying again after its pause")]
    RateLimited {
        /// The address as the store says it.
        server: String,
        /// The pause the server asked for.
        retry_after: Option<Duration>,
    },
    /// The server points elsewhere, where our token must not go.
    #[error(
        "{server} redirects to {to}, where the token is not sent: set `server` to the active node's address or a load balancer's, or give the store the CA that vouches for both"
    )]
    RedirectRefused {
        /// The address as the store says it.
        server: String,
        /// Scheme, host and port it points to.
        to: String,
    },
    /// After repeated failures we wait before the next attempt.
    #[error("{server} failed repeatedly; the next attempt is in {wait:?}")]
    CircuitOpen {
        /// The address as the store says it.
        server: String,
        /// Time until the next attempt.
        wait: Duration,
    },
    /// The login was refused.
    #[error(
        "login refused by auth/{mount} (role or user {role:?}): check that the role exists, names this ServiceAccount and audience, and that the mount is right"
    )]
    LoginRefused {
        /// The auth mount.
        mount: String,
        /// The role, user or `token`.
        role: String,
    },
    /// A credential that the store refers to cannot be had.
    #[error("the store's credential is not usable: {what}")]
    Credential {
        /// Which object and key, and what is wrong with it.
        what: String,
    },
    /// A credential could not be read this time.
    #[error("the store's credential cannot be read now: {what}")]
    CredentialUnread {
        /// Which object, and what happened.
        what: String,
    },
    /// Policy forbids it.
    #[error("permission denied to {operation} {path}: let the role's policy allow it (see policies/vault)")]
    Forbidden {
        /// read, write, patch metadata of, …
        operation: &'static str,
        /// The API path.
        path: String,
    },
    /// There is no such mount.
    #[error(
        "there is no secrets engine at {mount}/, or this login has no rights there: check the store's `path`, that KV v2 is enabled there, and the role's policy"
    )]
    MountMissing {
        /// The mount.
        mount: String,
    },
    /// The mount is not what the store says.
    #[error("{mount}/ is {found}, and Waypost needs KV version 2: check the store's `path`, or upgrade the mount")]
    WrongVersion {
        /// The mount.
        mount: String,
        /// What the server says it is.
        found: String,
    },
    /// The Vault namespace is not there.
    #[error("there is no Vault namespace {namespace:?} (or this login may not see it)")]
    NamespaceMissing {
        /// The Vault namespace.
        namespace: String,
    },
    /// Somebody wrote in between.
    #[error("{path} changed while we were writing it")]
    CasMismatch {
        /// The entry.
        path: String,
    },
    /// Somebody removed the entry in between.
    #[error("{path}: the entry is not there (any more); it is read again")]
    EntryMissing {
        /// The entry.
        path: String,
    },
    /// A standby that is behind.
    #[error("{path}: the server that answered is behind; trying again")]
    Stale {
        /// The entry.
        path: String,
    },
    /// The server takes no entry or request of this size.
    #[error("{path}: the server refuses an entry this large ({bytes} bytes after encoding)")]
    TooLarge {
        /// The entry.
        path: String,
        /// The size of our request.
        bytes: usize,
    },
    /// Any other answer that blames the request.
    #[error("{operation} {path} was rejected with status {status}")]
    Rejected {
        /// read, write, …
        operation: &'static str,
        /// The API path.
        path: String,
        /// The HTTP status.
        status: u16,
    },
    /// Any other answer that blames the server.
    #[error("{operation} {path} failed with status {status}")]
    Server {
        /// read, write, …
        operation: &'static str,
        /// The API path.
        path: String,
        /// The HTTP status.
        status: u16,
    },
    /// An answer that is not what the API says it should be.
    #[error("{operation} {path}: the reply is not what the KV v2 API promises ({what})")]
    BadReply {
        /// read, write, …
        operation: &'static str,
        /// The API path.
        path: String,
        /// Which part is missing or odd; never its content.
        what: &'static str,
    },
}

impl StoreError {
    /// What to do about it.
    pub fn family(&self) -> Family {
        match self {
            StoreError::RedirectRefused { .. }
            | StoreError::LoginRefused { .. }
            | StoreError::Credential { .. }
            | StoreError::Forbidden { .. }
            | StoreError::MountMissing { .. }
            | StoreError::WrongVersion { .. }
            | StoreError::NamespaceMissing { .. }
            | StoreError::TooLarge { .. }
            | StoreError::Rejected { .. } => Family::Refused,
            StoreError::Unreachable { .. }
            | StoreError::CredentialUnread { .. }
            | StoreError::Sealed { .. }
            | StoreError::Standby { .. }
            | StoreError::RateLimited { .. }
            | StoreError::CircuitOpen { .. }
            | StoreError::CasMismatch { .. }
            | StoreError::EntryMissing { .. }
            | StoreError::Stale { .. }
            | StoreError::Server { .. }
            | StoreError::BadReply { .. } => Family::Failed,
        }
    }
}
