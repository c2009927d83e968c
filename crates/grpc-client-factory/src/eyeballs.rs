//! Which of the addresses of one name is connected to (RFC 8305).

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

use crate::error::FactoryError;

/// How long an address is tried alone (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Orders addresses so that the two families take turns, beginning with that of the first: where one family leads nowhere, the
/// second try is of the other.
pub(crate) fn in_turns(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let addresses: Vec<_> = addresses.collect();
    let begins_with_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == begins_with_v6);
    first.reverse();
    second.reverse();
    let mut ordered = Vec::with_capacity(first.len() + second.len());
    while !first.is_empty() || !second.is_empty() {
        ordered.extend(first.pop());
        ordered.extend(second.pop());
    }
    ordered
}

/// Connects to one of `addresses`: to each when the one before has failed or has had its head start, and then to whichever is
/// first. A failure that would be the same everywhere ends it, and otherwise the last one is returned; `None` if there is no address.
///
/// # Cancel safety
/// Dropping the future drops all attempts.
pub(crate) async fn connect_first<T, F: Future<Output = Result<T, FactoryError>>>(
    addresses: &[SocketAddr],
    connect: impl Fn(SocketAddr) -> F,
) -> Option<Result<T, FactoryError>> {
    let (mut rest, mut under_way, mut failure) = (addresses.iter(), FuturesUnordered::new(), None);
    loop {
        match rest.next() {
            Some(address) => under_way.push(connect(*address)),
            None if under_way.is_empty() => return failure,
            None => {}
        }
        tokio::select! {
            biased;
            Some(ended) = under_way.next() => match ended {
                Ok(connection) => return Some(Ok(connection)),
                Err(error) if error.is_final() => return Some(Err(error)),
                Err(error) => failure = Some(Err(error)),
            },
            () = sleep(HEAD_START), if !rest.as_slice().is_empty() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io;
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;
    use crate::target::Protocol;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn families_take_turns_and_each_keeps_its_order() {
        let given = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"]);
        let expected = addresses(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"]);
        assert_eq!(in_turns(given.into_iter()), expected);
        let ordered = addresses(&["10.0.0.1:1", "[::1]:1", "10.0.0.2:1"]);
        assert_eq!(in_turns(ordered.clone().into_iter()), ordered);
        assert_eq!(in_turns([].into_iter()), []);
    }

    /// Connects to ports, each of which takes its milliseconds and succeeds or not; returns when each was begun, and which it was.
    async fn connected(ports: &[(u16, u64, bool)]) -> (Vec<(u16, u128)>, Result<u16, String>) {
        let (start, begun) = (Instant::now(), RefCell::new(Vec::new()));
        let to: Vec<SocketAddr> = ports.iter().map(|(port, ..)| ([127, 0, 0, 1], *port).into()).collect();
        let connect = |address: SocketAddr| {
            begun.borrow_mut().push((address.port(), start.elapsed().as_millis()));
            let (port, takes, works) = *ports.iter().find(|(port, ..)| *port == address.port()).expect("one of them");
            async move {
                sleep(Duration::from_millis(takes)).await;
                let source = Arc::new(io::Error::other(format!("port {port} is shut")));
                let failed = FactoryError::Connect { endpoint: address.into(), protocol: Protocol::Http2, source };
                if works { Ok(port) } else { Err(failed) }
            }
        };
        let first = connect_first(&to, connect).await.expect("there are addresses");
        (begun.into_inner(), first.map_err(|error| crate::error::chain(&error)))
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_address_is_tried_when_one_has_failed_or_had_its_head_start() {
        assert_eq!(connected(&[(1, 249, true), (2, 1, true)]).await, (vec![(1, 0)], Ok(1)));
        assert_eq!(connected(&[(1, 9_999, true), (2, 1, true)]).await, (vec![(1, 0), (2, 250)], Ok(2)));
        assert_eq!(connected(&[(1, 300, true), (2, 100, true)]).await, (vec![(1, 0), (2, 250)], Ok(1)));
        assert_eq!(connected(&[(1, 7, false), (2, 1, true)]).await, (vec![(1, 0), (2, 7)], Ok(2)));
        let late = &[(1, 400, false), (2, 9_999, true), (3, 10, true)];
        assert_eq!(connected(late).await, (vec![(1, 0), (2, 250), (3, 400)], Ok(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_have_failed_the_last_failure_is_told() {
        let (begun, failed) = connected(&[(1, 400, false), (2, 10, false)]).await;
        assert_eq!(begun, [(1, 0), (2, 250)]);
        assert_eq!(failed, Err("cannot connect to `127.0.0.1:1` over HTTP/2: port 1 is shut".to_owned()));
        assert!(connect_first(&[], |_| std::future::pending::<Result<(), _>>()).await.is_none());
    }
}
