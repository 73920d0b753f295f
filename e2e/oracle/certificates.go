package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
)

const certificateType = "CERTIFICATE"

// blocksOfType keeps the PEM blocks of a type, whatever the case of its letters. It is an error
// when none is left and the input ends with something that is no block.
func blocksOfType(wanted, input string) (string, error) {
	kept := &strings.Builder{}
	block, rest := pem.Decode(fromFirstBlock(input))
	for ; block != nil; block, rest = pem.Decode(rest) {
		if strings.EqualFold(wanted, block.Type) {
			if err := pem.Encode(kept, block); err != nil {
				return "", err
			}
		}
	}
	if kept.Len() == 0 && len(rest) > 0 {
		return "", errors.New("there is no such block, and other text")
	}
	return kept.String(), nil
}

// fromFirstBlock drops what is before the first block. Go's decoder used to do that in all cases.
func fromFirstBlock(input string) []byte {
	return []byte(input[max(0, strings.Index(input, "-----BEGIN")):])
}

// partOfChain is the leaf, the root, or all between them; empty if the chain has no such part or
// nobody knows such a part. Roots are known by their key identifiers, not by their signature.
func partOfChain(part, input string) (string, error) {
	certificates, err := certificatesOf([]byte(input))
	if err != nil {
		return "", err
	}
	chain, err := fromLeafToRoot(certificates)
	if err != nil {
		return "", err
	}
	first, last := chain[0], chain[len(chain)-1]
	switch {
	case part == "leaf" && !isRoot(first):
		return encoded(first), nil
	case part == "root" && isRoot(last):
		return encoded(last), nil
	case part == "intermediate":
		between := chain[1:]
		for i, certificate := range between {
			if isRoot(certificate) {
				between = between[:i]
				break
			}
		}
		return encoded(between...), nil
	}
	return "", nil
}

func isRoot(certificate *x509.Certificate) bool {
	issuer := certificate.AuthorityKeyId
	return issuer == nil || bytes.Equal(issuer, certificate.SubjectKeyId)
}

// fromLeafToRoot orders certificates by their key identifiers: the issuer of one is the first
// other one that has its authority key identifier, and the leaf is the one that issued none.
// Nothing is verified.
func fromLeafToRoot(certificates []*x509.Certificate) ([]*x509.Certificate, error) {
	issuers := make(map[int]int)
	issued := make(map[int]bool)
	for i, certificate := range certificates {
		for j, other := range certificates {
			// Two missing identifiers are equal as well.
			if i != j && bytes.Equal(certificate.AuthorityKeyId, other.SubjectKeyId) {
				issuers[i], issued[j] = j, true
				break
			}
		}
	}
	var leaves []int
	for i := range certificates {
		if !issued[i] {
			leaves = append(leaves, i)
		}
	}
	switch {
	case len(leaves) == 0:
		return nil, errors.New("there is no leaf certificate")
	case len(leaves) > 1:
		return nil, errors.New("there are several leaf certificates, or certificates of several chains")
	}
	var chain []*x509.Certificate
	for at, more := leaves[0], true; more; at, more = next(issuers, at) {
		if len(chain) == len(certificates) {
			return nil, errors.New("the chain is a circle")
		}
		chain = append(chain, certificates[at])
	}
	return chain, nil
}

func next(issuers map[int]int, at int) (int, bool) {
	issuer, known := issuers[at]
	return issuer, known
}

// certificatesOf ignores text between and after the blocks; a block of another type is an error.
func certificatesOf(input []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for block, rest := pem.Decode(input); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certificates = append(certificates, certificate)
	}
	return certificates, nil
}

// alternativeNames of the first block: DNS names, addresses, mail addresses, then URIs.
func alternativeNames(input string) ([]string, error) {
	block, _ := pem.Decode(fromFirstBlock(input))
	if block == nil {
		return nil, errors.New("there is no PEM block")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	names := append([]string{}, certificate.DNSNames...)
	for _, address := range certificate.IPAddresses {
		names = append(names, address.String())
	}
	names = append(names, certificate.EmailAddresses...)
	for _, address := range certificate.URIs {
		names = append(names, address.String())
	}
	return names, nil
}

func encoded(certificates ...*x509.Certificate) string {
	text := &strings.Builder{}
	for _, certificate := range certificates {
		text.WriteString(block(certificateType, certificate.Raw))
	}
	return text.String()
}

func block(kind string, content []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}))
}
