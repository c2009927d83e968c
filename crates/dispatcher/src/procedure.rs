//! What is called, and in which shape.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use mesh_types::{NameError, ServiceName};

/// Longest name of a procedure within its service, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// A procedure: the service that has it, and its name there. Written `service/name`.
///
/// The name is 1 to 128 bytes of printable ASCII without spaces and without `/ ? # %`, so that it is one segment of a path as it
/// is. Cloning is two reference counts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcedureName {
    service: ServiceName,
    name: Arc<str>,
}

/// Why a text names no procedure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProcedureNameError {
    /// There is no `/` between service and name.
    #[error("procedure `{text}` is not of the form service/name")]
    NoSlash {
        /// The text as given.
        text: String,
    },
    /// The service has no valid name.
    #[error(transparent)]
    Service(#[from] NameError),
    /// The name is empty.
    #[error("procedure of service `{service}` has an empty name")]
    Empty {
        /// Whose procedure.
        service: ServiceName,
    },
    /// The name is longer than 128 bytes.
    #[error("name of a procedure of service `{service}` is {bytes} bytes long, more than {NAME_BYTES_MAX}")]
    TooLong {
        /// Whose procedure.
        service: ServiceName,
        /// How long the name is.
        bytes: usize,
    },
    /// The name holds a character that does not belong there.
    #[error(
        "name of a procedure of service `{service}` holds {found:?}; printable ASCII without spaces and `/?#%` is valid"
    )]
    Character {
        /// Whose procedure.
        service: ServiceName,
        /// The first character that is not allowed.
        found: char,
    },
}

impl ProcedureName {
    /// Makes the name of the procedure `name` of `service`.
    ///
    /// # Errors
    /// The name is empty, too long, or holds a character that does not belong there.
    pub fn new(service: ServiceName, name: &str) -> Result<Self, ProcedureNameError> {
        if name.is_empty() {
            return Err(ProcedureNameError::Empty { service });
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(ProcedureNameError::TooLong { service, bytes: name.len() });
        }
        match name.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '/' | '?' | '#' | '%')) {
            Some(found) => Err(ProcedureNameError::Character { service, found }),
            None => Ok(Self { service, name: name.into() }),
        }
    }

    /// Returns the service that has the procedure.
    #[must_use]
    pub const fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Returns the name of the procedure within its service.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for ProcedureName {
    type Err = ProcedureNameError;

    fn from_str(text: &str) -> Result<Self, ProcedureNameError> {
        let (service, name) =
            text.split_once('/').ok_or_else(|| ProcedureNameError::NoSlash { text: text.to_owned() })?;
        Self::new(service.parse()?, name)
    }
}

impl fmt::Display for ProcedureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.name)
    }
}

impl fmt::Debug for ProcedureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How many messages go either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// One there, one back.
    Unary,
    /// One there; back comes only that it was taken.
    Oneway,
    /// One there, any number back.
    ServerStream,
    /// Any number there, one back.
    ClientStream,
    /// Any number either way, in turns or not.
    Duplex,
}

impl Shape {
    /// All shapes.
    pub const ALL: [Self; 5] = [Self::Unary, Self::Oneway, Self::ServerStream, Self::ClientStream, Self::Duplex];

    /// Returns the word for documents and labels: `unary`, `oneway`, `server-stream`, `client-stream` or `duplex`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::Oneway => "oneway",
            Self::ServerStream => "server-stream",
            Self::ClientStream => "client-stream",
            Self::Duplex => "duplex",
        }
    }

    /// Returns the shape that `word` is for.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| shape.as_str() == word)
    }

    /// Returns whether the caller may send more than one message.
    #[must_use]
    pub const fn streams_requests(self) -> bool {
        matches!(self, Self::ClientStream | Self::Duplex)
    }

    /// Returns whether more than one message may come back.
    #[must_use]
    pub const fn streams_replies(self) -> bool {
        matches!(self, Self::ServerStream | Self::Duplex)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, (service, name): (&str, &str)) {
        let parsed =
            text.parse::<ProcedureName>().map(|it| (it.service().to_string(), it.name().to_owned(), it.to_string()));
        assert_eq!(parsed, Ok((service.to_owned(), name.to_owned(), text.to_owned())));
    }

    #[track_caller]
    fn refused(text: &str, error: ProcedureNameError) {
        assert_eq!(text.parse::<ProcedureName>(), Err(error));
    }

    #[test]
    fn a_procedure_is_a_service_and_one_segment_of_a_path() {
        let service: ServiceName = "acme.Greeter".parse().expect("a name");
        check("acme.Greeter/Say::Hello", ("acme.Greeter", "Say::Hello"));
        let longest = "n".repeat(128);
        check(&format!("a/{longest}"), ("a", &longest));
        refused("greeter", ProcedureNameError::NoSlash { text: "greeter".to_owned() });
        refused("/x", ProcedureNameError::Service(NameError::Empty { what: "service name" }));
        refused("acme.Greeter/", ProcedureNameError::Empty { service: service.clone() });
        let too_long = format!("acme.Greeter/{longest}n");
        refused(&too_long, ProcedureNameError::TooLong { service: service.clone(), bytes: 129 });
        for found in ['/', '?', '#', '%', ' ', '\n', 'ö'] {
            let error = ProcedureNameError::Character { service: service.clone(), found };
            refused(&format!("acme.Greeter/a{found}"), error);
        }
    }
}
