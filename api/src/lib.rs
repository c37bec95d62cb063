//! The REST API, sessions, live sockets and the web app's files.
