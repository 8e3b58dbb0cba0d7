use std::sync::Arc;
use std::time::Duration;

use reqwest::{ClientBuilder, redirect};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::ClientError;
use super::address::Address;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that has been silent this long is asked whether it still lives.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Whose certificates a client takes from a service at `https`.
#[derive(Clone, Debug, Default)]
pub enum Authorities {
    /// Those of the authorities that this machine knows.
    #[default]
    System,
    /// Those of these authorities alone.
    Only(Vec<CertificateDer<'static>>),
}

impl Authorities {
    /// The authorities of a file in PEM; none if it holds no certificate.
    pub fn from_pem(pem: &[u8]) -> Option<Authorities> {
        let certificates = CertificateDer::pem_slice_iter(pem);
        let certificates = certificates.collect::<Result<Vec<_>, _>>().ok()?;
        (!certificates.is_empty()).then_some(Authorities::Only(certificates))
    }
}

/// Makes HTTP clients that are alike.
#[derive(Clone, Debug)]
pub(super) struct Builder {
    tls: ClientConfig,
}

impl Builder {
    /// Of clients that go to that address. The machine's authorities are read only where they count.
    pub(super) fn new(at: &Address, authorities: &Authorities) -> Result<Builder, ClientError> {
        let refused = |error: rustls::Error| ClientError::Authorities {
            reason: error.to_string(),
        };
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(refused)?;
        let mut roots = RootCertStore::empty();
        let config = match authorities {
            Authorities::System if at.base.scheme() == "https" => {
                let verifier = Verifier::new(provider).map_err(refused)?;
                config
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(verifier))
            }
            Authorities::System => config.with_root_certificates(roots),
            Authorities::Only(certificates) => {
                for certificate in certificates {
                    roots.add(certificate.clone()).map_err(refused)?;
                }
                config.with_root_certificates(roots)
            }
        };
        let mut tls = config.with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Builder { tls })
    }

    pub(super) fn builder(&self) -> ClientBuilder {
        reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(KEEPALIVE)
            .tcp_keepalive_interval(KEEPALIVE / 3)
            .tcp_keepalive_retries(3)
            .redirect(redirect::Policy::none())
            .no_proxy()
    }
}
