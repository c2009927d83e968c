//! The inside of a node: a thread with a runtime, and on it nothing but the gossip service.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use gossip::{Handle, Service};
use identity::FileCredentials;
use mesh_types::NodeId;
use metrics::with_local_recorder;
use test_authority::wall_clock;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::StartError;
use crate::log::Log;
use crate::node::{Ended, Recorder, Setup};

/// How long what the service has let go of may take to end before it counts as left behind: QUIC keeps a closed
/// connection for three probe timeouts (RFC 9000 §10.2), which are long on a busy machine.
const TIME_TO_END: Duration = Duration::from_secs(10);

/// How often it is looked at.
const TICK: Duration = Duration::from_millis(5);

/// How the outside makes a node stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Switches {
    /// Leave the mesh, then end.
    pub(crate) stop: CancellationToken,
    /// End at once, in the middle of whatever is under way.
    pub(crate) kill: CancellationToken,
}

/// What is known of a node once it is up.
#[derive(Debug)]
pub(crate) struct Up {
    pub(crate) handle: Handle,
    pub(crate) local_addr: SocketAddr,
}

/// A thread that was started, and what it tells: that it is up, or why not, and later how it ended.
pub(crate) struct Started {
    pub(crate) thread: thread::JoinHandle<()>,
    pub(crate) up: oneshot::Receiver<Result<Up, StartError>>,
    pub(crate) ended: oneshot::Receiver<Ended>,
}

pub(crate) fn start(setup: Setup, recorder: Recorder, log: &Log, switches: Switches) -> Result<Started, StartError> {
    let (tell_up, up) = oneshot::channel();
    let (tell_ended, ended) = oneshot::channel();
    let node = setup.options.node_id.clone();
    let subscriber = log.subscriber();
    let live = move || {
        tracing::subscriber::with_default(subscriber, || {
            with_local_recorder(&recorder, || live(setup, &switches, tell_up, tell_ended));
        });
    };
    let thread = thread::Builder::new().name(node.to_string()).spawn(live);
    Ok(Started { thread: thread.map_err(|source| StartError::Run { node, source })?, up, ended })
}

fn live(
    setup: Setup,
    switches: &Switches,
    tell_up: oneshot::Sender<Result<Up, StartError>>,
    tell_ended: oneshot::Sender<Ended>,
) {
    let Bound { runtime, service, files } = match bind(setup) {
        Ok(bound) => bound,
        // A test that is gone already has its own failure to tell.
        Err(error) => return drop(tell_up.send(Err(error))),
    };
    let up = Up { handle: service.handle(), local_addr: service.local_addr() };
    if tell_up.send(Ok(up)).is_err() {
        return;
    }
    let ended = runtime.block_on(async {
        // The loser of the race is dropped in the same turn, so a killed node sends no more packet.
        tokio::select! {
            biased;
            () = switches.kill.cancelled() => Ended::Killed,
            result = service.run(switches.stop.clone()) => {
                Ended::ByItself { result, tasks_left: tasks_left(&runtime).await }
            }
            never = watch(files) => match never {},
        }
    });
    drop(runtime);
    // Nobody may be waiting for it.
    drop(tell_ended.send(ended));
}

struct Bound {
    runtime: Runtime,
    service: Service,
    files: Option<FileCredentials>,
}

fn bind(setup: Setup) -> Result<Bound, StartError> {
    let node: NodeId = setup.options.node_id.clone();
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| StartError::Run { node: node.clone(), source })?;
    let files = setup.files.map(|files| FileCredentials::load(files, wall_clock())).transpose()?;
    let credentials = files.as_ref().map_or(setup.credentials, |files| files.source());
    let service = {
        let _inside = runtime.enter();
        Service::bind(setup.options, credentials).map_err(|source| StartError::Bind { node, source })?
    };
    Ok(Bound { runtime, service, files })
}

async fn watch(files: Option<FileCredentials>) -> Infallible {
    match files {
        Some(files) => files.run().await,
        None => pending().await,
    }
}

/// Returns how many tasks there are still, when those that are about to end have.
async fn tasks_left(runtime: &Runtime) -> usize {
    let all_ended = async {
        let mut tick = interval(TICK);
        while runtime.metrics().num_alive_tasks() > 0 {
            tick.tick().await;
        }
    };
    // Whether all have ended or time is up, what is left is counted.
    drop(timeout(TIME_TO_END, all_ended).await);
    runtime.metrics().num_alive_tasks()
}
