//! What is measured, and what must hold.

use grpc_client_factory::Http3Mode;

/// Sizes and concurrency that the bare contests are held at.
pub(crate) const SETTINGS: [Setting; 8] = [
    Setting { bytes: 64, at_once: 1 },
    Setting { bytes: 64, at_once: 16 },
    Setting { bytes: 64, at_once: 128 },
    Setting { bytes: KIB, at_once: 1 },
    Setting { bytes: KIB, at_once: 16 },
    Setting { bytes: KIB, at_once: 128 },
    Setting { bytes: LARGE, at_once: 16 },
    Setting { bytes: BULK, at_once: 1 },
];

/// Those of the contests of balanced channels.
pub(crate) const BALANCED_SETTINGS: [Setting; 3] =
    [Setting { bytes: KIB, at_once: 1 }, Setting { bytes: KIB, at_once: 16 }, Setting { bytes: KIB, at_once: 128 }];

/// The bare contests; all others are compared with the first.
pub(crate) const CONTESTS: &[Contest] = &[
    TONIC,
    Contest { name: "factory to tonic's server, HTTP/2", route: Route::FactoryToTonic, limits: |_| Limits::NONE },
    Contest { name: "factory to mesh-server, HTTP/2", route: Route::Http2, limits: http2 },
    Contest { name: "factory to mesh-server, HTTP/3", route: Route::Http3, limits: http3 },
];

/// The contests with all that a node of the mesh has: chooser, breaker, metrics and spans.
pub(crate) const BALANCED: &[Contest] = &[
    TONIC,
    Contest { name: "balanced, measured, traced, HTTP/2", route: Route::Balanced(Http3Mode::Off), limits: balanced },
    Contest {
        name: "balanced, measured, traced, HTTP/3",
        route: Route::Balanced(Http3Mode::Only),
        limits: |_| Limits::NONE,
    },
];

const TONIC: Contest = Contest { name: BASE, route: Route::Tonic, limits: |_| Limits::NONE };

/// What the others are compared with.
pub(crate) const BASE: &str = "tonic to tonic, HTTP/2";

pub(crate) const KIB: usize = 1024;
/// A page of a listing, a snapshot.
const LARGE: usize = 128 * KIB;
/// A file.
const BULK: usize = 8 * 1024 * KIB;

/// How unary calls are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Payload each way.
    pub(crate) bytes: usize,
    /// How many callers there are, each of which waits for its answer before it calls again.
    pub(crate) at_once: usize,
}

/// One way of making calls.
#[derive(Debug)]
pub(crate) struct Contest {
    pub(crate) name: &'static str,
    pub(crate) route: Route,
    /// What must hold.
    pub(crate) limits: fn(Setting) -> Limits,
}

/// Who calls whom, over what.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Route {
    /// tonic's channel calls tonic's server over HTTP/2.
    Tonic,
    /// The factory's channel calls tonic's server over HTTP/2.
    FactoryToTonic,
    /// The factory's channel calls mesh-server over HTTP/2.
    Http2,
    /// The same over HTTP/3.
    Http3,
    /// A balanced channel to mesh-server.
    Balanced(Http3Mode),
}

/// Where ratios to the first contest have to be; `None` is anywhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Calls a second, at least.
    pub(crate) rate: Option<f64>,
    /// 99th percentile of the time that a call takes, at most.
    pub(crate) p99: Option<f64>,
    /// Processor time of both sides a call, at most.
    pub(crate) cpu: Option<f64>,
}

impl Limits {
    const NONE: Self = Self { rate: None, p99: None, cpu: None };
}

const fn http2(setting: Setting) -> Limits {
    match setting.bytes {
        64 => Limits { rate: Some(0.9), ..Limits::NONE },
        KIB => Limits { rate: Some(1.0), p99: Some(1.05), cpu: None },
        _ => Limits::NONE,
    }
}

const fn balanced(_setting: Setting) -> Limits {
    Limits { rate: Some(0.95), ..Limits::NONE }
}

const fn http3(setting: Setting) -> Limits {
    match (setting.bytes, setting.at_once) {
        (KIB, 1) => Limits { rate: Some(1.0), p99: Some(1.3), cpu: Some(0.75) },
        (KIB, _) => Limits { rate: Some(1.5), p99: None, cpu: Some(0.75) },
        (LARGE, _) => Limits { rate: Some(0.55), ..Limits::NONE },
        (BULK, _) => Limits { rate: Some(0.45), ..Limits::NONE },
        _ => Limits::NONE,
    }
}
