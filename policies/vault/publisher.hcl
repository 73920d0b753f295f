# What a PushSecret's store may do: write the paths of the convention, and nothing else.
# `{{mount}}` stands for the KV v2 mount (`secret` unless the store says otherwise); see README.md for the commands that fill it in; unfilled, it grants nothing.

# Read the present version (a write merges over it, and check-and-set needs its number), create the first, add the next. A plain DELETE
# of the latest version takes no precondition and can destroy somebody's concurrent write, so `delete` is absent on purpose.
path "{{mount}}/data/platform-data/*" {
  capabilities = ["create", "read", "update"]
}

# The same for configuration (V2), which lies beside the secrets (V1).
path "{{mount}}/data/platform-config/*" {
  capabilities = ["create", "read", "update"]
}

# Claims (who owns a property) live in custom_metadata: a new entry is created empty, and then only our own keys are patched, so that
# nobody else's are replaced. `read` tells an entry without versions, which may be claimed already, from none. `delete` would destroy every version at once and is absent on purpose; optional/purge.hcl has it.
path "{{mount}}/metadata/platform-data/*" {
  capabilities = ["create", "read", "update", "patch", "list"]
}

# The same for configuration.
path "{{mount}}/metadata/platform-config/*" {
  capabilities = ["create", "read", "update", "patch", "list"]
}

# Soft-deletes versions that are named by number, when the last property of a path was removed and the PushSecret asks for deletion.
path "{{mount}}/delete/platform-data/*" {
  capabilities = ["update"]
}

# The same for configuration.
path "{{mount}}/delete/platform-config/*" {
  capabilities = ["update"]
}

# Tells the mount's accessor, type and KV version, so that a v1 mount is reported as such and two spellings of one mount are known as one.
path "sys/internal/ui/mounts/{{mount}}" {
  capabilities = ["read"]
}

# Asks what this token may do, so that the store's condition names a missing right before the first write fails.
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
