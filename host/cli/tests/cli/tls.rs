//! Services that are reached by TLS.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;

use crate::harness::Service;

/// A certificate and its key in a directory.
fn certificate(directory: &Path) -> (PathBuf, PathBuf) {
    let names = ["127.0.0.1", "localhost"].map(str::to_owned);
    let made = generate_simple_self_signed(names);
    let CertifiedKey { cert, signing_key } = made.expect("a certificate");
    let (cert_file, key_file) = (directory.join("cert.pem"), directory.join("key.pem"));
    let written = fs::write(&cert_file, cert.pem())
        .and_then(|()| fs::write(&key_file, signing_key.serialize_pem()))
        .and_then(|()| fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)));
    written.expect("a directory of our own");
    (cert_file, key_file)
}

#[test]
fn a_service_of_a_private_authority_is_used_when_that_is_named() {
    let directory = TempDir::new().unwrap();
    let (cert, key) = certificate(directory.path());
    let other = TempDir::new().unwrap();
    let (other, _) = certificate(other.path());
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let service = Service::start(
        "wrap",
        "pty",
        &[("AGENTD_TLS_CERT", cert), ("AGENTD_TLS_KEY", key)],
    );
    let url = service.url();
    assert!(url.starts_with("https://"), "{url}");
    let program = ["--", "sh", "-c", "echo from the agent; exit 3"];
    let launch = [&["launch", "demo", "--working-dir", "/"][..], &program].concat();
    service
        .agent(&launch)
        .env("AGENTD_CA", cert)
        .run()
        .succeeded();
    let attach = service.agent(&["attach", "demo", "--ca", cert]).run();
    assert_eq!(attach.code, Some(3), "{attach:?}");
    assert!(attach.stdout.contains("from the agent"), "{attach:?}");

    // Neither the authorities of the machine nor another one know it.
    for list in [
        service.agent(&["list"]),
        service.agent(&["list", "--ca", other.to_str().unwrap()]),
    ] {
        let refused = list.run();
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
        let said = format!("error: what answers at `{url}` shows no certificate that is known: ");
        assert!(refused.stderr.starts_with(&said), "{}", refused.stderr);
        assert!(
            refused
                .stderr
                .contains("hint: name the file of its authority with `--ca`")
        );
    }
    let nothing = service.agent(&["list", "--ca", key]).run();
    assert_eq!(nothing.code, Some(1));
    assert!(
        nothing.stderr.contains("there are none"),
        "{}",
        nothing.stderr
    );
    let plain = url.replace("https", "http");
    let plain = service.agent(&["list", "--url", &plain]).run();
    assert!(
        plain.stderr.contains("this port speaks TLS"),
        "{}",
        plain.stderr
    );
}
