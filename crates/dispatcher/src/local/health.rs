//! Whether a service of this node is well.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::service::Local;

/// How it is found out whether a service of this node is well.
///
/// One of gRPC is asked by `grpc.health.v1.Health/Check`; one that does not know of that is well while it can be connected to. One of
/// plain HTTP is asked as its [`LocalProtocol`](crate::LocalProtocol) says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthOptions {
    /// Time between two questions, default 1 s. A call that fails has it asked at once.
    pub interval: Duration,
    /// Longest wait for an answer, default 1 s.
    pub timeout: Duration,
    /// How many answers in a row have to be late until it is not well, default 3. One that says so, and one that cannot be
    /// connected to, is not well at once.
    pub late_max: u32,
}

impl Default for HealthOptions {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), timeout: Duration::from_secs(1), late_max: 3 }
    }
}

/// The course of the questions to one service.
#[derive(Debug)]
pub(crate) struct Health {
    options: HealthOptions,
    has_begun: bool,
    is_well: bool,
    /// Late answers in a row.
    late: u32,
}

impl Health {
    pub(crate) fn new(options: &HealthOptions) -> Self {
        Self { options: options.clone(), has_begun: false, is_well: false, late: 0 }
    }

    /// Waits until it is time, asks, and returns whether the service is well.
    pub(crate) async fn next(&mut self, local: &Local) -> bool {
        if self.has_begun {
            tokio::select! {
                () = sleep(self.options.interval) => {}
                () = local.doubted() => {}
            }
        }
        self.has_begun = true;
        match timeout(self.options.timeout, local.is_well()).await {
            Ok(is_well) => (self.is_well, self.late) = (is_well, 0),
            Err(_late) => {
                self.late += 1;
                self.is_well &= self.late < self.options.late_max;
            }
        }
        self.is_well
    }
}
