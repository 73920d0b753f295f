//! Errors of requests to a store: a closed set with names, paths and numbers, never a body or a
//! value.

use thiserror::Error;

/// What to do about an error: wait for an edit, report it and try at the next refresh, back off, or
/// keep a steady pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The resource itself is wrong: only an edit helps.
    Invalid,
    /// The request was denied: reported, retried at the refresh interval and when the store
    /// changes.
    Refused,
    /// It failed this time: retried with back-off.
    Failed,
    /// The server asks for fewer requests: retried after a constant pause, because a growing one
    /// would outlast the limit.
    Throttled,
}

/// Why a request could not reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Transport {
    /// The name does not resolve.
    #[error("its name does not resolve (check the store's `server`)")]
    Dns,
    /// No server listens, or the connection was refused or reset.
    #[error(
        "the connection was refused or reset (check that the server runs, and host, port and `http` or `https` in the store's `server`)"
    )]
    Connect,
    /// A connection without TLS was reset: a server that uses TLS closes it at the first bytes, and
    /// its reply, which says so, is lost with the rest of a request that it did not read.
    #[error(
        "the connection was reset (if the server uses TLS, write `https://…` in the store's `server`; otherwise check that the server runs)"
    )]
    PlainReset,
    /// The server's certificate is not trusted, expired, or for another host.
    #[error(
        "its certificate is not trusted (check the store's `caBundle` or `caProvider`, the host name in `server`, and the certificate's dates)"
    )]
    Tls,
    /// The server requires a client certificate, or another one.
    #[error(
        "it does not accept our client certificate, or requires one (check the store's `tls`, the certificate's dates, and which authority the server trusts)"
    )]
    ClientCertificate,
    /// All its addresses are link-local, where clouds serve their own credentials.
    #[error("its address is link-local, where clouds serve their own credentials (check the store's `server`)")]
    LinkLocal,
    /// No answer in time.
    #[error("no answer in time (check that the server runs, the store's `server`, and network policies)")]
    Timeout,
    /// The reply was cut off or was not HTTP.
    #[error(
        "the reply was cut off or is not HTTP (check `http` or `https` and the port in the store's `server`, and `tls` if the server asks for a client certificate)"
    )]
    Cut,
}

/// What kind of server answers that is neither Vault nor OpenBao.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Spoken {
    /// A TLS server that got plain HTTP.
    #[error("it uses TLS: write `https://…` in the store's `server`")]
    Tls,
    /// Another server.
    #[error(
        "check the store's `server`, which is scheme, host and port without `/v1` or `/ui`, and proxies on the way"
    )]
    SomethingElse,
}

