# Beside consumer.hcl or combined.hcl, on OpenBao only: Vault does not know the capability `scan` and refuses a policy that names it.
# `{{mount}}` stands for the KV v2 mount (`secret` unless the store says otherwise); see README.md for the commands that fill it in; unfilled, it grants nothing.

# Tells the current versions of all secrets in one request, which replaces a request for each unchanged path in every refresh interval.
# The reply holds what `read` on the metadata of each path shows, labels included, and no value. `list` is absent on purpose: it would
# tell one level of the same.
path "{{mount}}/detailed-metadata/platform-data/*" {
  capabilities = ["scan"]
}

# The same for configuration (V2), which lies beside the secrets (V1).
path "{{mount}}/detailed-metadata/platform-config/*" {
  capabilities = ["scan"]
}
