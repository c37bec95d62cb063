use axum::http::Method;

/// What may be asked how often, and what of a request decides whose it is.
///
/// The discriminants travel between nodes: never give one to another policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Policy {
    /// Calls of somebody who is not signed in, by address.
    Address = 1,
    /// Calls of somebody who is, by account.
    Account = 2,
    /// Failed sign-ins, by address.
    SignIn = 3,
    /// Failed sign-ins with one username, by address and username.
    SignInAs = 4,
    /// Failed sign-ins with one username from everywhere.
    SignInAnywhere = 5,
    /// Registrations, by address.
    Registration = 6,
    /// Codes and passwords that are asked for or tried, by address.
    Code = 7,
    /// Wrong passwords of somebody who is signed in, by account.
    Password = 8,
    /// Reports, by account.
    Report = 15,
    /// Failed sign-ins with one username, by the larger network that the address is in and username.
    SignInNear = 9,
    /// Pictures that are uploaded, by account.
    Upload = 20,
    /// Roles that are given and taken, by account: each is shown to whom it is about.
    Team = 21,
    /// Channels that are created, by account.
    Channel = 22,
    /// What is made of the database without being a call of the API: pages, pictures of people, readiness. By address.
    Page = 30,
}

impl Policy {
    pub(super) const ALL: [Self; 14] = [
        Self::Address,
        Self::Account,
        Self::SignIn,
        Self::SignInAs,
        Self::SignInAnywhere,
        Self::Registration,
        Self::Code,
        Self::Password,
        Self::SignInNear,
        Self::Report,
        Self::Upload,
        Self::Team,
        Self::Channel,
        Self::Page,
    ];

    pub(super) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| *policy as u8 == number)
    }

    /// As clients and metrics are told.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Account => "account",
            Self::SignIn => "sign-in",
            Self::SignInAs => "sign-in-as",
            Self::SignInAnywhere => "sign-in-anywhere",
            Self::Registration => "registration",
            Self::Code => "code",
            Self::Password => "password",
            Self::SignInNear => "sign-in-near",
            Self::Report => "report",
            Self::Upload => "upload",
            Self::Team => "team",
            Self::Channel => "channel",
            Self::Page => "page",
        }
    }

    /// Requests in a window, all of which may come at once.
    ///
    /// A page that is watched asks the API every few seconds, a page that is opened asks some ten times at once: 600 in 10 s
    /// are hundreds of viewers behind one router. A page comes with the pictures of those whom it shows, once a day.
    pub(super) fn quota(self) -> u32 {
        match self {
            Self::Address => 600,
            Self::Page => 2_000,
            Self::Account => 300,
            Self::SignIn | Self::Upload | Self::Report => 20,
            Self::SignInAs | Self::Registration | Self::Password => 10,
            // Four networks are needed to use up what all have together.
            Self::SignInNear => 25,
            Self::SignInAnywhere => 100,
            Self::Code | Self::Team => 30,
            Self::Channel => 20,
        }
    }

    pub(super) fn window_seconds(self) -> u32 {
        match self {
            Self::Address | Self::Account | Self::Page => 10,
            Self::SignIn => 60,
            Self::Password => 300,
            // Less than what is left to all addresses together, so that one alone does not keep somebody out.
            Self::SignInAs
            | Self::SignInNear
            | Self::SignInAnywhere
            | Self::Registration
            | Self::Report
            | Self::Team
            | Self::Channel => 3_600,
            Self::Code | Self::Upload => 600,
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Address | Self::Page => "Too many requests came from your address.",
            Self::Account => "Your account made too many requests.",
            Self::SignIn => "Too many sign-ins from your address failed.",
            Self::SignInAs | Self::SignInNear | Self::SignInAnywhere => "Too many sign-ins with this username failed.",
            Self::Registration => "Too many accounts were registered from your address.",
            Self::Code => "Too many codes or passwords were tried from your address.",
            Self::Report => "Your account made too many reports.",
            Self::Password => "Too many wrong passwords were tried for your account.",
            Self::Upload => "Your account uploaded too many pictures.",
            Self::Team => "Your account gave and took too many roles.",
            Self::Channel => "Your account created too many channels.",
        }
    }

    /// The stricter policy of a route, beside that of all calls. Whatever takes a password or a code is under one, without
    /// being named here.
    pub(crate) fn of_route(method: &Method, route: &str) -> Option<Self> {
        if method.is_safe() {
            return None;
        }
        let path = route.strip_prefix("/api/v1/")?;
        match path {
            "auth/login" => Some(Self::SignIn),
            "auth/register" => Some(Self::Registration),
            // Where nothing can be guessed: 256 random bits, or nothing at all.
            "auth/refresh" | "auth/logout" => None,
            _ if path.starts_with("auth/") || matches!(path, "me/export" | "me/export/download") => Some(Self::Code),
            _ if ["password", "totp", "code", "email", "recovery-"].iter().any(|word| path.contains(word)) => {
                Some(Self::Code)
            }
            _ => None,
        }
    }

    /// That of a path which is no call of the API: for all but the files of the web app and of its document, which are in memory, and
    /// for whether the process lives.
    pub(crate) fn of_page(path: &str) -> Option<Self> {
        let is_below =
            |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if path.starts_with("/media/") {
            return Some(Self::Page);
        }
        let is_page = path == "/index.html" || !path.rsplit('/').next().is_some_and(|name| name.contains('.'));
        (is_page && path != "/healthz" && !is_below("/assets") && !is_below("/docs")).then_some(Self::Page)
    }

    /// Whether an answer with this status, and this code where it is a problem, costs nothing: what counts of sign-ins is the wrong
    /// guess. Of somebody who is asked for a code, or told that they are suspended, the password was right.
    pub(crate) fn forgives(self, status: u16, code: Option<&str>) -> bool {
        let was_right = matches!(code, Some("second_factor_required" | "account_suspended"));
        self == Self::SignIn && (was_right || !matches!(status, 401 | 403 | 429))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_takes_a_password_or_a_code_is_limited_more_strictly() {
        let of = |method: Method, route: &str| Policy::of_route(&method, route);
        assert_eq!(of(Method::POST, "/api/v1/auth/login"), Some(Policy::SignIn));
        assert_eq!(of(Method::POST, "/api/v1/auth/register"), Some(Policy::Registration));
        assert_eq!(of(Method::DELETE, "/api/v1/auth/me"), Some(Policy::Code));
        assert_eq!(of(Method::POST, "/api/v1/auth/anything-new"), Some(Policy::Code));
        assert_eq!(of(Method::POST, "/api/v1/me/password"), Some(Policy::Code));
        assert_eq!(of(Method::POST, "/api/v1/auth/refresh"), None);
        assert_eq!(of(Method::GET, "/api/v1/auth/me"), None);
        assert_eq!(of(Method::POST, "/api/v1/channels"), None);
    }

    #[test]
    fn what_asks_the_database_is_limited_and_what_is_in_memory_is_not() {
        for path in ["/", "/index.html", "/river", "/river/videos/1", "/readyz", "/media/avatars/0a1b.jpg", "/docsy"] {
            assert_eq!(Policy::of_page(path), Some(Policy::Page), "{path}");
        }
        for path in ["/assets/index-1a2b.js", "/favicon.svg", "/robots.txt", "/docs/", "/docs/index.css", "/healthz"] {
            assert_eq!(Policy::of_page(path), None, "{path}");
        }
    }

    #[test]
    fn numbers_lead_back() {
        for policy in Policy::ALL {
            assert_eq!(Policy::of_number(policy as u8), Some(policy));
        }
        assert_eq!(Policy::of_number(0), None);
    }
}