/// A failed request to a store. Each text says what is wrong and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// There is no connection.
    #[error("cannot reach {server}: {cause}")]
    Unreachable {
        /// The address, as in the store.
        server: String,
        /// Why not.
        cause: Transport,
    },
    /// The server is sealed.
    #[error("{server} is sealed: unseal it; Waypost continues by itself")]
    Sealed {
        /// The address, as in the store.
        server: String,
    },
    /// The server is up but not initialised, or a standby that cannot serve.
    #[error(
        "{server} does not serve requests (standby or not initialised): name the active node or a load balancer in the store's `server`, or initialise it"
    )]
    Standby {
        /// The address, as in the store.
        server: String,
    },
    /// Too many requests.
    #[error(
        "{server} limits the rate of requests: raise its quota (sys/quotas/rate-limit) if this lasts; Waypost sends fewer and continues by itself"
    )]
    RateLimited {
        /// The address, as in the store.
        server: String,
    },
    /// Our own limit is reached.
    #[error(
        "held back, because {server} gets at most {rate} requests a second from this store: raise --store-request-rate if this lasts; Waypost continues by itself"
    )]
    HeldBack {
        /// The address, as in the store.
        server: String,
        /// Requests a second.
        rate: std::num::NonZeroU32,
    },
    /// The server redirects to a host that must not get our token.
    #[error(
        "{server} redirects to {to}, where the token is not sent: set `server` to the active node's address or a load balancer's, or give the store the CA that vouches for both"
    )]
    RedirectRefused {
        /// The address, as in the store.
        server: String,
        /// Scheme, host and port of the redirect's target.
        to: String,
    },
    /// After repeated failures, requests are paused.
    #[error(
        "{server} failed repeatedly: Waypost pauses requests to it and continues by itself. The last failure: {cause}"
    )]
    CircuitOpen {
        /// The address, as in the store.
        server: String,
        /// The last failure.
        cause: Box<StoreError>,
    },
    /// Another server answers, neither Vault nor OpenBao.
    #[error("{server} does not answer like Vault or OpenBao (status {status}): {speaks}")]
    NotVault {
        /// The address, as in the store.
        server: String,
        /// The HTTP status.
        status: u16,
        /// What to do about it.
        speaks: Spoken,
    },
    /// The server is so slow that requests of one store wait for each other.
    #[error(
        "{server} answers slowly: {under_way} requests of this store are in flight and none ended in {seconds} s; Waypost tries again"
    )]
    Slow {
        /// The address, as in the store.
        server: String,
        /// Requests in flight.
        under_way: usize,
        /// How long this request waited.
        seconds: u64,
    },
    /// A resource waited too long for all that it reads of a store.
    #[error("{server} answers slowly: the reads did not end within {seconds} s; Waypost tries again")]
    Late {
        /// The address, as in the store.
        server: String,
        /// How long it waited.
        seconds: u64,
    },
    /// The server denied the login.
    #[error("login denied by auth/{mount} ({applicant}): {advice}")]
    LoginRefused {
        /// The auth mount.
        mount: String,
        /// Who logs in.
        applicant: String,
        /// What to check.
        advice: String,
    },
    /// The server does not accept the token from a Secret.
    #[error(
        "the server does not accept the token in {source_name}: it is expired, revoked or from another server, or its policies allow neither this nor auth/token/lookup-self: put a valid token there"
    )]
    TokenRefused {
        /// The Secret with it.
        source_name: String,
    },
    /// A credential that the store refers to does not exist or cannot be used.
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
    /// Its store was changed or removed while somebody still used this session.
    #[error("the session with {server} has ended, because its store was changed or removed; Waypost tries again")]
    SessionClosed {
        /// The address, as in the store.
        server: String,
    },
    /// Whether a store serves a namespace hangs on labels that could not be read this time.
    #[error("Waypost cannot find out now whether the store serves the namespace: {what}")]
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
    /// The mount does not exist.
    #[error(
        "there is no secrets engine at {mount}/, or this login has no rights there: check the store's `path`, that KV v2 is enabled there, and the role's policy"
    )]
    MountMissing { mount: String },
    /// The mount is not KV version 2.
    #[error("{mount}/ is {found}, and Waypost needs KV version 2: check the store's `path`, or upgrade the mount")]
    WrongVersion {
        mount: String,
        /// What it is, as the server says.
        found: String,
    },
    /// The Vault namespace does not exist.
    #[error("there is no Vault namespace {namespace:?} (or this login may not see it)")]
    NamespaceMissing {
        /// The Vault namespace.
        namespace: String,
    },
    /// A folder has more than one list may have.
    #[error("{folder} has more than {most} {what} below it: let find.path name a smaller folder")]
    FolderTooLarge {
        /// The folder.
        folder: String,
        /// The limit.
        most: usize,
        /// Entries or folders.
        what: &'static str,
    },
    /// Somebody else wrote at the same time.
    #[error("somebody else wrote {path} at the same time; Waypost reads it and tries again")]
    CasMismatch {
        /// The entry.
        path: String,
    },
    /// The server changes custom metadata only with check-and-set, and this login may not read the
    /// version to send.
    #[error(
        "{path} accepts changes of custom metadata only with check-and-set (`metadata_cas_required`), and this login cannot read its version: let the role's policy allow `read` there"
    )]
    MetadataNeedsCas {
        /// The API path of the metadata.
        path: String,
    },
    /// Somebody removed the entry at the same time.
    #[error("somebody removed {path} at the same time; Waypost reads it and tries again")]
    EntryMissing {
        /// The entry.
        path: String,
    },
    /// A standby that lags.
    #[error("the server that answered for {path} lags behind the others; Waypost tries again")]
    Stale {
        /// The entry.
        path: String,
    },
    /// The server does not accept an entry or request of this size.
    #[error(
        "the server does not accept an entry as large as {path} would be ({bytes} bytes as a request; the current version stays): make its values smaller or fewer, spread them over several paths, or raise the server's limits (max_entry_size, max_request_size, max_request_json_strings)"
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
    #[error("cannot {operation} {path}: the server failed with status {status}; its log says why; Waypost tries again")]
    Server {
        /// read, write, …
        operation: &'static str,
        /// The API path.
        path: String,
        /// The HTTP status.
        status: u16,
    },
    /// A reply that is larger than any that we expect.
    #[error(
        "the reply about {path} has more than {limit} bytes, which no such reply has: check the store's `server`, and proxies in between"
    )]
    ReplyTooLarge {
        /// The API path.
        path: String,
        limit: usize,
    },
    /// A reply that does not follow the API.
    #[error(
        "cannot {operation} {path}: the reply is not one of Vault or OpenBao ({what}): check the store's `server`, and proxies in between"
    )]
    BadReply {
        /// read, write, …
        operation: &'static str,
        /// The API path.
        path: String,
        /// Which part is missing or wrong; never its content.
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
        "list" => "`list`",
        _ => "it",
    }
}

