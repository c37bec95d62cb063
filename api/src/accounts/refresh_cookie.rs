use axum::{
    http::{HeaderMap, header},
    response::AppendHeaders,
};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use time::Duration;

use crate::addresses::Addresses;

/// As long as a session that nobody uses lives.
const LIFETIME: Duration = Duration::days(30);

type SetCookie = AppendHeaders<[(header::HeaderName, String); 1]>;

/// The cookie that the refresh token travels in: out of reach of scripts, and sent to this host alone.
pub(super) struct RefreshCookie {
    is_secure: bool,
}

impl RefreshCookie {
    /// The cookie of an install at `addresses`.
    pub(super) fn new(addresses: &Addresses) -> Self {
        Self { is_secure: addresses.is_https() }
    }

    /// Browsers accept the prefix on secure cookies only, which plain http on one's own machine cannot have.
    fn name(&self) -> &'static str {
        if self.is_secure { "__Host-weir_refresh" } else { "weir_refresh" }
    }

    /// The token that a request brought.
    pub(super) fn read(&self, headers: &HeaderMap) -> Option<String> {
        CookieJar::from_headers(headers).get(self.name()).map(|cookie| cookie.value().to_owned())
    }

    /// Hands the browser a token.
    pub(super) fn set(&self, token: &str) -> SetCookie {
        self.header(token, LIFETIME)
    }

    /// Takes the token away from the browser.
    pub(super) fn clear(&self) -> SetCookie {
        self.header("", Duration::ZERO)
    }

    fn header(&self, value: &str, max_age: Duration) -> SetCookie {
        let cookie = Cookie::build((self.name(), value))
            .path("/")
            .http_only(true)
            .secure(self.is_secure)
            .same_site(SameSite::Strict)
            .max_age(max_age);
        AppendHeaders([(header::SET_COOKIE, cookie.to_string())])
    }
}
