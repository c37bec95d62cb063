use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::accounts::suspension::SuspensionNotice;

/// The media type of problem documents.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was refused or failed (RFC 9457). Every answer of 400 and above is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A stable name for the kind of problem, as a URN.
    #[serde(rename = "type")]
    #[schema(example = "urn:weir:problem:handle_taken")]
    pub kind: Cow<'static, str>,
    /// The kind of problem in a few words; the same for every occurrence.
    #[schema(example = "The handle is taken")]
    pub title: Cow<'static, str>,
    /// The status of the answer.
    #[schema(example = 409, minimum = 400, maximum = 599)]
    pub status: u16,
    /// What happened this time and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Somebody else's channel has this handle. Choose another.", nullable = false)]
    pub detail: Option<Cow<'static, str>>,
    /// The kind of problem, short and stable: what programs and translations go by.
    #[schema(example = "handle_taken", pattern = "^[a-z][a-z0-9_]*$")]
    pub code: Cow<'static, str>,
    /// What is wrong with each field; left out where no field is to blame.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<FieldError>,
    /// Why and until when an account is suspended; with `account_suspended` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub suspension: Option<SuspensionNotice>,
    /// The id of the request, as in the header `X-Request-Id` and in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00", nullable = false)]
    pub request_id: Option<String>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// The field as a JSON Pointer into the body (RFC 6901); `?name` for a parameter of the query.
    #[schema(example = "/handle")]
    pub pointer: String,
    /// Short and stable: `too_short`, `too_long`, `characters`, `unknown_field`, `missing`, `type` and the like.
    #[schema(example = "too_short")]
    pub code: Cow<'static, str>,
    /// One sentence that says what to do.
    #[schema(example = "Use at least 3 characters.")]
    pub message: Cow<'static, str>,
}

impl Problem {
    /// A problem of a kind; `detail`, `errors` and `request_id` are filled in by whoever knows them.
    #[must_use]
    pub fn new(status: u16, code: &'static str, title: &'static str) -> Self {
        Self {
            kind: Cow::Owned(format!("urn:weir:problem:{code}")),
            title: Cow::Borrowed(title),
            status,
            detail: None,
            code: Cow::Borrowed(code),
            errors: Vec::new(),
            suspension: None,
            request_id: None,
        }
    }

    /// The same with what happened this time.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same with one more wrong field.
    #[must_use]
    pub fn error(
        mut self,
        pointer: impl Into<String>,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.errors.push(FieldError { pointer: pointer.into(), code: code.into(), message: message.into() });
        self
    }
}