impl StoreError {
    /// Whether the server answers no request of the store now, whatever it is about. Others say
    /// nothing of other paths.
    pub fn is_about_the_server(&self) -> bool {
        match self {
            StoreError::Unreachable { .. }
            | StoreError::Sealed { .. }
            | StoreError::Standby { .. }
            | StoreError::CircuitOpen { .. }
            | StoreError::NotVault { .. }
            | StoreError::Slow { .. }
            | StoreError::HeldBack { .. } => true,
            StoreError::RedirectRefused { .. }
            | StoreError::LoginRefused { .. }
            | StoreError::TokenRefused { .. }
            | StoreError::Credential { .. }
            | StoreError::CredentialUnread { .. }
            | StoreError::SessionClosed { .. }
            | StoreError::NamespaceUnread { .. }
            | StoreError::Forbidden { .. }
            | StoreError::MountMissing { .. }
            | StoreError::WrongVersion { .. }
            | StoreError::NamespaceMissing { .. }
            | StoreError::CasMismatch { .. }
            | StoreError::MetadataNeedsCas { .. }
            | StoreError::EntryMissing { .. }
            | StoreError::Stale { .. }
            | StoreError::TooLarge { .. }
            | StoreError::FolderTooLarge { .. }
            | StoreError::Rejected { .. }
            | StoreError::Server { .. }
            | StoreError::ReplyTooLarge { .. }
            | StoreError::BadReply { .. }
            | StoreError::Late { .. }
            // A quota may be of one path.
            | StoreError::RateLimited { .. } => false,
        }
    }

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
            | StoreError::MetadataNeedsCas { .. }
            | StoreError::TooLarge { .. }
            | StoreError::FolderTooLarge { .. }
            | StoreError::Rejected { .. } => Family::Refused,
            StoreError::Unreachable { .. }
            | StoreError::CredentialUnread { .. }
            | StoreError::SessionClosed { .. }
            | StoreError::NamespaceUnread { .. }
            | StoreError::Sealed { .. }
            | StoreError::Standby { .. }
            | StoreError::CircuitOpen { .. }
            | StoreError::NotVault { .. }
            | StoreError::Slow { .. }
            | StoreError::Late { .. }
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
