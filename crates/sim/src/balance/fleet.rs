//! All servers, and which of them ends a request next.

use peers_core::LoadGauge;

use super::server::{NEVER, Server};

/// The servers of a run, with a tournament tree over the times of their next ends: the winner is read at the root, and
/// a change of one server costs one walk up.
#[derive(Debug)]
pub(crate) struct Fleet {
    servers: Vec<Server>,
    /// Node 1 is the root, node `i` has the children `2i` and `2i + 1`, the second half are the servers.
    tree: Vec<(u64, usize)>,
}

impl Fleet {
    pub(crate) fn new(servers: Vec<Server>) -> Self {
        let leaves = servers.len().next_power_of_two();
        Self { tree: vec![(NEVER, 0); 2 * leaves], servers }
    }

    /// Returns when the next request ends, and where; [`NEVER`] if there is none.
    pub(crate) fn next_end(&self) -> (u64, usize) {
        self.tree[1]
    }

    /// Changes a server, and asks it when its next request ends.
    pub(crate) fn update<R>(&mut self, place: usize, change: impl FnOnce(&mut Server) -> R) -> R {
        let server = &mut self.servers[place];
        let result = change(server);
        let mut node = self.tree.len() / 2 + place;
        self.tree[node] = (server.next_end_ns(), place);
        while node > 1 {
            node /= 2;
            self.tree[node] = self.tree[2 * node].min(self.tree[2 * node + 1]);
        }
        result
    }

    pub(crate) fn gauge(&self, place: usize) -> &LoadGauge {
        &self.servers[place].gauge
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_end_in_the_order_of_time_whatever_their_server() {
        let mut fleet = Fleet::new((0..3).map(|_| Server::new(1, 1.0)).collect());
        for (place, work_ns) in [(0, 30.0), (1, 10.0), (2, 20.0)] {
            fleet.update(place, |server| server.start(0, 0, work_ns));
        }
        let mut order = Vec::new();
        while fleet.next_end().0 != NEVER {
            let (at_ns, place) = fleet.next_end();
            fleet.update(place, |server| server.end(at_ns));
            order.push((at_ns, place));
        }
        assert_eq!(order, [(10, 1), (20, 2), (30, 0)]);
    }
}
