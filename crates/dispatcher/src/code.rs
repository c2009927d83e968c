//! Status codes: their words, and what they are over plain HTTP.

use http::StatusCode;
use tonic::Code;

/// What says that a client has gone before its answer came; nginx made it up, and it stuck.
const CLIENT_CLOSED_REQUEST: u16 = 499;

const ALL: [Code; 17] = [
    Code::Ok,
    Code::Cancelled,
    Code::Unknown,
    Code::InvalidArgument,
    Code::DeadlineExceeded,
    Code::NotFound,
    Code::AlreadyExists,
    Code::PermissionDenied,
    Code::ResourceExhausted,
    Code::FailedPrecondition,
    Code::Aborted,
    Code::OutOfRange,
    Code::Unimplemented,
    Code::Internal,
    Code::Unavailable,
    Code::DataLoss,
    Code::Unauthenticated,
];

/// Returns the word for `code`: gRPC's name in kebab case, such as `resource-exhausted`.
#[must_use]
pub const fn word(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid-argument",
        Code::DeadlineExceeded => "deadline-exceeded",
        Code::NotFound => "not-found",
        Code::AlreadyExists => "already-exists",
        Code::PermissionDenied => "permission-denied",
        Code::ResourceExhausted => "resource-exhausted",
        Code::FailedPrecondition => "failed-precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out-of-range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data-loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

/// Returns the code that `text` is the word for; case does not matter, and `RESOURCE_EXHAUSTED` is as good.
#[must_use]
pub fn of_word(text: &str) -> Option<Code> {
    let word_of_text = text.to_ascii_lowercase().replace('_', "-");
    ALL.into_iter().find(|code| word(*code) == word_of_text)
}

/// Returns what `code` is over plain HTTP.
#[must_use]
pub fn to_http(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::FailedPrecondition => StatusCode::PRECONDITION_FAILED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Cancelled => StatusCode::from_u16(CLIENT_CLOSED_REQUEST).unwrap_or(StatusCode::BAD_REQUEST),
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// Returns what an answer of plain HTTP means that does not say its code by itself.
#[must_use]
pub fn of_http(status: StatusCode) -> Code {
    match status.as_u16() {
        200..=299 => Code::Ok,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 | 410 => Code::NotFound,
        405 | 501 => Code::Unimplemented,
        408 | 504 => Code::DeadlineExceeded,
        409 => Code::Aborted,
        412 => Code::FailedPrecondition,
        413 | 429 => Code::ResourceExhausted,
        416 => Code::OutOfRange,
        CLIENT_CLOSED_REQUEST => Code::Cancelled,
        400..=498 => Code::InvalidArgument,
        502 | 503 => Code::Unavailable,
        500..=599 => Code::Internal,
        _ => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_in_either_spelling() {
        for code in ALL {
            assert_eq!(of_word(word(code)), Some(code));
            assert_eq!(of_word(&word(code).to_uppercase().replace('-', "_")), Some(code));
        }
        assert_eq!(of_word("fine"), None);
    }

    #[test]
    fn http_has_one_status_for_each_code_and_a_code_for_each_status() {
        let http = ALL.map(|code| to_http(code).as_u16());
        let expected = [200, 499, 500, 400, 504, 404, 409, 403, 429, 412, 409, 400, 501, 500, 503, 500, 401];
        assert_eq!(http, expected);
        // Where several codes share a status, the way back finds one of them.
        for code in ALL {
            assert_eq!(to_http(of_http(to_http(code))), to_http(code), "{code:?}");
        }
        let of = |status: u16| StatusCode::from_u16(status).map(of_http).ok();
        assert_eq!(
            [202, 302, 418, 502, 599].map(of),
            [
                Some(Code::Ok),
                Some(Code::Unknown),
                Some(Code::InvalidArgument),
                Some(Code::Unavailable),
                Some(Code::Internal)
            ]
        );
    }
}
