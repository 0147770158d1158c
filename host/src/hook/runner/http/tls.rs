//! Runner: TLS: trusted roots, and the hook's own certificate. The roots of the public web are part of the binary,
//! because an image without anything else has none; private ones are added by the variables that other programs read
//! too, and a hook has a certificate of its own if its variables name one.

use super::tls_errors;
use crate::{
    environment::{self, problem_of_file},
    hook::allow_list::{Host, Origin},
    log::{Label, Level, Line},
};
use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, RootCertStore, SignatureScheme,
        client::ResolvesClientCert,
        pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, pem::PemObject},
        sign::CertifiedKey,
    },
};
use wasmtime_wasi_http::Error;
use webpki_roots::TLS_SERVER_ROOTS;

/// A PEM file, and a folder of PEM files, with further roots.
const ROOTS_FILE: &str = "SSL_CERT_FILE";
const ROOTS_FOLDER: &str = "SSL_CERT_DIR";

/// Bytes of one PEM file, and of all of them together. A distribution's bundle has a quarter of a megabyte, and
/// a folder of it has each certificate once more, and links to it.
const FILE_LIMIT: u64 = 4 << 20;
const FILES_LIMIT: u64 = 16 << 20;

/// The files of these variables, read before the sandbox is entered and not parsed yet.
#[derive(Default)]
pub struct TlsFiles {
    roots: Vec<Pem>,
    identity: Option<Result<[Pem; 2], String>>,
    /// Errors that do not keep the hook from running.
    problems: Vec<String>,
}

/// A PEM file and its name in messages.
struct Pem {
    source: String,
    bytes: Vec<u8>,
}

impl TlsFiles {
    /// `identity` are the variables that name the hook's own certificate and key.
    pub fn read(identity: &[String; 2]) -> Self {
        let mut files = Self { identity: read_identity(identity), ..Self::default() };
        if let Some(file) = set(ROOTS_FILE) {
            match Pem::read(ROOTS_FILE, file.as_ref()) {
                Ok(pem) => files.roots.push(pem),
                Err(problem) => files.problems.push(problem),
            }
        }
        if let Some(folders) = set(ROOTS_FOLDER) {
            env::split_paths(&folders).for_each(|folder| files.read_folder(&folder));
        }
        files
    }

    fn read_folder(&mut self, folder: &Path) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                return self.problems.push(problem_of_file(ROOTS_FOLDER, folder, &crate::text::strerror(error)));
            }
        };
        let mut files: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        // So that each run reads the same files below the limit.
        files.sort();
        for file in files {
            let read: usize = self.roots.iter().map(|pem| pem.bytes.len()).sum();
            if read as u64 >= FILES_LIMIT {
                let rest = format!("only the first {} MiB of its files are read", FILES_LIMIT >> 20);
                return self.problems.push(problem_of_file(ROOTS_FOLDER, folder, &rest));
            }
            match Pem::read(ROOTS_FOLDER, &file) {
                Ok(pem) => self.roots.push(pem),
                Err(problem) => self.problems.push(problem),
            }
        }
    }
}

impl Pem {
    fn read(variable: &str, path: &Path) -> Result<Self, String> {
        let bytes = environment::read_file(path, FILE_LIMIT).map_err(|why| problem_of_file(variable, path, &why))?;
        if bytes.len() as u64 > FILE_LIMIT {
            return Err(problem_of_file(variable, path, &environment::larger_than(FILE_LIMIT)));
        }
        Ok(Self { source: format!("{variable} {path:?}"), bytes })
    }
}

/// The value of a variable without white space around it; an empty one counts as not set.
fn set(variable: &str) -> Option<OsString> {
    let value = env::var_os(variable)?;
    let value = value.as_bytes().trim_ascii();
    (!value.is_empty()).then(|| OsStr::from_bytes(value).to_owned())
}

/// The hook's own certificate and key, if it has any.
fn read_identity(variables: &[String; 2]) -> Option<Result<[Pem; 2], String>> {
    let [certificate, key] = variables;
    match (set(certificate), set(key)) {
        (None, None) => None,
        (Some(certificate_path), Some(key_path)) => {
            let read = |variable: &String, path: OsString| Pem::read(variable, &PathBuf::from(path));
            let both = read(certificate, certificate_path).and_then(|pem| Ok([pem, read(key, key_path)?]));
            Some(both)
        }
        // Refused when wrapper starts.
        (Some(_), None) => Some(Err(format!("{key} is not set"))),
        (None, Some(_)) => Some(Err(format!("{certificate} is not set"))),
    }
}

/// Trusted roots and the hook's own certificate.
pub struct Trust {
    /// An error if the hook's own certificate cannot be used.
    config: Result<ClientConfig, String>,
    /// Whether roots were added to the public ones.
    roots_added: bool,
    has_identity: bool,
    identity_variables: [String; 2],
}

