# For stores that PushSecrets write through: reads and writes the paths of the convention, and
# nothing else.
# `{{mount}}` stands for the KV v2 mount: `secret`, unless the store names another. README.md has
# the commands that replace it. Without them, the policy grants nothing.

# Reads the current version, because a write merges over it and check-and-set needs its number;
# creates the first version, and adds the next. `delete` is not granted on purpose: a plain DELETE
# of the latest version takes no precondition and can delete a concurrent write.
path "{{mount}}/data/platform-data/*" {
  capabilities = ["create", "read", "update"]
}

# The same for configuration (V2), which has its own prefix beside that of secrets (V1).
path "{{mount}}/data/platform-config/*" {
  capabilities = ["create", "read", "update"]
}

# Claims (who owns a property) are in custom_metadata. A new entry is created without a version, and
# only our own keys are patched, so that those of others stay. `read` shows an entry without
# versions, which may have claims already. `delete` is not granted on purpose, because it removes
# all versions at once; optional/purge.hcl grants it.
path "{{mount}}/metadata/platform-data/*" {
  capabilities = ["create", "read", "update", "patch", "list"]
}

# The same for configuration.
path "{{mount}}/metadata/platform-config/*" {
  capabilities = ["create", "read", "update", "patch", "list"]
}

# Soft-deletes versions by number after the last property of a path was removed, if the PushSecret
# asks for deletion.
path "{{mount}}/delete/platform-data/*" {
  capabilities = ["update"]
}

# The same for configuration.
path "{{mount}}/delete/platform-config/*" {
  capabilities = ["update"]
}

# Reads the mount's accessor, type and KV version, so that Waypost reports a v1 mount as such, and
# recognises two spellings of one mount.
path "sys/internal/ui/mounts/{{mount}}" {
  capabilities = ["read"]
}

# Reads the token's capabilities, so that the store's condition names a missing right before the
# first write fails.
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
