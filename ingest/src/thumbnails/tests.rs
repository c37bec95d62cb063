use std::{fs, path::Path};

use super::*;

/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(120);

fn tool(folder: &Path, script: &str) -> Tool {
    let program = folder.join("ffmpeg");
    // By another process: a child that a test beside this one forks meanwhile would hold our file open for writing, and
    // a program that is open for writing cannot be started.
    let written = std::process::Command::new("sh")
        .args(["-c", r#"printf '#!/bin/sh\n%s\n' "$1" > "$2" && chmod 755 "$2""#, "sh", script])
        .arg(&program)
        .status()
        .unwrap();
    assert!(written.success());
    Tool::new(program.into(), LONG)
}

fn key_frame() -> KeyFrame {
    // More than a pipe holds, so that a program that does not read is noticed.
    KeyFrame { init: Bytes::from_static(b"init"), fragment: vec![0; 1 << 20].into() }
}

async fn failure(script: &str) -> ThumbnailError {
    let folder = tempfile::tempdir().unwrap();
    tool(folder.path(), script).pictures(key_frame()).await.unwrap_err()
}

#[tokio::test]
async fn a_program_that_fails_is_quoted() {
    let error = failure("echo 'moov atom not found' >&2; exit 1").await;
    assert!(error.to_string().contains("moov atom not found"), "{error}");
}

#[tokio::test]
async fn a_program_that_hangs_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let mut tool = tool(folder.path(), &format!("echo $$ > {}; exec sleep 600", pid_file.display()));
    tool.timeout = Duration::from_millis(500);
    let started = std::time::Instant::now();
    let pid = loop {
        let error = tool.pictures(key_frame()).await.unwrap_err();
        assert!(matches!(error, ThumbnailError::TimedOut(_)), "{error}");
        // Where this machine is slow, it has been ended before it could say which process it is.
        let said = fs::read_to_string(&pid_file).unwrap_or_default();
        if let Some(pid) = said.strip_suffix('\n') {
            break pid.to_owned();
        }
        assert!(started.elapsed() < LONG, "it does not begin");
    };
    let process = format!("/proc/{pid}/comm");
    while Path::new(&process).exists() {
        assert!(started.elapsed() < 2 * LONG, "it is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_program_gives_way_to_what_takes_streams_in() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let tool = tool(folder.path(), &format!("echo $$ > {}; exec sleep 600", pid_file.display()));
    let gives_way = async {
        let stat = loop {
            // The pid is in the file once its line is whole.
            let pid = fs::read_to_string(&pid_file).unwrap_or_default();
            if let Some(pid) = pid.strip_suffix('\n') {
                break fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        // Field 19 of proc(5); the name, field 2, is in brackets.
        let (_, after_name) = stat.rsplit_once(')').unwrap();
        let niceness: i32 = after_name.split_whitespace().nth(16).unwrap().parse().unwrap();
        assert!(niceness >= 5, "{stat}");
    };
    // It is ended with what waits for it.
    tokio::select! {
        () = gives_way => {}
        made = tool.pictures(key_frame()) => panic!("{made:?}"),
    }
}

#[tokio::test]
async fn a_program_that_writes_something_else_is_not_believed() {
    let error = failure("cat > /dev/null; echo hello").await;
    assert!(matches!(error, ThumbnailError::Failed { .. }), "{error}");
}

#[tokio::test]
async fn a_program_that_is_missing_is_an_error() {
    let tool = Tool::new("/nonexistent/ffmpeg".into(), TIMEOUT);
    assert!(matches!(tool.pictures(key_frame()).await, Err(ThumbnailError::Run(_))));
}

#[tokio::test]
async fn a_program_that_makes_no_webp_makes_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    // Writes a JPEG of two markers wherever one is asked for, as long as nobody speaks of WebP.
    let script = format!(
        "cat > /dev/null; echo \"$@\" >> {log}\n\
         case \"$*\" in *libwebp*) echo \"Unknown encoder 'libwebp'\" >&2; exit 1;; esac\n\
         for file in \"$@\"; do case $file in *.jpg) printf '\\377\\330\\377\\331' > \"$file\";; esac; done",
        log = log.display()
    );
    let tool = tool(folder.path(), &script);
    for _ in 0..2 {
        let made: Vec<_> = tool.pictures(key_frame()).await.unwrap().into_iter().map(|(picture, _)| picture).collect();
        assert_eq!(made, [Picture::Jpeg, Picture::SmallJpeg]);
    }
    let tries = fs::read_to_string(&log).unwrap().lines().filter(|line| line.contains("libwebp")).count();
    assert_eq!(tries, 1, "it is not asked for it again");
}