impl Trust {
    /// Parses the files. Errors in the roots are logged at once, for the hook of this label; errors in the hook's own
    /// certificate when a connection needs it.
    pub fn parse(files: TlsFiles, identity_variables: [String; 2], label: &Label) -> Self {
        let mut problems = files.problems;
        let mut roots = RootCertStore { roots: TLS_SERVER_ROOTS.to_vec() };
        let public = roots.len();
        for pem in files.roots {
            let found: Vec<_> = CertificateDer::pem_slice_iter(&pem.bytes).flatten().collect();
            let (usable, _) = roots.add_parsable_certificates(found);
            // A folder has other files as well.
            if usable == 0 && !pem.source.starts_with(ROOTS_FOLDER) {
                problems.push(format!("{}: no certificate in the file", pem.source));
            }
        }
        for problem in problems {
            Line::new(Level::Warn, problem).about_hook(label).write();
        }
        let (roots_added, has_identity) = (roots.len() > public, files.identity.is_some());
        Self { config: config(roots, files.identity), roots_added, has_identity, identity_variables }
    }

    /// Makes a connection an encrypted one with the origin's own name on its certificate.
    pub async fn encrypt(&self, stream: TcpStream, origin: &Origin) -> Result<Encrypted, (Error, String)> {
        // As an error of TLS: SDK hooks repeat a request after most others, which would not help here.
        let mut config = self.config.clone().map_err(|why| (Error::TlsProtocolError, why))?;
        let name = name(origin).map_err(|error| (Error::TlsProtocolError, format!("no TLS: {error}")))?;
        let certificate_requested = Arc::new(AtomicBool::new(false));
        if !self.has_identity {
            config.client_auth_cert_resolver =
                Arc::new(NoCertificate { certificate_requested: certificate_requested.clone() });
        }
        match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
            Ok(stream) => Ok(Encrypted { stream, certificate_requested }),
            Err(error) => Err(self.explain(&error, &certificate_requested).unwrap_or_else(|| {
                // The connection was lost. A busy load balancer does that, and another attempt may succeed.
                let (lost, hint) = if certificate_requested.load(Ordering::Relaxed) {
                    (Error::TlsProtocolError, self.client_certificate_hint())
                } else {
                    (Error::DestinationUnavailable, String::new())
                };
                (lost, format!("no TLS: {}{hint}", crate::text::strerror(error)))
            })),
        }
    }

    /// Explains an error of an encrypted connection, if it is one of TLS: the error for the hook and the message for
    /// the log.
    pub fn explain(
        &self,
        error: &(dyn std::error::Error + 'static),
        certificate_requested: &AtomicBool,
    ) -> Option<(Error, String)> {
        let cause = rustls_error(error)?;
        let (error, mut message) = tls_errors::explain(cause, self.roots_added);
        if matches!(cause, rustls::Error::AlertReceived(_)) && certificate_requested.load(Ordering::Relaxed) {
            message += &self.client_certificate_hint();
        }
        Some((error, message))
    }

    /// Hint for a server that requested a certificate, got none, and closed the connection.
    fn client_certificate_hint(&self) -> String {
        let [certificate, key] = &self.identity_variables;
        format!("; it requested a client certificate: set {certificate} and {key}")
    }
}

/// An encrypted connection, and whether the server has requested a client certificate that the hook does not have.
pub struct Encrypted {
    pub stream: TlsStream<TcpStream>,
    pub certificate_requested: Arc<AtomicBool>,
}

/// Sends no certificate, and records that one was requested.
#[derive(Debug)]
struct NoCertificate {
    certificate_requested: Arc<AtomicBool>,
}

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.certificate_requested.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

fn config(roots: RootCertStore, identity: Option<Result<[Pem; 2], String>>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?.with_root_certificates(roots);
    let Some(identity) = identity else { return Ok(config.with_no_client_auth()) };
    let [certificate, key] = identity?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&certificate.bytes).flatten().collect();
    if chain.is_empty() {
        return Err(format!("{}: no certificate in the file", certificate.source));
    }
    let private = PrivateKeyDer::from_pem_slice(&key.bytes)
        .map_err(|_| format!("{}: it contains no unencrypted private key", key.source))?;
    config.with_client_auth_cert(chain, private).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            format!("{} is not the key of the certificate in {}", key.source, certificate.source)
        }
        rustls::Error::InvalidCertificate(_) => format!("{}: malformed", certificate.source),
        _ => format!("{}: unsupported key, it must be RSA (2048 bits or more), ECDSA or Ed25519", key.source),
    })
}

fn name(origin: &Origin) -> Result<ServerName<'static>, InvalidDnsNameError> {
    match &origin.host {
        Host::Ip(ip) => Ok(ServerName::from(*ip)),
        Host::Localhost | Host::Name(_) => ServerName::try_from(origin.name.clone()),
    }
}

/// The TLS error at the root of a chain. `source` skips the error inside an `io::Error`, so that one is unwrapped here.
fn rustls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = within.map(|error| error as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    None
}
