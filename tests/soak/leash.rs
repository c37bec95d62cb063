//! Nothing that the soak starts outlives it, however it ends.

use std::{
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

/// Waits for the end of its input, which comes when our process has ended in whatever way, and then ends its own process
/// group, which the nodes share, and the Postgres of the folder, which keeps to itself.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
read -r _
cd "$1" && find . -name instance -exec cat {} + >instances
for pid in $(grep -laFf instances /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3); do
    kill -KILL "$pid" 2>/dev/null
done
kill -KILL 0
"#;

/// The process group that everything is started in.
pub struct Leash(Child);

impl Leash {
    pub fn new(folder: &Path) -> io::Result<Self> {
        // A file, so that the script is on no command line.
        let script = folder.join("leash.sh");
        std::fs::write(&script, SCRIPT)?;
        let child = Command::new("/bin/sh")
            .arg(script)
            .arg(folder)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    /// Puts what `command` starts on the leash.
    pub fn hold(&self, command: &mut Command) {
        command.process_group(self.0.id().cast_signed());
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}
