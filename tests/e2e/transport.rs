//! What browsers make of a Weir that speaks TLS itself.

use std::fs;

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::PublicKeyData;
use sha2::{Digest, Sha256};

use crate::{
    browser::Spec,
    ports::free_port,
    weir::{DataDir, Weir},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_stays_with_https() {
    let folder = DataDir::new();
    let made = rcgen::generate_simple_self_signed(["weir.test".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let public_key = STANDARD.encode(Sha256::digest(made.signing_key.subject_public_key_info()));
    // The public address has it, too.
    let port = free_port();
    let (http, public_url) = (format!("127.0.0.1:{port}"), format!("https://weir.test:{port}"));
    let here = ["--http", &http, "--rtmp", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--public-url", &public_url];
    let tls = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let arguments = [&here[..], &tls[..]].concat();
    let weir = Weir::up_with(&folder, &arguments);
    assert_eq!(weir.http, public_url);
    Spec::run("transport.spec.ts", &weir, &[("WEIR_CERTIFICATE_KEY", &public_key)]).passes().await;
}
