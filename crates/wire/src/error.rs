//! The one place where an error becomes a gRPC status, and a status an error again.
//!
//! A status carries `google.rpc.Status` with one `holdfast.common.v1.ErrorDetail`, so that any client can tell what to
//! do, not only what happened.

use std::fmt;

use holdfast_types::Millis;
use prost::Message;
use thiserror::Error;
use tonic::{Code, Status};

use crate::{DecodeError, pb::common::v1 as pb};

const DETAIL_URL: &str = "type.googleapis.com/holdfast.common.v1.ErrorDetail";
/// Metadata by which gRPC's own retry policy (gRFC A6) says when to come back: stock clients heed it, and it is all
/// that a refusal by the transport carries.
const PUSHBACK: &str = "grpc-retry-pushback-ms";
/// No peer makes us wait longer than this.
const RETRY_AFTER_MAX: Millis = Millis::from_secs(3600);
/// Bytes of details that are looked at; ours have below 256.
const DETAILS_LEN_MAX: usize = 4096;
/// Bytes of a peer's message that are kept: it ends in logs and on terminals.
const MESSAGE_KEPT_MAX: usize = 1024;

/// What a caller should do about an error.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ErrorCode {
    /// Ask again later, unchanged.
    Retry,
    /// The state is another than the caller thought: read it again, decide again.
    Conflict,
    /// The request can never succeed as it is.
    Invalid,
    /// There is no such thing for this caller.
    NotFound,
    /// Role, grant or fence do not allow it.
    Denied,
    /// Space, quota or places are used up.
    Exhausted,
    /// The bytes are not what their name says.
    Corrupt,
    /// Our fault.
    Bug,
}

/// All codes, for whoever must go through them.
pub const ERROR_CODES: [ErrorCode; 8] = [
    ErrorCode::Retry,
    ErrorCode::Conflict,
    ErrorCode::Invalid,
    ErrorCode::NotFound,
    ErrorCode::Denied,
    ErrorCode::Exhausted,
    ErrorCode::Corrupt,
    ErrorCode::Bug,
];

impl ErrorCode {
    fn status(self) -> (Code, pb::ErrorCode) {
        match self {
            ErrorCode::Retry => (Code::Unavailable, pb::ErrorCode::Retry),
            ErrorCode::Conflict => (Code::Aborted, pb::ErrorCode::Conflict),
            ErrorCode::Invalid => (Code::InvalidArgument, pb::ErrorCode::Invalid),
            ErrorCode::NotFound => (Code::NotFound, pb::ErrorCode::NotFound),
            ErrorCode::Denied => (Code::PermissionDenied, pb::ErrorCode::Denied),
            ErrorCode::Exhausted => (Code::ResourceExhausted, pb::ErrorCode::Exhausted),
            ErrorCode::Corrupt => (Code::DataLoss, pb::ErrorCode::Corrupt),
            ErrorCode::Bug => (Code::Internal, pb::ErrorCode::Bug),
        }
    }

    fn of_detail(code: pb::ErrorCode) -> Self {
        match code {
            pb::ErrorCode::Retry => ErrorCode::Retry,
            pb::ErrorCode::Conflict => ErrorCode::Conflict,
            pb::ErrorCode::Invalid => ErrorCode::Invalid,
            pb::ErrorCode::NotFound => ErrorCode::NotFound,
            pb::ErrorCode::Denied => ErrorCode::Denied,
            pb::ErrorCode::Exhausted => ErrorCode::Exhausted,
            pb::ErrorCode::Corrupt => ErrorCode::Corrupt,
            pb::ErrorCode::Bug | pb::ErrorCode::Unspecified => ErrorCode::Bug,
        }
    }

    /// For a status without our detail: from a proxy, or from gRPC itself.
    fn of_status(code: Code) -> Self {
        match code {
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => ErrorCode::Retry,
            Code::Aborted | Code::AlreadyExists | Code::FailedPrecondition => ErrorCode::Conflict,
            Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => ErrorCode::Invalid,
            Code::NotFound => ErrorCode::NotFound,
            Code::PermissionDenied | Code::Unauthenticated => ErrorCode::Denied,
            Code::ResourceExhausted => ErrorCode::Exhausted,
            Code::DataLoss => ErrorCode::Corrupt,
            Code::Internal | Code::Unknown | Code::Ok => ErrorCode::Bug,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorCode::Retry => "retry",
            ErrorCode::Conflict => "conflict",
            ErrorCode::Invalid => "invalid",
            ErrorCode::NotFound => "not found",
            ErrorCode::Denied => "denied",
            ErrorCode::Exhausted => "exhausted",
            ErrorCode::Corrupt => "corrupt",
            ErrorCode::Bug => "bug",
        })
    }
}

