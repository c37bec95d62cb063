//! Everything again as an ordinary user, where the tests run as root.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use crate::processes::is_root;

#[test]
fn everything_holds_for_an_ordinary_user_too() {
    if !is_root() {
        // The other tests are that already.
        return;
    }
    // A copy, as the user may have no way to the target folder.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let tests = folder.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(tests)
        .args(["--skip", "ordinary_user::", "--test-threads", "2"])
        .current_dir("/")
        .output();
    match output {
        Err(error) => println!("skipped: no setpriv ({error})"),
        Ok(output) => assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}
