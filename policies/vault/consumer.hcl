# What an ExternalSecret's store may do: read the paths of the convention, and write nothing.
# `{{mount}}` stands for the KV v2 mount (`secret` unless the store says otherwise); see README.md for the commands that fill it in; unfilled, it grants nothing.

# Read a version of a secret.
path "{{mount}}/data/platform-data/*" {
  capabilities = ["read"]
}

# The same for configuration (V2), which lies beside the secrets (V1).
path "{{mount}}/data/platform-config/*" {
  capabilities = ["read"]
}

# See the current version and the marker of a path without its values, and find paths by name. The rule covers listing
# `platform-data/` itself (servers compare a listing with its trailing slash), but not the mount's root, which would show foreign names.
path "{{mount}}/metadata/platform-data/*" {
  capabilities = ["read", "list"]
}

# The same for configuration.
path "{{mount}}/metadata/platform-config/*" {
  capabilities = ["read", "list"]
}

# Tells the mount's accessor, type and KV version, so that a v1 mount is reported as such and two spellings of one mount are known as one.
path "sys/internal/ui/mounts/{{mount}}" {
  capabilities = ["read"]
}

# Asks what this token may do, so that the store's condition names a missing right before the first read fails.
path "sys/capabilities-self" {
  capabilities = ["update"]
}

# Tells a token that is gone from a path that is forbidden, so that a 403 does not cause a storm of logins.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}

# Keeps one session alive instead of logging in again.
path "auth/token/renew-self" {
  capabilities = ["update"]
}

# Ends the session at shutdown, so that no token outlives its process.
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
