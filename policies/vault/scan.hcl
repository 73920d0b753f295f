# In addition to consumer.hcl or combined.hcl, on OpenBao only: Vault rejects a policy with the
# capability `scan`.
# `{{mount}}` stands for the KV v2 mount: `secret`, unless the store names another. README.md has
# the commands that replace it. Without them, the policy grants nothing.

# Lists the current versions of all secrets in one request, instead of one request per unchanged
# path and refresh interval. The reply has what `read` on the metadata of each path shows, including
# custom metadata, and no value. `list` is not granted: it would list one level only.
path "{{mount}}/detailed-metadata/platform-data/*" {
  capabilities = ["scan"]
}

# The same for configuration (V2), which has its own prefix beside that of secrets (V1).
path "{{mount}}/detailed-metadata/platform-config/*" {
  capabilities = ["scan"]
}
