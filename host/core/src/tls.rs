use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::access::{Accounts, Distrust, Entry};
use crate::config::Config;
use crate::start_error::StartError;

/// What the service shows to clients over TCP, so that they know it and nobody else reads what goes
/// between them: a certificate and its key, from two files that are read again at SIGHUP.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    /// Connections that are there keep the one that they began with.
    newest: RwLock<Arc<ServerConfig>>,
}

#[derive(Clone, Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there, or may not be read.
    #[error("`{}` cannot be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// Others may read or change the key.
    #[error("the key `{}` is not used because it {reason}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What mends it.
        remedy: String,
    },
    /// A file is something else.
    #[error("`{}` holds no {what} in PEM", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// They do not belong together, or are of a kind that is not known.
    #[error("the certificate `{}` and the key `{}` cannot be used: {error}", cert.display(), key.display())]
    Unusable {
        /// The one file.
        cert: PathBuf,
        /// The other one.
        key: PathBuf,
        /// What the library says.
        error: rustls::Error,
    },
}

impl Tls {
    /// The certificate that is set; none where none is. From then on SIGHUP has its files read again.
    pub async fn open(config: &Config) -> Result<Option<Arc<Tls>>, StartError> {
        let is_set = |path: &&PathBuf| !path.as_os_str().is_empty();
        let cert = config.tls_cert.as_ref().filter(is_set);
        let key = config.tls_key.as_ref().filter(is_set);
        let (cert, key) = match (cert, key) {
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
            (None, None) => return Ok(None),
            (Some(_), None) => return Err(half("AGENTD_TLS_CERT", "AGENTD_TLS_KEY")),
            (None, Some(_)) => return Err(half("AGENTD_TLS_KEY", "AGENTD_TLS_CERT")),
        };
        let hangups = signal(SignalKind::hangup())
            .map_err(|error| StartError::failure(format!("listening for signals: {error}")))?;
        let files = Files { cert, key };
        let newest = RwLock::new(files.read().await?);
        let tls = Arc::new(Tls { files, newest });
        tokio::spawn(tls.clone().reload_at(hangups));
        Ok(Some(tls))
    }

    /// What makes a connection one of TLS, with the newest certificate.
    pub fn acceptor(&self) -> TlsAcceptor {
        let newest = self.newest.read();
        newest
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .into()
    }

    async fn reload_at(self: Arc<Self>, mut hangups: Signal) {
        while hangups.recv().await.is_some() {
            match self.files.read().await {
                Ok(newest) => {
                    *self.newest.write().unwrap_or_else(PoisonError::into_inner) = newest;
                    tracing::info!("new connections get the certificate that was read again");
                }
                Err(error) => {
                    tracing::error!(hint = error.hint(), "the old certificate stays: {error}");
                }
            }
        }
    }
}

impl Files {
    /// In a thread of its own: a disk may keep it waiting.
    async fn read(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let files = self.clone();
        let read = spawn_blocking(move || files.read_now()).await;
        read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    fn read_now(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let certs = read(&self.cert)?;
        let certs: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&certs).collect();
        let certs = certs.ok().filter(|certs| !certs.is_empty());
        let certs = certs.ok_or_else(|| TlsError::Empty {
            path: self.cert.clone(),
            what: "certificate",
        })?;
        refuse_exposed(&self.key)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?);
        let key = key.map_err(|_| TlsError::Empty {
            path: self.key.clone(),
            what: "private key",
        })?;
        let made = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(certs, key));
        let mut config = made.map_err(|error| TlsError::Unusable {
            cert: self.cert.clone(),
            key: self.key.clone(),
            error,
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::Unreadable {
        path: path.to_owned(),
        error,
    })
}

/// Only root and this user may be able to change a key, and to read it. Root may have given it to a
/// group, as distributions do for daemons.
fn refuse_exposed(path: &Path) -> Result<(), TlsError> {
    let unreadable = |error| TlsError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let exposed = |reason: String, remedy: String| TlsError::Exposed {
        path: path.to_owned(),
        reason,
        remedy,
    };
    let accounts = Accounts::read();
    let entry = Entry::read(path).map_err(unreadable)?;
    if let Some(reason) = entry.distrust(&accounts) {
        return Err(exposed(reason.to_string(), reason.remedy(path)));
    }
    // Whoever can change a directory above can put another key there; a link is one in its directory, too.
    let named = std::path::absolute(path).map_err(unreadable)?;
    let named = named.parent().unwrap_or(&named).canonicalize();
    let named = named.map_err(unreadable)?;
    let file = path.canonicalize().map_err(unreadable)?;
    let above = named.ancestors().chain(file.ancestors().skip(1));
    for directory in above {
        let entry = Entry::read(directory).map_err(unreadable)?;
        let is_own = [Some(named.as_path()), file.parent()].contains(&Some(directory));
        match entry.distrust(&accounts) {
            // Nobody but its owner removes or renames an entry of it.
            Some(Distrust::Sticky) if !is_own => {}
            Some(reason) => {
                let why = format!("is below `{}`, which {reason}", directory.display());
                return Err(exposed(why, reason.remedy(directory)));
            }
            None => {}
        }
    }
    let metadata = path.metadata().map_err(unreadable)?;
    let readers = match metadata.uid() {
        0 => OTHERS,
        _ => GROUP | OTHERS,
    };
    match metadata.mode() & readers {
        0 => Ok(()),
        _ => Err(exposed(
            "can be read by others".to_owned(),
            format!("take the right away: `chmod go-rwx {}`", path.display()),
        )),
    }
}

const GROUP: u32 = 0o040;
const OTHERS: u32 = 0o004;

fn half(set: &str, missing: &str) -> StartError {
    StartError::config(format!("{set} is set, and {missing} is not"))
        .hint("a certificate and its key belong together: set both, or neither")
}

impl TlsError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            TlsError::Exposed { remedy, .. } => {
                format!("{remedy}; or make a new one, if others may have seen it")
            }
            _ => "AGENTD_TLS_CERT names a file with the certificate and those of its authorities, \
                  AGENTD_TLS_KEY one with its key"
                .to_owned(),
        }
    }
}

impl From<TlsError> for StartError {
    fn from(error: TlsError) -> Self {
        StartError::config(error.to_string()).hint(error.hint())
    }
}