/// An error as it crosses the wire.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct WireError {
    /// What to do.
    pub code: ErrorCode,
    /// What was expected, what came, what to do next.
    pub message: String,
    /// Which field of the request is meant; empty when none.
    pub field: String,
    /// When to ask again.
    pub retry_after: Option<Millis>,
}

impl WireError {
    /// An error with a message for people.
    pub fn new(code: ErrorCode, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), field: String::new(), retry_after: None }
    }

    /// The same, with a time to ask again.
    #[must_use]
    pub fn retry_after(mut self, span: Millis) -> Self {
        self.retry_after = Some(span);
        self
    }
}

impl From<DecodeError> for WireError {
    fn from(error: DecodeError) -> Self {
        let field = error.field.chars().take(128).collect();
        Self { code: ErrorCode::Invalid, message: error.to_string(), field, retry_after: None }
    }
}

/// `google.rpc.Status`, field for field.
#[derive(Clone, PartialEq, Message)]
struct RichStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

impl From<WireError> for Status {
    fn from(error: WireError) -> Self {
        let (code, detail_code) = error.code.status();
        let detail = pb::ErrorDetail {
            code: detail_code.into(),
            field: error.field,
            retry_after_ms: error.retry_after.map_or(0, |span| span.0),
        };
        let any = prost_types::Any { type_url: DETAIL_URL.to_owned(), value: detail.encode_to_vec() };
        let rich = RichStatus { code: code as i32, message: error.message.clone(), details: vec![any] };
        let mut status = Status::with_details(code, error.message, rich.encode_to_vec().into());
        if let Some(span) = error.retry_after {
            status.metadata_mut().insert(PUSHBACK, span.0.into());
        }
        status
    }
}

impl From<DecodeError> for Status {
    fn from(error: DecodeError) -> Self {
        WireError::from(error).into()
    }
}

impl From<&Status> for WireError {
    fn from(status: &Status) -> Self {
        let detail = Some(status.details())
            .filter(|bytes| bytes.len() <= DETAILS_LEN_MAX)
            .and_then(|bytes| RichStatus::decode(bytes).ok())
            .and_then(|rich| rich.details.into_iter().find(|any| any.type_url == DETAIL_URL))
            .and_then(|any| pb::ErrorDetail::decode(any.value.as_slice()).ok());
        let message = status.message().chars().filter(|letter| !letter.is_control()).take(MESSAGE_KEPT_MAX).collect();
        let Some(detail) = detail else {
            let pushback = status.metadata().get(PUSHBACK).and_then(|text| text.to_str().ok()?.parse().ok());
            let retry_after = pushback.map(|ms| Millis(ms).min(RETRY_AFTER_MAX));
            let code = match (status.code(), retry_after) {
                // A place is taken, not the space: it will be free again.
                (Code::ResourceExhausted, Some(_)) => ErrorCode::Retry,
                (code, _) => ErrorCode::of_status(code),
            };
            return Self { code, message, field: String::new(), retry_after };
        };
        Self {
            code: ErrorCode::of_detail(detail.code()),
            message,
            field: detail.field.chars().filter(|letter| !letter.is_control()).take(128).collect(),
            retry_after: (detail.retry_after_ms > 0).then_some(Millis(detail.retry_after_ms).min(RETRY_AFTER_MAX)),
        }
    }
}

impl From<Status> for WireError {
    fn from(status: Status) -> Self {
        Self::from(&status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_from_its_status() {
        for code in ERROR_CODES {
            let error = WireError::new(code, "expected this, got that").retry_after(Millis(1500));
            assert_eq!(WireError::from(Status::from(error.clone())), error);
            // A proxy may drop the details: the status alone must still say what to do.
            let bare = Status::new(Status::from(error).code(), "");
            assert_eq!(WireError::from(bare).code, code, "{code}");
        }
    }

    #[test]
    fn a_refusal_by_the_transport_is_a_reason_to_come_back() {
        let mut status = Status::resource_exhausted("too many requests");
        assert_eq!(WireError::from(&status).code, ErrorCode::Exhausted);
        status.metadata_mut().insert(PUSHBACK, u64::MAX.into());
        let error = WireError::from(&status);
        assert_eq!((error.code, error.retry_after), (ErrorCode::Retry, Some(RETRY_AFTER_MAX)));
    }

    #[test]
    fn hostile_details_are_ignored() {
        let status = Status::with_details(Code::NotFound, "a\u{1b}[2Jb", vec![0xff; 100].into());
        let error = WireError::from(status);
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::NotFound, "a[2Jb"));
        let long = Status::with_details(Code::NotFound, "", vec![0; DETAILS_LEN_MAX + 1].into());
        assert_eq!(WireError::from(long).code, ErrorCode::NotFound);
    }
}
