# Varnish 7 in front of Weir: one request at the origin for each playlist, part and segment. docs/cdn.md says what it costs.
#
# Put in: the host and port of the origin (twice the same node, or a load balancer), and what `weir keys cache-token` prints.
# Start it with: varnishd -f /etc/varnish/weir.vcl -a :80 -s malloc,1g -p default_grace=0 -p timeout_idle=75
vcl 4.1;

backend weir {
    .host = "127.0.0.1";
    .port = "8080";
    # A blocked reload is answered within three target durations.
    .first_byte_timeout = 40s;
    .between_bytes_timeout = 10s;
}

sub vcl_recv {
    if (req.restarts == 0) {
        # These are ours to say.
        unset req.http.Authorization;
        unset req.http.Weir-Relay;
        unset req.http.X-Original-URI;
        unset req.http.X-Weir-Inner;
        unset req.http.X-Weir-Allowed;
    }
    if (req.url !~ "^/(live|vod)/" || (req.method != "GET" && req.method != "HEAD")) {
        return (pass);
    }
    unset req.http.Cookie;
    if (req.url ~ "^/vod/t/") {
        # Recordings that not everybody may see have terms of their own: the origin knows them.
        return (pass);
    }
    if (req.url ~ "^/live/t/[A-Za-z0-9_-]+/") {
        # Not public: first ask the origin whether this address may be played, then fetch without the token.
        set req.http.X-Original-URI = req.url;
        set req.http.X-Weir-Inner = regsub(req.url, "^/live/t/[^/]+/", "/live/");
        set req.url = "/live/authorise";
        return (hash);
    }
    if (req.url !~ "\.(m3u8|mpd)") {
        set req.url = regsub(req.url, "\?.*$", "");
    }
    return (hash);
}

sub vcl_hash {
    hash_data(req.url);
    if (req.url == "/live/authorise") {
        # By token and stream: what is allowed for one part is allowed for the next.
        hash_data(regsub(req.http.X-Original-URI, "^(/live/t/[^/]+/(channels/)?[^/]+).*$", "\1"));
    } else if (req.http.X-Weir-Allowed) {
        # What only some may see never lies where others look.
        hash_data("restricted");
    }
    return (lookup);
}

sub vcl_backend_fetch {
    if (bereq.http.X-Weir-Allowed) {
        set bereq.http.Authorization = "Bearer PUT-THE-CACHE-TOKEN-HERE";
    }
    unset bereq.http.X-Weir-Inner;
    unset bereq.http.X-Weir-Allowed;
    if (bereq.url != "/live/authorise") {
        unset bereq.http.X-Original-URI;
    }
}

sub vcl_backend_response {
    set beresp.grace = 0s;
    set beresp.keep = 0s;
    if (bereq.url == "/live/authorise") {
        # So long a right that was taken away still holds here.
        set beresp.ttl = 500ms;
        return (deliver);
    }
    if (beresp.status != 200) {
        # Not even for the others who wait: each asks for itself.
        set beresp.uncacheable = true;
        set beresp.ttl = 1s;
        return (deliver);
    }
    # How long is what the origin says in Cache-Control.
    return (deliver);
}

sub vcl_deliver {
    if (req.url == "/live/authorise" && req.http.X-Weir-Inner) {
        if (resp.status == 204) {
            set req.url = req.http.X-Weir-Inner;
            set req.http.X-Weir-Allowed = "1";
            return (restart);
        }
        return (deliver);
    }
    if (req.http.X-Weir-Allowed) {
        # No cache further on may keep it.
        set resp.http.Cache-Control = regsub(resp.http.Cache-Control, "^public", "private");
    }
    unset resp.http.Weir-Restricted;
    unset resp.http.Via;
    unset resp.http.X-Varnish;
}
