//! A server on loopback that speaks TLS, with a certificate of a private CA.

use super::peer::{read_request, reset, set_option};
use nix::libc;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256,
    PublicKeyData, SignatureAlgorithm, SigningKey,
};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// The certificate of a server, and what it demands of clients.
pub struct Settings<'a> {
    /// The names on its certificate.
    pub names: &'a [&'a str],
    /// The years from which and until which the certificate is valid.
    pub years: (i32, i32),
    /// A CA's certificate.
    pub is_ca: bool,
    /// Valid for clients.
    pub for_clients: bool,
    /// Names RSA with SHA-1 as its signature algorithm.
    pub sha1: bool,
    pub version: &'static SupportedProtocolVersion,
    /// The CA, as DER, whose certificates clients have to show.
    pub clients_of: Option<CertificateDer<'static>>,
    /// What happens to the first connections.
    pub losses: &'static [Loss],
}

/// How a connection is lost before the handshake is complete.
#[derive(Clone, Copy)]
pub enum Loss {
    Reset,
    Closed,
    ClosedAfterHello,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        let (years, version) = ((2020, 4000), &TLS13);
        Self {
            names: &["localhost"],
            years,
            is_ca: false,
            for_clients: false,
            sha1: false,
            version,
            clients_of: None,
            losses: &[],
        }
    }
}

pub const OLDER: &SupportedProtocolVersion = &TLS12;

pub struct TlsServer {
    pub port: u16,
    /// Its CA's certificate, as PEM.
    pub ca: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    requests: Vec<String>,
    pauses: Vec<Duration>,
}

impl TlsServer {
    /// With a certificate for this name, and an answer of 200 for everyone.
    pub fn start(name: &str, expired: bool) -> Self {
        let years = if expired { (2019, 2020) } else { Settings::default().years };
        Self::with(&Settings { names: &[name], years, ..Settings::default() })
    }

    pub fn with(settings: &Settings) -> Self {
        let (config, ca) = config(settings);
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Seen>>::default();
        let record = seen.clone();
        let mut losses = settings.losses.iter();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                match losses.next() {
                    Some(Loss::Reset) => {
                        reset(stream);
                        continue;
                    }
                    Some(Loss::Closed) => continue,
                    Some(Loss::ClosedAfterHello) => {
                        let _ = stream.read(&mut [0; 4096]);
                        continue;
                    }
                    None => {}
                }
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                confirm_late(&stream);
                let connection = ServerConnection::new(config.clone()).unwrap();
                let mut stream = StreamOwned::new(connection, stream);
                let mut shaken = Ok((0, 0));
                while stream.conn.is_handshaking() && shaken.is_ok() {
                    shaken = stream.conn.complete_io(&mut stream.sock);
                }
                let start = Instant::now();
                let request = read_request(&mut stream);
                if !request.is_empty() {
                    let mut seen = record.lock().unwrap();
                    seen.requests.push(request);
                    seen.pauses.push(start.elapsed());
                    drop(seen);
                    let _ = stream.write_all(OK.as_bytes());
                    stream.conn.send_close_notify();
                }
                let _ = stream.flush();
            }
        });
        Self { port, ca, seen }
    }

    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().requests.clone()
    }

    /// Time between each handshake and its request.
    pub fn pauses(&self) -> Vec<Duration> {
        self.seen.lock().unwrap().pauses.clone()
    }

    /// A URL, and the same without its path: what is said of the server, and a rule that allows it.
    pub fn url(&self) -> (String, String) {
        let origin = format!("https://localhost:{}", self.port);
        (format!("{origin}/"), origin)
    }
}

/// Has the kernel confirm what comes when there is something to say, or after 40 ms, as it does on connections that
/// are not new.
pub fn confirm_late(stream: &TcpStream) {
    let off: libc::c_int = 0;
    set_option(stream, libc::IPPROTO_TCP, libc::TCP_QUICKACK, &off);
}

/// A CA and certificates of it.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
    pub der: CertificateDer<'static>,
}

impl Ca {
    /// Of the same name as each server's, and with another key.
    pub fn new() -> Self {
        Self::named("a private CA")
    }

    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// A client's certificate and its key, as PEM.
    pub fn client(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["job.example".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A server's configuration, and the certificate of the CA that vouches for it.
fn config(settings: &Settings) -> (ServerConfig, String) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = settings.names.iter().map(|name| (*name).to_owned()).collect();
    let mut leaf = CertificateParams::new(names).unwrap();
    leaf.not_before = rcgen::date_time_ymd(settings.years.0, 1, 1);
    leaf.not_after = rcgen::date_time_ymd(settings.years.1, 1, 1);
    if settings.is_ca {
        leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    if settings.for_clients {
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    }
    let (certificate, ca) = match settings.sha1 {
        false => {
            let ca = Ca::new();
            (leaf.signed_by(&key, &ca.issuer).unwrap().der().clone(), ca.pem)
        }
        true => of_an_old_ca(&leaf, &key),
    };
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(&[settings.version]).unwrap();
    let builder = match &settings.clients_of {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
    // Like servers that send tickets earlier, Envoy for one: nothing follows the handshake that would confirm it.
    config.send_tls13_tickets = 0;
    (config, ca)
}

/// A certificate that says that it is signed with RSA and SHA-1, and its CA's as PEM. Nobody who refuses that looks
/// at the signature itself, which is none.
fn of_an_old_ca(leaf: &CertificateParams, key: &KeyPair) -> (CertificateDer<'static>, String) {
    struct NoRsa;
    impl PublicKeyData for NoRsa {
        fn der_bytes(&self) -> &[u8] {
            // A modulus and an exponent of no use.
            &[0x30, 0x06, 0x02, 0x01, 0x23, 0x02, 0x01, 0x03]
        }
        fn algorithm(&self) -> &'static SignatureAlgorithm {
            &PKCS_RSA_SHA256
        }
    }
    impl SigningKey for NoRsa {
        fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
            Ok(vec![0; 256])
        }
    }
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "an old CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&NoRsa).unwrap().pem();
    let mut der = leaf.signed_by(key, &Issuer::new(params, NoRsa)).unwrap().der().to_vec();
    // The last part of the algorithm's name: sha256WithRSAEncryption becomes sha1WithRSAEncryption.
    let sha256 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
    let places: Vec<usize> = (0..der.len() - 8).filter(|at| der[*at..].starts_with(&sha256)).collect();
    assert_eq!(places.len(), 2);
    for at in places {
        der[at + 8] = 0x05;
    }
    (der.into(), ca)
}
