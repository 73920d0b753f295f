//! What can go wrong between us and a store, as a closed set that holds names, paths and numbers, never a body or a value.

use thiserror::Error;

/// What to do about an error: wait for somebody's change, report and try at the next refresh, back off, or keep a steady pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The resource itself is wrong: nothing helps but an edit.
    Invalid,
    /// The other side said no: reported, retried at the refresh interval and when the store changes.
    Refused,
    /// It did not work this time: retried with back-off.
    Failed,
    /// The other side asks for fewer requests: retried after a steady pause, since a growing one would outlast the limit.
    Throttled,
}

/// Why a request could not reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Transport {
    /// The name does not resolve.
    #[error("its name does not resolve (check the store's `server`)")]
    Dns,
    /// Nobody listens, or the connection was refused or reset.
    #[error(
        "the connection was refused or reset (check that the server runs, and host, port and `http` or `https` in the store's `server`)"
    )]
    Connect,
    /// The server's certificate is not trusted, expired, or for another host.
    #[error(
        "its certificate is not trusted (check the store's `caBundle` or `caProvider`, the host name in `server`, and the certificate's dates)"
    )]
    Tls,
    /// The server wants a client certificate, or not this one.
    #[error(
        "it refuses our client certificate or wants one (check the store's `tls`, the certificate's dates, and which authority the server trusts)"
    )]
    ClientCertificate,
    /// Its addresses are all link-local, where clouds keep their own credentials.
    #[error("its address is link-local, which no server of secrets has (check the store's `server`)")]
    LinkLocal,
    /// No answer in time.
    #[error("no answer in time (check that the server runs, the store's `server`, and network policies)")]
    Timeout,
    /// The reply broke off or was not HTTP.
    #[error(
        "the reply was cut off or is not HTTP (check `http` or `https` and the port in the store's `server`, and `tls` if the server asks for a client certificate)"
    )]
    Cut,
}

