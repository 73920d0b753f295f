package main

import (
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"software.sslmate.com/src/go-pkcs12"
)

// keyOfStore is the private key of a PKCS#12 store in PKCS#8. The store is binary, not base64.
func keyOfStore(password, store string) (string, error) {
	key, _, _, err := pkcs12.DecodeChain([]byte(store), password)
	if err != nil {
		return "", err
	}
	return pkcs8(key)
}

func pkcs8(key any) (string, error) {
	content, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	return block("PRIVATE KEY", content), nil
}

// certificatesOfStore are those of a PKCS#12 store from leaf to root, or as they are in the store
// if they are no chain.
func certificatesOfStore(password, store string) (string, error) {
	_, leaf, others, err := pkcs12.DecodeChain([]byte(store), password)
	if err != nil {
		return "", err
	}
	certificates := append([]*x509.Certificate{leaf}, others...)
	if chain, err := fromLeafToRoot(certificates); err == nil {
		certificates = chain
	}
	return encoded(certificates...), nil
}

// storeOfLeaf is a PKCS#12 store in base64. What follows the first certificate is ignored.
func storeOfLeaf(certificate, key, password string) (string, error) {
	leaf, _, err := leafOf(certificate)
	if err != nil {
		return "", err
	}
	return store(leaf, nil, key, password)
}

func storeOfChain(certificates, key, password string) (string, error) {
	leaf, rest, err := leafOf(certificates)
	if err != nil {
		return "", err
	}
	others, err := onlyCertificatesOf(rest)
	if err != nil {
		return "", err
	}
	return store(leaf, others, key, password)
}

func store(leaf *x509.Certificate, others []*x509.Certificate, key, password string) (string, error) {
	parsed, err := privateKeyOf(key)
	if err != nil {
		return "", err
	}
	content, err := pkcs12.Modern.Encode(parsed, leaf, others, password)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(content), nil
}

func truststore(bundle, password string) (string, error) {
	certificates, err := onlyCertificatesOf([]byte(bundle))
	if err != nil {
		return "", err
	}
	content, err := pkcs12.Modern.EncodeTrustStore(certificates, password)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(content), nil
}

func leafOf(certificates string) (*x509.Certificate, []byte, error) {
	first, rest := pem.Decode([]byte(certificates))
	if first == nil {
		return nil, nil, errors.New("there is no PEM block for the certificate")
	}
	leaf, err := x509.ParseCertificate(first.Bytes)
	return leaf, rest, err
}

// onlyCertificatesOf accepts no other text after the last certificate, not even an empty line.
func onlyCertificatesOf(input []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for len(input) > 0 {
		block, rest := pem.Decode(input)
		if block == nil {
			return nil, errors.New("there is something that is no PEM block")
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certificates, input = append(certificates, certificate), rest
	}
	return certificates, nil
}

// privateKeyOf reads the first block by its content, whatever its type says.
func privateKeyOf(text string) (any, error) {
	first, _ := pem.Decode([]byte(text))
	if first == nil {
		return nil, errors.New("there is no PEM block for the private key")
	}
	if key, err := x509.ParsePKCS1PrivateKey(first.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS8PrivateKey(first.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(first.Bytes); err == nil {
		return key, nil
	}
	return nil, errors.New("the private key is neither PKCS#1, PKCS#8 nor SEC 1")
}

// publicKeyOfJWK wants a public key: a private one is an error.
func publicKeyOfJWK(text string) (string, error) {
	key, err := keyOfJWK(text)
	if err != nil {
		return "", err
	}
	content, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", err
	}
	return block("PUBLIC KEY", content), nil
}

func privateKeyOfJWK(text string) (string, error) {
	key, err := keyOfJWK(text)
	if err != nil {
		return "", err
	}
	return pkcs8(key)
}

func keyOfJWK(text string) (any, error) {
	parsed, err := jwk.ParseKey([]byte(text))
	if err != nil {
		return nil, err
	}
	var key any
	err = parsed.Raw(&key)
	return key, err
}

// decryptRSA hands the text on for the scheme None. A hash that it does not know is SHA-256.
func decryptRSA(scheme, hashName, cipher, key string) (string, error) {
	switch scheme {
	case "None":
		return cipher, nil
	case "RSA-OAEP":
	default:
		return "", fmt.Errorf("the scheme %q is not known", scheme)
	}
	parsed, err := privateKeyOf(key)
	if err != nil {
		return "", err
	}
	private, isRSA := parsed.(*rsa.PrivateKey)
	if !isRSA {
		return "", errors.New("the private key is not for RSA")
	}
	plain, err := rsa.DecryptOAEP(hashOf(hashName), nil, private, []byte(cipher), nil)
	return string(plain), err
}

func hashOf(name string) hash.Hash {
	switch name {
	case "SHA1":
		return sha1.New()
	case "SHA512":
		return sha512.New()
	}
	return sha256.New()
}
