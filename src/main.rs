//! Weir, a self-hosted live-streaming platform: the binary, the only place where everything meets.
#![expect(unreachable_pub, reason = "nobody reaches into a binary: `pub` is what a module offers to the others")]

mod cli;
mod config;
mod demo;
mod http;
mod metrics;
mod node;
mod objects;
mod origins;
mod secrets;
mod setup_token;
mod telemetry;
mod wire;

use std::process::ExitCode;

/// A viewer costs up to a tenth less by it than by that of the system (ADR 51).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // With two providers in a binary rustls panics at first use instead of choosing; ours is named before anything runs.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("weir: a TLS provider was installed twice; this is a defect of Weir");
        return ExitCode::FAILURE;
    }
    cli::run()
}
