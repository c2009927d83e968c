//! Who gets the next call.

use crate::{Entropy, Group, Peer, PickCx, PickError, Sink};

/// Chooses one peer of a group.
///
/// [`Chooser::choose`] runs on every call, on any thread: it must not block, allocate or read a clock, and gets its
/// chance from `entropy`, so that one seed gives one sequence. What can be prepared is prepared by
/// [`Chooser::arrange`], once for each change of the peers.
pub trait Chooser: Send + Sync + 'static {
    /// Returns the name by which configuration and metrics know it.
    fn name(&self) -> &'static str;

    /// Returns who may get a call when the chosen cannot be had; by default anybody of the group.
    fn reach(&self) -> Reach {
        Reach::Group
    }

    /// Prepares for choosing among `peers`, which come by ascending id. What it returns is the group's
    /// [`Group::arrangement`].
    fn arrange(&self, _peers: &[&Peer]) -> Box<[u32]> {
        Box::default()
    }

    /// Returns the index of the peer to call: one for which [`Group::pending`] has just been `Some`.
    ///
    /// # Errors
    /// When it finds none; the variant says where to look instead.
    fn choose(&self, group: &Group, cx: &PickCx<'_>, entropy: &mut Entropy) -> Result<usize, Refusal>;

    /// Hands metrics of its own to `sink`, if it has any, with `labels` on each: those of the balancer.
    fn visit(&self, _labels: [(&'static str, &str); 2], _sink: &mut dyn Sink) {}
}

/// Who may get a call when the chosen peer cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Anybody of the group.
    Group,
    /// Nobody else.
    Chosen,
}

/// Why a chooser has chosen nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Those it looked at are not usable; any other of the group is as good.
    Unlucky,
    /// Nobody of the group will do.
    Exhausted,
    /// Nobody of any group will do.
    Final(PickError),
}

impl<C: Chooser + ?Sized> Chooser for Box<C> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn reach(&self) -> Reach {
        (**self).reach()
    }

    fn arrange(&self, peers: &[&Peer]) -> Box<[u32]> {
        (**self).arrange(peers)
    }

    #[inline]
    fn choose(&self, group: &Group, cx: &PickCx<'_>, entropy: &mut Entropy) -> Result<usize, Refusal> {
        (**self).choose(group, cx, entropy)
    }

    fn visit(&self, labels: [(&'static str, &str); 2], sink: &mut dyn Sink) {
        (**self).visit(labels, sink);
    }
}
