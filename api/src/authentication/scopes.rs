use axum::http::Method;
use domain::accounts::PersonalTokenScope;

/// What a personal token has to be made for, to do this; `None` for what none may do: whatever changes how an account signs
/// in, and whatever nobody has thought of here.
pub(super) fn needed(method: &Method, route: &str) -> Option<PersonalTokenScope> {
    let path = route.strip_prefix("/api/v1/")?;
    let is_read = *method == Method::GET || *method == Method::HEAD;
    let capability = path.split('/').next().unwrap_or_default();
    match capability {
        "auth" if is_read && path == "auth/me" => Some(PersonalTokenScope::Read),
        "me" if is_read && path == "me" => Some(PersonalTokenScope::Read),
        "channels" if path.contains("/stream-key") => Some(PersonalTokenScope::StreamKeys),
        // To name others who may is for whoever signs in.
        "channels" if path.contains("/team") && !is_read => None,
        // A link is as good as the right to watch: to see them takes what it takes to make them.
        "channels" if path.contains("/invites") => Some(PersonalTokenScope::ChannelsWrite),
        "channels" | "streams" | "recordings" | "events" | "exports" | "accounts" if is_read => {
            Some(PersonalTokenScope::Read)
        }
        "channels" | "recordings" => Some(PersonalTokenScope::ChannelsWrite),
        "exports" => Some(PersonalTokenScope::ExportsWrite),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use PersonalTokenScope::{ChannelsWrite, ExportsWrite, Read, StreamKeys};

    use super::*;

    #[test]
    fn what_is_not_named_is_nobodys() {
        for (method, route, scope) in [
            (Method::GET, "/api/v1/auth/me", Some(Read)),
            (Method::DELETE, "/api/v1/auth/me", None),
            (Method::GET, "/api/v1/me", Some(Read)),
            (Method::PATCH, "/api/v1/me", None),
            (Method::PUT, "/api/v1/me/avatar", None),
            (Method::GET, "/api/v1/accounts/{username}/streams", Some(Read)),
            (Method::GET, "/api/v1/auth/sessions", None),
            (Method::POST, "/api/v1/auth/tokens", None),
            (Method::GET, "/api/v1/channels/{handle}", Some(Read)),
            (Method::PATCH, "/api/v1/channels/{handle}", Some(ChannelsWrite)),
            (Method::GET, "/api/v1/channels/{handle}/stream-key", Some(StreamKeys)),
            (Method::POST, "/api/v1/channels/{handle}/stream-key/rotate", Some(StreamKeys)),
            (Method::GET, "/api/v1/channels/{handle}/team", Some(Read)),
            (Method::PUT, "/api/v1/channels/{handle}/team/{username}", None),
            (Method::DELETE, "/api/v1/channels/{handle}/team/{username}", None),
            (Method::DELETE, "/api/v1/recordings/{id}", Some(ChannelsWrite)),
            (Method::POST, "/api/v1/exports", Some(ExportsWrite)),
            (Method::GET, "/api/v1/events", Some(Read)),
            (Method::GET, "/api/v1/administration", None),
            (Method::POST, "/api/v1/streams", None),
            (Method::GET, "/metrics", None),
            (Method::GET, "", None),
        ] {
            assert_eq!(needed(&method, route), scope, "{method} {route}");
        }
    }
}