/// What a server speaks that does not answer as Vault and OpenBao do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Spoken {
    /// TLS, and was spoken to without.
    #[error("it speaks TLS: write `https://…` in the store's `server`")]
    Tls,
    /// Something else.
    #[error(
        "check the store's `server`, which is scheme, host and port without `/v1` or `/ui`, and proxies on the way"
    )]
    SomethingElse,
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
    #[error(
        "{server} does not serve requests (standby or not initialised): name the active node or a load balancer in the store's `server`, or initialise it"
    )]
    Standby {
        /// The address as the store says it.
        server: String,
    },
    /// Too many requests.
    #[error(
        "{server} limits the rate of requests: raise its quota (sys/quotas/rate-limit) if this lasts; Waypost sends fewer and goes on by itself"
    )]
    RateLimited {
        /// The address as the store says it.
        server: String,
    },
    /// More requests than we allow ourselves.
    #[error(
        "held back, since {server} gets no more than {rate} requests a second from this store: raise --store-request-rate if this lasts; it goes on by itself"
    )]
    HeldBack {
        /// The address as the store says it.
        server: String,
        /// Requests a second.
        rate: std::num::NonZeroU32,
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
    #[error("{server} failed repeatedly and gets a pause; Waypost goes on by itself. The last failure: {cause}")]
    CircuitOpen {
        /// The address as the store says it.
        server: String,
        /// The last failure.
        cause: Box<StoreError>,
    },
    /// Somebody answers who is no Vault and no OpenBao.
    #[error("{server} does not answer like Vault or OpenBao (status {status}): {speaks}")]
    NotVault {
        /// The address as the store says it.
        server: String,
        /// The HTTP status.
        status: u16,
        /// What to do about it.
        speaks: Spoken,
    },
    /// A server so slow that requests of one store wait for each other.
    #[error(
        "{server} answers slowly: {under_way} requests of this store are under way and none ended in {seconds} s; it is tried again"
    )]
    Slow {
        /// The address as the store says it.
        server: String,
        /// Requests under way.
        under_way: usize,
        /// How long this one waited for a turn.
        seconds: u64,
    },
    /// The login was refused.
    #[error("login refused by auth/{mount} ({applicant}): {advice}")]
    LoginRefused {
        /// The auth mount.
        mount: String,
        /// Who wanted to log in.
        applicant: String,
        /// What to check.
        advice: String,
    },
    /// The token that somebody made for us does not work.
    #[error(
        "the server refuses the token in {source_name}: it is expired, revoked or of another server, or its policies allow neither this nor auth/token/lookup-self: put a valid token there"
    )]
    TokenRefused {
        /// The Secret that holds it.
        source_name: String,
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
    /// Whether a store serves a namespace hangs on labels that could not be read this time.
    #[error("whether the store serves the namespace cannot be told now: {what}")]
    NamespaceUnread {
        /// What happened.
        what: String,
    },
    /// Policy forbids it.
    #[error(
        "permission denied to {operation} {path}: let the role's policy allow {} there (see policies/vault)",
        needed(operation)
    )]
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
    #[error("somebody else wrote {path} at the same time; it is read again and tried again")]
    CasMismatch {
        /// The entry.
        path: String,
    },
    /// The server changes labels only with check-and-set, and this login may not see what it would have to send.
    #[error(
        "{path} takes changes of labels with check-and-set alone (`metadata_cas_required`), and this login cannot read their count: let the role's policy allow `read` there"
    )]
    LabelsNeedCas {
        /// The API path of the metadata.
        path: String,
    },
    /// Somebody removed the entry in between.
    #[error("somebody removed {path} at the same time; it is read again and tried again")]
    EntryMissing {
        /// The entry.
        path: String,
    },
    /// A standby that is behind.
    #[error("the server that answered for {path} is behind the others; it is tried again")]
    Stale {
        /// The entry.
        path: String,
    },
    /// The server takes no entry or request of this size.
    #[error(
        "the server refuses an entry as large as {path} would be ({bytes} bytes as a request; what is there stays): make its values smaller or fewer, spread them over several paths, or raise the server's limits (max_entry_size, max_request_size, max_request_json_strings)"
    )]
    TooLarge {
        /// The API path.
        path: String,
        /// The size of our request.
        bytes: usize,
    },
    /// Any other answer that blames the request.
    #[error("cannot {operation} {path}: the server rejects the request with status {status}; its log says why")]
    Rejected {
        /// read, write, …
        operation: &'static str,
        /// The API path.
        path: String,
        /// The HTTP status.
        status: u16,
    },
    /// Any other answer that blames the server.
    #[error("cannot {operation} {path}: the server failed with status {status}; its log says why; it is tried again")]
    Server {
        /// read, write, …
        operation: &'static str,
        /// The API path.
        path: String,
        /// The HTTP status.
        status: u16,
    },
    /// An answer that is larger than anything we ask for.
    #[error(
        "the reply about {path} has more than {limit} bytes, which no entry has: check the store's `server`, and proxies on the way"
    )]
    ReplyTooLarge {
        /// The API path.
        path: String,
        /// What was still read.
        limit: usize,
    },
    /// An answer that is not what the API says it should be.
    #[error(
        "cannot {operation} {path}: the reply is not one of Vault or OpenBao ({what}): check the store's `server`, and proxies on the way"
    )]
    BadReply {
        /// read, write, …
        operation: &'static str,
        /// The API path.
        path: String,
        /// Which part is missing or odd; never its content.
        what: &'static str,
    },
}

/// The capabilities that policy has to give for an operation, as policies write them.
fn needed(operation: &str) -> &'static str {
    match operation {
        "read" | "read the metadata of" | "ask about the mount at" => "`read`",
        // The first version of an entry, and each that follows.
        "create" | "write" => "`create` and `update`",
        "patch the metadata of" => "`patch`",
        "delete versions of" | "destroy versions of" | "ask for rights at" => "`update`",
        "purge" => "`delete`",
        _ => "it",
    }
}

impl StoreError {
    /// What to do about it.
    pub fn family(&self) -> Family {
        match self {
            StoreError::RedirectRefused { .. }
            | StoreError::LoginRefused { .. }
            | StoreError::TokenRefused { .. }
            | StoreError::Credential { .. }
            | StoreError::Forbidden { .. }
            | StoreError::MountMissing { .. }
            | StoreError::WrongVersion { .. }
            | StoreError::NamespaceMissing { .. }
            | StoreError::LabelsNeedCas { .. }
            | StoreError::TooLarge { .. }
            | StoreError::Rejected { .. } => Family::Refused,
            StoreError::Unreachable { .. }
            | StoreError::CredentialUnread { .. }
            | StoreError::NamespaceUnread { .. }
            | StoreError::Sealed { .. }
            | StoreError::Standby { .. }
            | StoreError::CircuitOpen { .. }
            | StoreError::NotVault { .. }
            | StoreError::Slow { .. }
            | StoreError::CasMismatch { .. }
            | StoreError::EntryMissing { .. }
            | StoreError::Stale { .. }
            | StoreError::Server { .. }
            | StoreError::ReplyTooLarge { .. }
            | StoreError::BadReply { .. } => Family::Failed,
            StoreError::RateLimited { .. } | StoreError::HeldBack { .. } => Family::Throttled,
        }
    }
}
