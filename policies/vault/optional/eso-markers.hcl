# Beside publisher.hcl or combined.hcl, for paths that External Secrets Operator pushed under a key that repeats the mount
# (`{{mount}}/platform-data/…` or `{{mount}}/data/platform-data/…`): it marks them at a place where no data ever is.
# `{{mount}}` stands for the KV v2 mount (`secret` unless the store says otherwise); see ../README.md for the commands that fill it in; unfilled, it grants nothing.

# See the mark, so that such a path is known as one of that operator's; `patch` takes it off once it stands at the right place. Leave `patch`
# out while that operator may have to take over again: it looks for its mark here, and for nothing else.
path "{{mount}}/metadata/{{mount}}/platform-data/*" {
  capabilities = ["read", "patch"]
}

# The same for the other spelling.
path "{{mount}}/metadata/{{mount}}/data/platform-data/*" {
  capabilities = ["read", "patch"]
}

# The same for configuration (V2), which lies beside the secrets (V1).
path "{{mount}}/metadata/{{mount}}/platform-config/*" {
  capabilities = ["read", "patch"]
}

# And for its other spelling.
path "{{mount}}/metadata/{{mount}}/data/platform-config/*" {
  capabilities = ["read", "patch"]
}
