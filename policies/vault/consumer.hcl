# For stores that ExternalSecrets read through: reads the paths of the convention, and writes
# nothing.
# `{{mount}}` stands for the KV v2 mount: `secret`, unless the store names another. README.md has
# the commands that replace it. Without them, the policy grants nothing.

# Reads versions of secrets.
path "{{mount}}/data/platform-data/*" {
  capabilities = ["read"]
}

# The same for configuration (V2), which has its own prefix beside that of secrets (V1).
path "{{mount}}/data/platform-config/*" {
  capabilities = ["read"]
}

# Reads the current version and the custom metadata of a path without its values, and lists paths by
# name. The rule allows listing `platform-data/` itself, because servers compare a listing with its
# trailing slash. It does not allow listing the mount's root, which would show other names.
path "{{mount}}/metadata/platform-data/*" {
  capabilities = ["read", "list"]
}

# The same for configuration.
path "{{mount}}/metadata/platform-config/*" {
  capabilities = ["read", "list"]
}

# Reads the mount's accessor, type and KV version, so that Waypost reports a v1 mount as such, and
# recognises two spellings of one mount.
path "sys/internal/ui/mounts/{{mount}}" {
  capabilities = ["read"]
}

# Reads the token's capabilities, so that the store's condition names a missing right before the
# first read fails.
path "sys/capabilities-self" {
  capabilities = ["update"]
}

# Shows whether a 403 means that the token is gone or that the path is forbidden, so that a 403 does
# not cause a storm of logins.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}

# Renews the session instead of logging in again.
path "auth/token/renew-self" {
  capabilities = ["update"]
}

# Revokes the session at shutdown, so that no token outlives its process.
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
