//! Makes sure that there is a folder for the web app to be embedded from, so that the crate builds without Node.

use std::{env, fs, path::PathBuf};

fn main() {
    let dist = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("Cargo sets it")).join("../frontend/dist");
    // A source tree that cannot be written to may still hold a built app.
    if let Err(error) = fs::create_dir_all(&dist) {
        println!("cargo::warning=the folder {} could not be made: {error}", dist.display());
    }
    println!("cargo::rerun-if-changed={}", dist.display());
    // A new event is a new file there.
    println!("cargo::rerun-if-changed=../domain/tests/events");
}
