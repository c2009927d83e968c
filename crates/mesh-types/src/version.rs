//! The three numbers that order what is said about a node.

use std::fmt;

macro_rules! counter {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub u64);

        impl $type {
            /// Returns the next higher value; stays at the highest.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// One life of a node: higher for every start of its process.
    ///
    /// Whatever is said of a higher epoch replaces all that is said of a lower one. The value is
    /// opaque to others and is never compared with anybody's clock.
    BootEpoch
}
counter! {
    /// SWIM's refutation counter: only the node itself raises it, to deny a suspicion.
    Incarnation
}
counter! {
    /// Version of a node's metadata within one [`BootEpoch`].
    MetadataVersion
}
