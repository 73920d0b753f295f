//! The functions that look into certificates. Nothing here verifies a signature or a date.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use super::pem::{self, Block};
use super::{Call, Function, fixed};
use crate::error::Problem;
use crate::value::{Type, Value};

const TEXT: Type = Type::Text;
pub const CERTIFICATE: &str = "CERTIFICATE";

pub const FUNCTIONS: &[Function] =
    &[fixed("filterCertChain", &[TEXT, TEXT], filter_chain), fixed("certSANs", &[TEXT], alternative_names)];

/// A certificate, and the identifiers by which chains are ordered.
#[derive(Clone)]
pub struct Certificate {
    pub der: Vec<u8>,
    /// Of its own key; empty if it has none.
    key: Vec<u8>,
    /// Of its issuer's key.
    issuer: Option<Vec<u8>>,
}

impl Certificate {
    /// From DER; `None` if it is none, or more follows.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let certificate = parsed(der)?;
        let (mut key, mut issuer) = (Vec::new(), None);
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(identifier) => key = identifier.0.to_vec(),
                ParsedExtension::AuthorityKeyIdentifier(authority) => {
                    issuer = authority.key_identifier.as_ref().map(|identifier| identifier.0.to_vec());
                }
                _other => {}
            }
        }
        Some(Certificate { der: der.to_vec(), key, issuer })
    }

    pub fn write(&self, text: &mut Vec<u8>) {
        Block::new(CERTIFICATE, &self.der).write(text);
    }

    /// Whether what it issues can name its key.
    pub fn has_key_identifier(&self) -> bool {
        !self.key.is_empty()
    }

    /// By its key identifiers, not by its signature.
    fn is_root(&self) -> bool {
        self.issuer.as_ref().is_none_or(|issuer| *issuer == self.key)
    }

    fn is_issued_by(&self, other: &Certificate) -> bool {
        // Two missing identifiers are equal as well.
        self.issuer.as_deref().unwrap_or_default() == other.key
    }
}

/// A certificate that is all of this DER.
pub fn parsed(der: &[u8]) -> Option<X509Certificate<'_>> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Some(certificate),
        Ok(_) | Err(_) => None,
    }
}

/// The certificates of blocks, all of which must be some.
pub fn of_blocks(call: &Call<'_>, blocks: &[Block]) -> Result<Vec<Certificate>, Problem> {
    let certificates: Option<Vec<_>> = blocks.iter().map(|block| Certificate::parse(&block.content)).collect();
    certificates.map_or_else(|| call.refuse("a block is not a certificate"), Ok)
}

/// As PEM.
pub fn written(certificates: &[Certificate]) -> Vec<u8> {
    let mut text = Vec::new();
    certificates.iter().for_each(|certificate| certificate.write(&mut text));
    text
}

/// In the order from leaf to root, or why they are no chain. The issuer of one is the first other
/// one that has its authority key identifier, and the leaf is the one that issued none.
pub fn from_leaf_to_root(certificates: &[Certificate]) -> Result<Vec<Certificate>, &'static str> {
    let issuer = |index: usize| {
        let others = certificates.iter().enumerate();
        others.filter(|(other, _)| *other != index).find(|(_, other)| certificates[index].is_issued_by(other))
    };
    let issuers: Vec<Option<usize>> =
        (0..certificates.len()).map(|index| issuer(index).map(|(other, _)| other)).collect();
    let mut leaves = (0..certificates.len()).filter(|index| !issuers.contains(&Some(*index)));
    let mut next = match (leaves.next(), leaves.next()) {
        (None, _) => return Err("there is no leaf certificate"),
        (Some(_), Some(_)) => return Err("there are several leaf certificates, or certificates of several chains"),
        (leaf, None) => leaf,
    };
    let mut chain = Vec::with_capacity(certificates.len());
    while let Some(index) = next {
        if chain.len() == certificates.len() {
            return Err("the chain is a circle");
        }
        chain.push(certificates[index].clone());
        next = issuers[index];
    }
    Ok(chain)
}

/// The leaf, the root, or all between them; empty if the chain has no such part.
fn filter_chain(call: &mut Call<'_>) -> Result<Value, Problem> {
    let (part, text) = (call.text(0), call.text(1));
    let (blocks, _) = pem::blocks(call, &text)?;
    let chain = match from_leaf_to_root(&of_blocks(call, &blocks)?) {
        Ok(chain) => chain,
        Err(cause) => return call.refuse(cause),
    };
    let part = match (&*part, &chain[..]) {
        (b"leaf", [leaf, ..]) if !leaf.is_root() => std::slice::from_ref(leaf),
        (b"root", [.., root]) if root.is_root() => std::slice::from_ref(root),
        (b"intermediate", [_, between @ ..]) => {
            let end = between.iter().position(Certificate::is_root).unwrap_or(between.len());
            &between[..end]
        }
        _nothing => &[],
    };
    Ok(Value::text(written(part)))
}

/// Of the first block: DNS names, addresses, mail addresses, then URIs.
fn alternative_names(call: &mut Call<'_>) -> Result<Value, Problem> {
    let text = call.text(0);
    let (blocks, _) = pem::blocks(call, pem::from_first_block(&text))?;
    let Some(block) = blocks.first() else { return call.refuse("there is no PEM block") };
    let Some(certificate) = parsed(&block.content) else { return call.refuse("the block is not a certificate") };
    let Ok(extension) = certificate.subject_alternative_name() else {
        return call.refuse("the certificate has its alternative names twice");
    };
    let [mut dns, mut addresses, mut mail, mut uris] = [const { Vec::new() }; 4];
    for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => dns.push(name.as_bytes().to_vec()),
            GeneralName::IPAddress(bytes) => match address(bytes) {
                Some(address) => addresses.push(address.to_string().into_bytes()),
                None => return call.refuse("an address of the certificate has a wrong length"),
            },
            GeneralName::RFC822Name(name) => mail.push(name.as_bytes().to_vec()),
            GeneralName::URI(name) => uris.push(name.as_bytes().to_vec()),
            // Go does not know the other kinds either.
            _other => {}
        }
    }
    Ok(Value::texts([dns, addresses, mail, uris].concat()))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes))));
    address.ok().map(|address| address.to_canonical())
}
