//! The lab's own certificates: one CA, a certificate for each server, client certificates for
//! whoever needs one.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use super::folder::write_private;

/// The lab's CA with the folder that holds what it issued.
pub(super) struct Pki {
    folder: PathBuf,
    ca: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as files for servers and as text for kubeconfigs.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) certificate_file: PathBuf,
    pub(super) key_file: PathBuf,
    pub(super) certificate_pem: String,
    pub(super) key_pem: String,
}

impl Pki {
    /// Makes a CA and writes its certificate to `ca.crt`.
    pub(super) fn create(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "waypost lab");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().context("generate the CA's key")?;
        let ca = CertifiedIssuer::self_signed(params, key).context("sign the CA's certificate")?;
        let pki = Pki { folder: folder.to_owned(), ca };
        write_private(&pki.ca_file(), &pki.ca_pem())?;
        Ok(pki)
    }

    pub(super) fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    pub(super) fn ca_pem(&self) -> String {
        self.ca.pem()
    }

    /// A certificate for a server on the loopback address; it serves as client certificate among
    /// peers, too.
    pub(super) fn server(&self, name: &str) -> anyhow::Result<Identity> {
        let names = ["127.0.0.1", "localhost", "kubernetes", "kubernetes.default.svc"].map(String::from);
        let mut params = CertificateParams::new(names).context("name a server certificate")?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(name, params)
    }

    /// A client certificate for a Kubernetes user, in a group if one is given.
    pub(super) fn client(&self, file: &str, user: &str, group: Option<&str>) -> anyhow::Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(file, params)
    }

    /// A key pair without certificate, for ServiceAccount tokens: the private key's file, and the
    /// public one's.
    pub(super) fn signing_key(&self, name: &str) -> anyhow::Result<[PathBuf; 2]> {
        let key = KeyPair::generate().context("generate a signing key")?;
        let files = [self.folder.join(format!("{name}.key")), self.folder.join(format!("{name}.pub"))];
        write_private(&files[0], &key.serialize_pem())?;
        write_private(&files[1], &key.public_key_pem())?;
        Ok(files)
    }

    fn issue(&self, name: &str, mut params: CertificateParams) -> anyhow::Result<Identity> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().with_context(|| format!("generate the key of {name}"))?;
        let certificate =
            params.signed_by(&key, &self.ca).with_context(|| format!("sign the certificate of {name}"))?;
        let identity = Identity {
            certificate_file: self.folder.join(format!("{name}.crt")),
            key_file: self.folder.join(format!("{name}.key")),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        };
        write_private(&identity.certificate_file, &identity.certificate_pem)?;
        write_private(&identity.key_file, &identity.key_pem)?;
        Ok(identity)
    }
}
