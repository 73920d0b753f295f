package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"software.sslmate.com/src/go-pkcs12"
)

// The password of the stores that have one, and the text that the RSA ciphers hold.
const (
	storePassword = "correct horse"
	plainText     = "the plain text"
)

// pair is a certificate with its private key.
type pair struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// writeFixtures makes new keys, chains, stores, JWKs and ciphers. They differ each time, so this
// is done once, and what is in the repository is kept.
func writeFixtures(folder string) error {
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	files := map[string][]byte{}
	rsaChain, err := newChain("RSA", func() (crypto.Signer, error) {
		return rsa.GenerateKey(rand.Reader, 2048)
	})
	if err != nil {
		return err
	}
	ecChain, err := newChain("EC", func() (crypto.Signer, error) {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	})
	if err != nil {
		return err
	}
	for name, chain := range map[string][]pair{"rsa": rsaChain, "ec": ecChain} {
		if err := addChain(files, name, chain); err != nil {
			return err
		}
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	if err := addKeys(files, "ed25519", edKey); err != nil {
		return err
	}
	if err := addBareLeaf(files, rsaChain); err != nil {
		return err
	}
	hashes := map[string]hash.Hash{"sha1": sha1.New(), "sha256": sha256.New(), "sha512": sha512.New()}
	for name, hash := range hashes {
		public := rsaChain[0].key.Public().(*rsa.PublicKey)
		cipher, err := rsa.EncryptOAEP(hash, rand.Reader, public, []byte(plainText), nil)
		if err != nil {
			return err
		}
		files["cipher-"+name] = cipher
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// newChain is a leaf, an intermediate and a root. Only the root of the EC chain names itself as
// its issuer by key identifier: both ways are common.
func newChain(name string, newKey func() (crypto.Signer, error)) ([]pair, error) {
	var keys [3]crypto.Signer
	for i := range keys {
		var err error
		if keys[i], err = newKey(); err != nil {
			return nil, err
		}
	}
	root := authority(name+" root", 1)
	if name == "EC" {
		root.AuthorityKeyId = root.SubjectKeyId
	}
	rootPair, err := signed(root, keys[2], pair{root, keys[2]})
	if err != nil {
		return nil, err
	}
	intermediate, err := signed(authority(name+" intermediate", 2), keys[1], rootPair)
	if err != nil {
		return nil, err
	}
	leaf, err := signed(server(name), keys[0], intermediate)
	return []pair{leaf, intermediate, rootPair}, err
}

func authority(name string, serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(serial),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2126, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
		SubjectKeyId:          identifier(name),
	}
}

// server has names of all kinds.
func server(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:   big.NewInt(3),
		Subject:        pkix.Name{CommonName: name + " leaf"},
		NotBefore:      time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:       time.Date(2126, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage:       x509.KeyUsageDigitalSignature,
		SubjectKeyId:   identifier(name + " leaf"),
		DNSNames:       []string{"db.example.org", "*.db.example.org"},
		IPAddresses:    []net.IP{net.IPv4(10, 0, 0, 7), net.ParseIP("2001:db8::7")},
		EmailAddresses: []string{"dba@example.org"},
		URIs:           []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/ns/db/sa/primary"}},
	}
}

func identifier(name string) []byte {
	digest := sha1.Sum([]byte(name))
	return digest[:]
}

func signed(template *x509.Certificate, key crypto.Signer, issuer pair) (pair, error) {
	content, err := x509.CreateCertificate(rand.Reader, template, issuer.certificate, key.Public(), issuer.key)
	if err != nil {
		return pair{}, err
	}
	certificate, err := x509.ParseCertificate(content)
	return pair{certificate, key}, err
}

func addChain(files map[string][]byte, name string, chain []pair) error {
	leaf, between, root := chain[0].certificate, chain[1].certificate, chain[2].certificate
	files[name+"-leaf.crt"] = []byte(encoded(leaf))
	files[name+"-intermediate.crt"] = []byte(encoded(between))
	files[name+"-root.crt"] = []byte(encoded(root))
	files[name+"-chain.crt"] = []byte(encoded(leaf, between, root))
	files[name+"-shuffled.crt"] = []byte(encoded(root, leaf, between))
	if err := addKeys(files, name, chain[0].key); err != nil {
		return err
	}
	for file, encoder := range map[string]*pkcs12.Encoder{"modern": pkcs12.Modern, "legacy": pkcs12.LegacyDES} {
		// The order in the store is not that of the chain.
		content, err := encoder.Encode(chain[0].key, leaf, []*x509.Certificate{root, between}, storePassword)
		if err != nil {
			return err
		}
		files[name+"-"+file+".p12"] = content
	}
	content, err := pkcs12.Modern.Encode(chain[0].key, leaf, nil, "")
	files[name+"-nopassword.p12"] = content
	return err
}

// addKeys writes a private key in PKCS#8, in the form of its own kind, and as JWK.
func addKeys(files map[string][]byte, name string, key crypto.Signer) error {
	text, err := pkcs8(key)
	if err != nil {
		return err
	}
	files[name+"-pkcs8.key"] = []byte(text)
	switch key := key.(type) {
	case *rsa.PrivateKey:
		files[name+"-pkcs1.key"] = []byte(block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)))
	case *ecdsa.PrivateKey:
		content, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			return err
		}
		files[name+"-sec1.key"] = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: content})
	}
	for file, raw := range map[string]any{"private": key, "public": key.Public()} {
		asJWK, err := jwk.FromRaw(raw)
		if err != nil {
			return fmt.Errorf("JWK of %s: %w", name, err)
		}
		content, err := json.Marshal(asJWK)
		if err != nil {
			return err
		}
		files[name+"-"+file+".jwk"] = append(content, '\n')
	}
	return nil
}

// addBareLeaf writes a leaf without key identifier of its own, as Go issues them by itself: the
// root of its chain, which names no issuer, counts as issued by it.
func addBareLeaf(files map[string][]byte, chain []pair) error {
	template := server("bare")
	template.SubjectKeyId = nil
	bare, err := signed(template, chain[0].key, chain[1])
	if err != nil {
		return err
	}
	files["bare-leaf.crt"] = []byte(encoded(bare.certificate))
	files["bare-chain.crt"] = []byte(encoded(bare.certificate, chain[1].certificate, chain[2].certificate))
	return nil
}
