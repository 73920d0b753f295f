# OpenBao only, beside any of the other policies: Vault does not know the capability `scan` and refuses a policy that names it.
# `{{mount}}` stands for the KV v2 mount (`secret` unless the store says otherwise); see README.md for the commands that fill it in; unfilled, it grants nothing.

# One recursive request returns the current version of every secret, whatever the number of datasources.
path "{{mount}}/detailed-metadata/platform-data/*" {
  capabilities = ["list", "scan"]
}

# The same for configuration.
path "{{mount}}/detailed-metadata/platform-config/*" {
  capabilities = ["list", "scan"]
}
