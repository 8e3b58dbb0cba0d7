use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A certificate for services of this machine, which vouches for itself.
#[derive(Clone, Debug)]
pub struct Certificate {
    cert: String,
    key: String,
}

impl Certificate {
    /// A new one, of the loopback names.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        Certificate {
            cert: cert.pem(),
            key: signing_key.serialize_pem(),
        }
    }

    /// Writes it into a directory; where it is then, and where its key is.
    pub fn save(&self, directory: &Path) -> (PathBuf, PathBuf) {
        let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        fs::write(&cert, &self.cert).unwrap();
        fs::write(&key, &self.key).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        (cert, key)
    }

    /// A connection of TLS from that address of this machine, once it has come about.
    pub async fn connect(&self, from: IpAddr, to: SocketAddr) -> TlsStream<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = socket.connect(to).await.unwrap();
        let connector = TlsConnector::from(self.trust());
        connector.connect(to.ip().into(), stream).await.unwrap()
    }

    /// Takes this certificate and no other.
    pub(super) fn trust(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let cert = CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap();
        roots.add(cert).unwrap();
        trusting(roots)
    }
}

/// Takes no certificate.
pub(super) fn no_trust() -> Arc<ClientConfig> {
    trusting(RootCertStore::empty())
}

fn trusting(roots: RootCertStore) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}
