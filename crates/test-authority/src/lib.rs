//! A CA for tests: certificates good and bad, and lists of revoked ones.
//!
//! An [`Authority`] issues what a good node has, and what a bad one has: expired, of another cluster, of another CA.
//!
//! ```
//! use test_authority::{Authority, Holder};
//!
//! let authority = Authority::new()?;
//! let good = authority.credentials("node-a")?;
//! let stranger = Holder { cluster: "other".to_owned(), ..Holder::new("node-a") };
//! let stranger = authority.credentials_with(&stranger)?;
//! assert_ne!(good.spiffe_id(), stranger.spiffe_id());
//! # Ok::<(), test_authority::AuthorityError>(())
//! ```

mod authority;
mod error;

pub use authority::{Authority, Holder, wall_clock};
pub use bootstrap::{Issued, SignedRevocations};
pub use error::AuthorityError;
