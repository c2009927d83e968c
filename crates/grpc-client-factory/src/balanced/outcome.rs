//! What the end of a call says about the peer that was called.

use peers_core::Outcome;
use tonic::Code;

use crate::error::FactoryError;
use crate::retry::Pushback;

/// Returns what a peer shows by answering with this status.
pub(crate) const fn of_status(code: Code, pushback: Pushback) -> Outcome {
    match (code, pushback) {
        (Code::Ok, _) => Outcome::Success,
        (Code::ResourceExhausted | Code::Unavailable, Pushback::After(wait)) => {
            Outcome::Overloaded { retry_after: Some(wait) }
        }
        (Code::ResourceExhausted, _) => Outcome::Overloaded { retry_after: None },
        (Code::Unavailable | Code::DeadlineExceeded | Code::Internal | Code::DataLoss, _) => Outcome::Failure,
        _ => Outcome::AppError,
    }
}

/// Returns what a peer shows by the call failing on its way.
pub(crate) const fn of_error(error: &FactoryError) -> Outcome {
    match error {
        // Ours, or our caller's.
        FactoryError::TooLarge { .. }
        | FactoryError::BadTimeout { .. }
        | FactoryError::NoPeer { .. }
        | FactoryError::NoChannel(_)
        // It is well, and not the one to ask.
        | FactoryError::NotProcessed { .. }
        | FactoryError::Closed => Outcome::Cancelled,
        FactoryError::Reset { .. } if matches!(error.code(), Code::ResourceExhausted) => {
            Outcome::Overloaded { retry_after: None }
        }
        // Whatever it had been asked.
        FactoryError::Tls(_)
        | FactoryError::Resolve { .. }
        | FactoryError::Connect { .. }
        | FactoryError::ConnectTimeout { .. }
        | FactoryError::Lost { .. }
        | FactoryError::Refused { .. } => Outcome::Unreachable,
        // Of what it was asked: others may be answered well.
        FactoryError::Reset { .. } | FactoryError::Deadline { .. } => Outcome::Failure,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::target::Protocol;

    #[test]
    fn each_status_says_whose_fault_it_is() {
        let wait = Duration::from_millis(7);
        let overloaded = |retry_after| Outcome::Overloaded { retry_after };
        for (code, pushback, expected) in [
            (Code::Ok, Pushback::Silent, Outcome::Success),
            (Code::NotFound, Pushback::Silent, Outcome::AppError),
            (Code::Unknown, Pushback::After(wait), Outcome::AppError),
            (Code::Unavailable, Pushback::Silent, Outcome::Failure),
            (Code::Unavailable, Pushback::Stop, Outcome::Failure),
            (Code::Unavailable, Pushback::After(wait), overloaded(Some(wait))),
            (Code::ResourceExhausted, Pushback::After(wait), overloaded(Some(wait))),
            (Code::ResourceExhausted, Pushback::Stop, overloaded(None)),
            (Code::DeadlineExceeded, Pushback::Silent, Outcome::Failure),
            (Code::Internal, Pushback::Silent, Outcome::Failure),
        ] {
            assert_eq!(of_status(code, pushback), expected, "{code:?} {pushback:?}");
        }
    }

    #[test]
    fn what_is_our_own_fault_is_not_held_against_the_peer() {
        let reset = |code| FactoryError::Reset {
            endpoint: "node-a:7070".parse().expect("an endpoint"),
            protocol: Protocol::Http2,
            code,
        };
        assert_eq!(of_error(&FactoryError::TooLarge { bytes: 2, limit: 1, done: "sent" }), Outcome::Cancelled);
        assert_eq!(of_error(&FactoryError::Closed), Outcome::Cancelled);
        assert_eq!(of_error(&reset(0xb)), Outcome::Overloaded { retry_after: None });
        assert_eq!(of_error(&reset(0x2)), Outcome::Failure);
    }

    #[test]
    fn only_what_would_have_befallen_any_call_is_the_ways_fault() {
        let (endpoint, protocol): (mesh_types::Endpoint, _) = ("node-a:7070".parse().expect("valid"), Protocol::Http2);
        let source = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let cause: crate::Cause = std::sync::Arc::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        let after = Duration::from_secs(1);
        for error in [
            FactoryError::Resolve { endpoint: endpoint.clone(), source },
            FactoryError::Connect { endpoint: endpoint.clone(), protocol, source: std::sync::Arc::clone(&cause) },
            FactoryError::ConnectTimeout { endpoint: endpoint.clone(), protocol, after },
            FactoryError::Lost { endpoint: endpoint.clone(), protocol, source: cause },
            FactoryError::Refused { endpoint: endpoint.clone(), protocol },
        ] {
            assert_eq!(of_error(&error), Outcome::Unreachable, "{error}");
        }
        assert_eq!(of_error(&FactoryError::Deadline { endpoint, after }), Outcome::Failure);
    }
}
