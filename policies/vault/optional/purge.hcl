# Beside publisher.hcl or combined.hcl and destroy.hcl, where PushSecrets say `waypost.io/earlier-versions: Purge`.
# `{{mount}}` stands for the KV v2 mount (`secret` unless the store says otherwise); see ../README.md for the commands that fill it in; unfilled, it grants nothing.

# Removes an entry with all versions and labels, whatever is there at that moment. A login with this right can do so to every path of the
# convention: give it only to installations that need their numbers and labels gone, not their values alone.
path "{{mount}}/metadata/platform-data/*" {
  capabilities = ["delete"]
}

# The same for configuration (V2), which lies beside the secrets (V1).
path "{{mount}}/metadata/platform-config/*" {
  capabilities = ["delete"]
}
