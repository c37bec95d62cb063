//! What goes wrong, as a problem document: the one error type of all handlers.

use std::{borrow::Cow, error::Error, sync::Arc};

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use commands::{CommandError, LoadError};
use domain::Invalid;
use openapi::{FieldError, Problem};

use crate::ports::PortUnavailable;

/// A refusal or a failure. [`frame`](crate::frame) writes it out with the request's id, and logs the source if there is
/// one.
#[derive(Debug, Clone)]
pub(crate) struct ApiError(Box<Failure>);

/// The insides of an [`ApiError`], as they travel in the extensions of a response.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) problem: Problem,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// What clients are not told.
    pub(crate) source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Failure {
    /// The same of the second half of something whose first half was done: it no longer says that nothing was.
    pub(crate) fn half_done(self) -> Self {
        if !matches!(self.problem.code.as_ref(), "unavailable" | "overloaded" | "conflict") {
            return self;
        }
        let ApiError(unknown) = ApiError::outcome_unknown();
        let mut headers = self.headers;
        headers.retain(|(name, _)| *name != header::RETRY_AFTER);
        headers.extend(unknown.headers);
        Self { problem: unknown.problem, headers, source: self.source }
    }
}

pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self::from(Problem::new(status.as_u16(), code, title))
    }

    #[cfg(test)]
    pub(crate) fn into_problem(self) -> Problem {
        self.0.problem
    }

    /// The same with what happened this time.
    pub(crate) fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.problem.detail = Some(detail.into());
        self
    }

    /// The same with one more header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// The same with one more remark about a field of the body.
    pub(crate) fn field(mut self, field: FieldError) -> Self {
        self.0.problem.errors.push(field);
        self
    }

    /// The same with more headers.
    pub(crate) fn headers(mut self, headers: AppendHeaders<[(HeaderName, String); 1]>) -> Self {
        self.0.headers.extend(headers.0.into_iter().filter_map(|(name, value)| Some((name, value.try_into().ok()?))));
        self
    }

    fn source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// 401: no access token, or one that is worth nothing.
    pub(crate) fn unauthenticated(detail: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Sign in first").detail(detail)
    }

    /// 403: somebody else may, this account may not.
    pub(crate) fn forbidden(detail: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "This account may not do this").detail(detail)
    }

    /// 404: there is no such thing.
    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is no such thing").detail(detail)
    }

    /// 422: fields of the body are wrong.
    pub(crate) fn validation_failed(invalid: impl IntoIterator<Item = Invalid>) -> Self {
        let mut error = Self::no_field_wrong();
        for Invalid { field, code, message } in invalid {
            error.0.problem = error.0.problem.error(format!("/{field}"), code, message);
        }
        error
    }

    /// 422: a field of the body is wrong.
    pub(crate) fn wrong_field(field: FieldError) -> Self {
        let mut error = Self::no_field_wrong();
        error.0.problem.errors.push(field);
        error
    }

    fn no_field_wrong() -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_failed", "Some fields are wrong")
            .detail("Correct the fields that `errors` names and try again.")
    }

    /// 400: a parameter of the query is wrong.
    pub(crate) fn query_invalid(
        parameter: &str,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut error = Self::new(StatusCode::BAD_REQUEST, "query_invalid", "A parameter of the query is wrong")
            .detail("Correct the parameters that `errors` names and try again.");
        error.0.problem = error.0.problem.error(format!("?{parameter}"), code, message);
        error
    }

    /// 400: the cursor is none that a page gave.
    pub(crate) fn cursor_invalid() -> Self {
        let mut error = Self::new(StatusCode::BAD_REQUEST, "cursor_invalid", "The cursor is not valid")
            .detail("Start again without `after`, or give the last page's `next_cursor`.");
        error.0.problem = error.0.problem.error("?after", "cursor_invalid", "Give the last page's `next_cursor`.");
        error
    }

    /// 400: what should be a position of the log is none.
    pub(crate) fn position_invalid() -> Self {
        let mut error = Self::new(StatusCode::BAD_REQUEST, "cursor_invalid", "The cursor is not valid").detail(
            "Start again without `after`, or give a position: the last page's `next_cursor`, or the `position` of the last \
             event that you have.",
        );
        let message = "Give a position: a whole number from 0 on.";
        error.0.problem = error.0.problem.error("?after", "cursor_invalid", message);
        error
    }

    /// 400: the header `Last-Event-ID` is no position.
    pub(crate) fn last_event_id_invalid() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "last_event_id_invalid", "The header Last-Event-ID is not valid")
            .detail("Send the last `id` that came, or leave the header out and give `after`.")
    }

    /// 400: the log has not got to the position that was given for `parameter` yet.
    pub(crate) fn position_beyond_head(parameter: &str, head: i64) -> Self {
        let mut error = Self::new(StatusCode::BAD_REQUEST, "position_beyond_head", "The log does not reach that far")
            .detail(format!("The log ends at position {head}. Give that or an earlier one."));
        let message = format!("Give a position from 0 to {head}.");
        error.0.problem = error.0.problem.error(format!("?{parameter}"), "position_beyond_head", message);
        error
    }

    /// This refusal of a parameter, of a field of the same name in a body.
    pub(crate) fn of_body(self) -> Self {
        let problem = &self.0.problem;
        if problem.status != 400 || problem.errors.is_empty() {
            return self;
        }
        let mut error = Self::no_field_wrong();
        error.0.problem.errors = self.0.problem.errors;
        for field in &mut error.0.problem.errors {
            if let Some(name) = field.pointer.strip_prefix('?') {
                field.pointer = format!("/{name}");
            }
        }
        error
    }

    /// 503: something that the server needs does not answer; nothing was done.
    pub(crate) fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::passing("unavailable", "Weir cannot do this at the moment")
            .detail("Something that the server needs does not answer. Nothing was changed; try again in a moment.")
            .source(source)
    }

    /// 503: more is asked than the server takes on; nothing was done.
    pub(crate) fn overloaded() -> Self {
        Self::passing("overloaded", "Weir has too much to do")
            .detail("More requests are waiting than the server takes on. Nothing was changed; try again in a moment.")
    }

    /// 503: it may have been done.
    pub(crate) fn outcome_unknown() -> Self {
        Self::passing("outcome_unknown", "The outcome is unknown")
            .detail("The outcome is unknown; look before you repeat.")
    }

    /// This failure, of the second half of something whose first half was done: it no longer says that nothing was.
    pub(crate) fn half_done(self) -> Self {
        Self(Box::new(self.0.half_done()))
    }

    /// 500: a mistake of ours.
    pub(crate) fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::from(generic(StatusCode::INTERNAL_SERVER_ERROR)).source(source)
    }

    /// 409: the same request is under way.
    pub(crate) fn idempotency_in_flight() -> Self {
        Self::new(StatusCode::CONFLICT, "idempotency_in_flight", "The same request is being carried out")
            .detail("Send it again in a moment for its answer.")
            .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// A command's failure, and its refusal as `refused` says.
    pub(crate) fn command<R>(error: CommandError<R>, refused: impl FnOnce(R) -> Self) -> Self {
        match error {
            CommandError::Refused(refusal) => refused(refusal),
            CommandError::Conflict => Self::new(StatusCode::CONFLICT, "conflict", "Others are changing the same thing")
                .detail("Nothing was changed; look at how it is now and try again."),
            CommandError::Repeated => Self::idempotency_in_flight(),
            CommandError::Overloaded => Self::overloaded(),
            CommandError::Unavailable(source) => Self::unavailable(source),
            CommandError::OutcomeUnknown(source) => Self::outcome_unknown().source(source),
            CommandError::Unexpected(source) => Self::internal(source),
        }
    }

    fn passing(code: &'static str, title: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, title)
            .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(Box::new(Failure { problem, headers: Vec::new(), source: None }))
    }
}

