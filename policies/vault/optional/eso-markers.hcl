# In addition to publisher.hcl or combined.hcl, for paths that External Secrets Operator (ESO)
# pushed under a key that repeats the mount (`{{mount}}/platform-data/…` or
# `{{mount}}/data/platform-data/…`): ESO sets their mark on another path, which has no data.
# `{{mount}}` stands for the KV v2 mount: `secret`, unless the store names another. ../README.md has
# the commands that replace it. Without them, the policy grants nothing.

# Reads the mark, so that Waypost recognises such a path as ESO's. `patch` removes the mark from
# here once it is on the right path. Leave `patch` out as long as you may move back to ESO, which
# looks for its mark only here.
path "{{mount}}/metadata/{{mount}}/platform-data/*" {
  capabilities = ["read", "patch"]
}

# The same for the other spelling.
path "{{mount}}/metadata/{{mount}}/data/platform-data/*" {
  capabilities = ["read", "patch"]
}

# The same for configuration (V2), which has its own prefix beside that of secrets (V1).
path "{{mount}}/metadata/{{mount}}/platform-config/*" {
  capabilities = ["read", "patch"]
}

# The same for its other spelling.
path "{{mount}}/metadata/{{mount}}/data/platform-config/*" {
  capabilities = ["read", "patch"]
}
