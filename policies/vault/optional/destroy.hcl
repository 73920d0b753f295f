# In addition to publisher.hcl or combined.hcl, for PushSecrets with `waypost.io/earlier-versions:
# Destroy` or `Purge`.
# `{{mount}}` stands for the KV v2 mount: `secret`, unless the store names another. ../README.md has
# the commands that replace it. Without them, the policy grants nothing.

# Destroys versions by number after the last property of a path was removed: they cannot be
# undeleted.
path "{{mount}}/destroy/platform-data/*" {
  capabilities = ["update"]
}

# The same for configuration (V2), which has its own prefix beside that of secrets (V1).
path "{{mount}}/destroy/platform-config/*" {
  capabilities = ["update"]
}
