# Beside publisher.hcl or combined.hcl, where PushSecrets say `waypost.io/earlier-versions: Destroy` or `Purge`.
# `{{mount}}` stands for the KV v2 mount (`secret` unless the store says otherwise); see ../README.md for the commands that fill it in; unfilled, it grants nothing.

# Destroys versions that are named by number, when the last property of a path was removed: nothing is left to undelete.
path "{{mount}}/destroy/platform-data/*" {
  capabilities = ["update"]
}

# The same for configuration (V2), which lies beside the secrets (V1).
path "{{mount}}/destroy/platform-config/*" {
  capabilities = ["update"]
}
