//! Encrypted connections: whom to believe. The roots of the public web are part of the program, because an image
//! without anything else has none; private ones are added by the variables that other programs read too.

use super::policy::{Host, Target};
use crate::log;
use std::{env, fs, io, path::PathBuf, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};
use webpki_roots::TLS_SERVER_ROOTS;

/// A PEM file, and a folder of PEM files, with further roots.
const ROOTS_FILE: &str = "SSL_CERT_FILE";
const ROOTS_FOLDER: &str = "SSL_CERT_DIR";

/// The roots that were added, read before the jail closes.
#[derive(Clone, Default)]
pub struct Roots(Vec<CertificateDer<'static>>);

impl Roots {
    pub fn load() -> Self {
        let mut files: Vec<PathBuf> = env::var_os(ROOTS_FILE).into_iter().map(PathBuf::from).collect();
        for folder in env::var_os(ROOTS_FOLDER).iter().flat_map(env::split_paths) {
            files.extend(fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
        let mut roots = Vec::new();
        for file in files.iter().filter(|file| file.is_file()) {
            let pem = fs::read(file).unwrap_or_default();
            roots.extend(CertificateDer::pem_slice_iter(&pem).flatten());
        }
        Self(roots)
    }

    /// Makes a connection an encrypted one with the target's own name on its certificate.
    pub async fn encrypt(&self, stream: TcpStream, target: &Target) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore { roots: TLS_SERVER_ROOTS.to_vec() };
        let (_, ignored) = roots.add_parsable_certificates(self.0.iter().cloned());
        log::debug(|| format!("{} roots added, {ignored} not understood", self.0.len() - ignored));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
        TlsConnector::from(Arc::new(config)).connect(name(target)?, stream).await
    }
}

fn name(target: &Target) -> io::Result<ServerName<'static>> {
    Ok(match &target.host {
        Host::Localhost => ServerName::try_from("localhost").map_err(io::Error::other)?,
        Host::Ip(ip) => ServerName::from(*ip),
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
    })
}

/// What went wrong, in the words of `wasi:http` and in ours.
pub fn explain(error: &io::Error) -> (wasmtime_wasi_http::Error, String) {
    use wasmtime_wasi_http::Error;
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(why)) => (
            Error::TlsCertificateError,
            format!("its certificate is not trusted: {why}; a private CA is added with {ROOTS_FILE}"),
        ),
        Some(rustls::Error::AlertReceived(alert)) => {
            let alert_message = Some(format!("{alert:?}"));
            (Error::TlsAlertReceived { alert_id: None, alert_message }, format!("it refused: {alert:?}"))
        }
        Some(error) => (Error::TlsProtocolError, format!("no TLS: {error}")),
        None => (Error::TlsProtocolError, format!("no TLS: {error}")),
    }
}