impl From<projections::QueryError> for ApiError {
    fn from(error: projections::QueryError) -> Self {
        if error.is_passing() { Self::unavailable(error) } else { Self::internal(error) }
    }
}

impl From<LoadError> for ApiError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Unavailable(source) => Self::unavailable(source),
            LoadError::Unreadable { .. } | LoadError::Gap { .. } | LoadError::PositionBeyondHead { .. } => {
                Self::internal(error)
            }
        }
    }
}

impl From<PortUnavailable> for ApiError {
    fn from(_: PortUnavailable) -> Self {
        Self::unavailable("the media plane does not answer")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(*self.0);
        response
    }
}

/// The problem for a status that something below the handlers answered with, as text or with nothing at all.
pub(crate) fn generic(status: StatusCode) -> Problem {
    let (code, title, detail) = match status {
        StatusCode::NOT_FOUND => ("not_found", "There is no such thing", "There is nothing at this address."),
        StatusCode::METHOD_NOT_ALLOWED => (
            "method_not_allowed",
            "This method does not work here",
            "Use one of the methods that the header `Allow` names.",
        ),
        StatusCode::REQUEST_TIMEOUT => {
            ("request_timeout", "The request took too long", "The body did not arrive in time. Try again.")
        }
        StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "The body is too large", "A body may have 64 kB at most."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (
            "media_type_unsupported",
            "This kind of body is not understood",
            "Send the header `Content-Type: application/json`.",
        ),
        status if status.is_server_error() => (
            "internal",
            "Something went wrong on the server",
            "The fault is ours and was recorded under `request_id`. Try again later.",
        ),
        _ => ("bad_request", "The request is not understood", "The server could not make sense of the request."),
    };
    Problem::new(status.as_u16(), code, title).detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_a_command_shows_in_status_and_code() {
        let answer = |error: CommandError<&'static str>| {
            let error = ApiError::command(error, ApiError::not_found);
            let retry_after = error.0.headers.iter().any(|(name, _)| *name == header::RETRY_AFTER);
            (error.0.problem.status, error.0.problem.code.into_owned(), retry_after)
        };
        let source = || "connection refused to 10.0.0.1".into();
        assert_eq!(answer(CommandError::Refused("why")), (404, "not_found".to_owned(), false));
        assert_eq!(answer(CommandError::Conflict), (409, "conflict".to_owned(), false));
        assert_eq!(answer(CommandError::Overloaded), (503, "overloaded".to_owned(), true));
        assert_eq!(answer(CommandError::Unavailable(source())), (503, "unavailable".to_owned(), true));
        assert_eq!(answer(CommandError::OutcomeUnknown(source())), (503, "outcome_unknown".to_owned(), true));
        assert_eq!(answer(CommandError::Unexpected(source())), (500, "internal".to_owned(), false));
    }

    #[test]
    fn what_is_half_done_does_not_say_that_nothing_was_changed() {
        let half_done = |error: ApiError| {
            let failure = error.header(header::SET_COOKIE, HeaderValue::from_static("kept=1")).half_done().0;
            assert!(failure.headers.iter().any(|(name, _)| *name == header::SET_COOKIE));
            let retry_after = failure.headers.iter().filter(|(name, _)| *name == header::RETRY_AFTER).count();
            (failure.problem.status, failure.problem.code.into_owned(), retry_after)
        };
        let command = |error: CommandError<()>| half_done(ApiError::command(error, |()| ApiError::not_found("why")));
        let unknown = (503, "outcome_unknown".to_owned(), 1);
        assert_eq!(command(CommandError::Unavailable("lost".into())), unknown);
        assert_eq!(command(CommandError::Overloaded), unknown);
        assert_eq!(command(CommandError::Conflict), unknown);
        assert_eq!(command(CommandError::OutcomeUnknown("lost".into())), unknown);
        assert_eq!(command(CommandError::Refused(())), (404, "not_found".to_owned(), 0));
        assert_eq!(command(CommandError::Unexpected("a bug".into())), (500, "internal".to_owned(), 0));
    }

    #[test]
    fn an_unknown_outcome_says_what_to_do_and_nothing_internal() {
        let error = ApiError::command(CommandError::<()>::OutcomeUnknown("10.0.0.1".into()), |()| unreachable!());
        assert_eq!(error.0.problem.detail.as_deref(), Some("The outcome is unknown; look before you repeat."));
        assert!(!serde_json::to_string(&error.0.problem).unwrap().contains("10.0.0.1"));
    }
}
