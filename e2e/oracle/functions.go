package main

import (
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"sigs.k8s.io/yaml"
)

// functions are those of the operator: sprig's for texts without the three that look outside of a
// template, and its own.
func functions() template.FuncMap {
	all := sprig.TxtFuncMap()
	for _, name := range []string{"env", "expandenv", "getHostByName"} {
		delete(all, name)
	}
	for name, function := range own {
		all[name] = function
	}
	return all
}

// builtIn are Go's own functions, which sprig and the operator add to.
var builtIn = []string{
	"and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf",
	"println", "slice", "urlquery",
}

// functionNames are what a template may call, sorted.
func functionNames() []string {
	names := append(slices.Collect(maps.Keys(functions())), builtIn...)
	slices.Sort(names)
	return slices.Compact(names)
}

var own = template.FuncMap{
	"hexdec":                    hexDecoded,
	"toYaml":                    toYAML,
	"fromYaml":                  fromYAML,
	"pkcs12key":                 func(store string) (string, error) { return keyOfStore("", store) },
	"pkcs12keyPass":             keyOfStore,
	"pkcs12cert":                func(store string) (string, error) { return certificatesOfStore("", store) },
	"pkcs12certPass":            certificatesOfStore,
	"pemToPkcs12":               func(leaf, key string) (string, error) { return storeOfLeaf(leaf, key, "") },
	"pemToPkcs12Pass":           storeOfLeaf,
	"fullPemToPkcs12":           func(chain, key string) (string, error) { return storeOfChain(chain, key, "") },
	"fullPemToPkcs12Pass":       storeOfChain,
	"pemTruststoreToPKCS12":     func(bundle string) (string, error) { return truststore(bundle, "") },
	"pemTruststoreToPKCS12Pass": truststore,
	"filterPEM":                 blocksOfType,
	"filterCertChain":           partOfChain,
	"certSANs":                  alternativeNames,
	"jwkPublicKeyPem":           publicKeyOfJWK,
	"jwkPrivateKeyPem":          privateKeyOfJWK,
	"rsaDecrypt":                decryptRSA,
}

func hexDecoded(text string) (string, error) {
	decoded, err := hex.DecodeString(text)
	return string(decoded), err
}

// toYAML is empty for what cannot be written; it has no final line break.
func toYAML(value any) string {
	text, err := yaml.Marshal(value)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(text), "\n")
}

// fromYAML never fails: the error's text is one of the values, under the key that the operator
// uses, which begins with a capital.
func fromYAML(text string) map[string]any {
	values := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		values["Error"] = err.Error()
	}
	return values
}
