# In addition to publisher.hcl or combined.hcl, and to destroy.hcl, for PushSecrets with
# `waypost.io/earlier-versions: Purge`.
# `{{mount}}` stands for the KV v2 mount: `secret`, unless the store names another. ../README.md has
# the commands that replace it. Without them, the policy grants nothing.

# Removes an entry with all its versions and custom metadata, whatever it contains at that moment. A
# login with this right can remove every path of the convention. Install the policy only if version
# numbers and custom metadata must go, and not only values.
path "{{mount}}/metadata/platform-data/*" {
  capabilities = ["delete"]
}

# The same for configuration (V2), which has its own prefix beside that of secrets (V1).
path "{{mount}}/metadata/platform-config/*" {
  capabilities = ["delete"]
}
