//! Two proxies that others have made, which do what two nodes do: plain in, mutual TLS between them, plain out.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr;

use test_authority::Authority;

use super::folder::{BUNDLE, Folder};
use super::free_address;
use super::program::Program;
use crate::{BoxError, THREADS};

/// Most calls at a time on a connection: nobody is to wait for room.
const STREAMS: usize = 1024;

/// A proxy that speaks gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Haproxy,
    Nghttpx,
    Nginx,
}

/// Two proxies, one behind the other.
pub(crate) struct Proxies {
    near: Program,
    far: Program,
    /// Where clients call.
    pub(crate) entry: SocketAddr,
}

/// One of the two.
struct Place<'a> {
    name: &'static str,
    listens: SocketAddr,
    next: SocketAddr,
    /// Whether it is the one that encrypts what it sends on, and not the one that decrypts what comes.
    is_near: bool,
    folder: &'a Path,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::Nghttpx => "nghttpx",
            Self::Nginx => "nginx",
        }
    }

    /// Returns what it is to be started with, and its configuration if that is a file.
    fn settings(self, place: &Place<'_>) -> (Vec<String>, String) {
        let file = place.file();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match self {
            Self::Haproxy => (words(&["-db", "-f", &file]), haproxy(place)),
            Self::Nginx => (words(&["-p", ".", "-e", "stderr", "-c", &file]), nginx(place)),
            Self::Nghttpx => (nghttpx(place), String::new()),
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = [Self::Haproxy, Self::Nghttpx, Self::Nginx].into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| format!("no proxy of the name `{name}` is known"))
    }
}

impl Proxies {
    /// Starts both, the far one before `application`.
    pub(crate) fn start(
        kind: Kind,
        binary: &Path,
        (authority, folder): (&Authority, &Folder),
        application: SocketAddr,
    ) -> Result<Self, BoxError> {
        let (entry, between, folder_path) = (free_address()?, free_address()?, folder.path());
        let behind = Place { name: "far", listens: between, next: application, is_near: false, folder: folder_path };
        let before = Place { name: "near", listens: entry, next: between, is_near: true, folder: folder_path };
        let started = [behind, before].map(|place| {
            folder.issue(authority, place.name, "worker")?;
            let (args, configuration) = kind.settings(&place);
            folder.write(&place.file(), &configuration)?;
            let mut command = Command::new(binary);
            Program::start(command.args(args).stdout(Stdio::null()), folder.path())
        });
        let [far, near] = started;
        Ok(Self { far: far?, near: near?, entry })
    }

    pub(crate) fn processes(&self) -> Result<Vec<Vec<u32>>, BoxError> {
        Ok(vec![self.near.processes()?, self.far.processes()?])
    }
}

impl Place<'_> {
    fn file(&self) -> String {
        format!("{}.conf", self.name)
    }

    /// Returns where a file of its own is.
    fn own(&self, kind: &str) -> String {
        self.folder.join(format!("{}.{kind}", self.name)).display().to_string()
    }

    fn bundle(&self) -> String {
        self.folder.join(BUNDLE).display().to_string()
    }
}

fn haproxy(place: &Place<'_>) -> String {
    let Place { listens, next, .. } = place;
    let tls = format!("ssl crt {} ca-file {} verify required alpn h2", place.own("both"), place.bundle());
    let (inward, outward) = if place.is_near { ("proto h2", tls.as_str()) } else { (tls.as_str(), "proto h2") };
    format!(
        "global\n nbthread {THREADS}\n tune.h2.max-concurrent-streams {STREAMS}\n\
         defaults\n mode http\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n http-reuse always\n\
         frontend in\n bind {listens} {inward}\n default_backend out\n\
         backend out\n server next {next} {outward}\n"
    )
}

fn nginx(place: &Place<'_>) -> String {
    let Place { name, listens, next, .. } = place;
    let (certificate, key, bundle) = (place.own("pem"), place.own("key"), place.bundle());
    // Names are not checked: the certificates have those of the mesh, which nginx does not know.
    let (inward, scheme, tls) = if place.is_near {
        let tls =
            format!("grpc_ssl_certificate {certificate}; grpc_ssl_certificate_key {key}; grpc_ssl_protocols TLSv1.3;");
        ("", "grpcs", tls)
    } else {
        let tls = format!(
            "ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;\n \
             ssl_client_certificate {bundle}; ssl_verify_client on;"
        );
        (" ssl", "grpc", tls)
    };
    let process = format!("daemon off; worker_processes {THREADS}; pid {name}.pid; error_log stderr;\n");
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|kind| format!("{kind}_temp_path {name}_{kind};")).join(" ");
    format!(
        "{process}events {{ worker_connections 4096; }}\nhttp {{ access_log off; {temporary}\n \
         keepalive_requests 1000000000; http2_max_concurrent_streams {STREAMS};\n \
         upstream next {{ server {next}; keepalive {STREAMS}; keepalive_requests 1000000000; }}\n \
         server {{ listen {listens}{inward} http2; {tls} location / {{ grpc_pass {scheme}://next; }} }}\n}}\n"
    )
}

fn nghttpx(place: &Place<'_>) -> Vec<String> {
    let Place { listens, next, .. } = place;
    let at = |address: &SocketAddr| format!("{},{}", address.ip(), address.port());
    let (certificate, key) = (place.own("pem"), place.own("key"));
    let of_place = if place.is_near {
        vec![
            format!("--frontend={};no-tls", at(listens)),
            format!("--backend={};;proto=h2;tls", at(next)),
            format!("--client-cert-file={certificate}"),
            format!("--client-private-key-file={key}"),
            // Else it looks for a DNS name, which the certificates of the mesh do not have.
            "--insecure".to_owned(),
        ]
    } else {
        vec![
            format!("--frontend={}", at(listens)),
            format!("--backend={};;proto=h2", at(next)),
            "--verify-client".to_owned(),
            format!("--verify-client-cacert={}", place.bundle()),
            key,
            certificate,
        ]
    };
    let of_all = [
        "--single-process".to_owned(),
        format!("--conf={}", place.folder.join(place.file()).display()),
        format!("--workers={THREADS}"),
        format!("--frontend-http2-max-concurrent-streams={STREAMS}"),
        format!("--backend-http2-max-concurrent-streams={STREAMS}"),
        "--no-ocsp".to_owned(),
        "--log-level=WARN".to_owned(),
    ];
    of_all.into_iter().chain(of_place).collect()
}
