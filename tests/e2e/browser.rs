//! Chromium plays it: the web app's own specs (frontend/e2e) against the real binary.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    api::{Caller, PASSWORD},
    encoder::{Encoder, Shape},
    enhanced::Av1Encoder,
    thread::{channel_when, on_air},
    weir::{DataDir, Weir},
};

/// How long a file of specs may take: each of them has its own limits, which are told better than this one.
const LONGEST: Duration = Duration::from_secs(45 * 60);

/// One spec at a time: a browser that decodes video takes a processor, and two of them leave none to the encoders.
struct Turn;

static IS_TAKEN: Mutex<bool> = Mutex::new(false);
static IS_FREE: Condvar = Condvar::new();

impl Turn {
    fn wait() -> Self {
        let is_taken = IS_TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        *IS_FREE.wait_while(is_taken, |is_taken| *is_taken).unwrap_or_else(PoisonError::into_inner) = true;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *IS_TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = false;
        IS_FREE.notify_one();
    }
}

/// A spec that runs; its output goes where the test's goes.
pub struct Spec {
    child: Child,
    /// Until the browser is gone.
    _turn: Turn,
}

impl Spec {
    /// Runs one, or several with spaces between, in the order of their names.
    pub fn run(names: &str, weir: &Weir, environment: &[(&str, &str)]) -> Self {
        Self::run_at(names, &weir.http, names, environment)
    }

    /// At an address, under a name of its own among those that run side by side.
    fn run_at(names: &str, http: &str, own_name: &str, environment: &[(&str, &str)]) -> Self {
        let frontend = Path::new(env!("CARGO_MANIFEST_DIR")).join("frontend");
        let playwright = frontend.join("node_modules/.bin/playwright");
        assert!(playwright.exists(), "the web app's packages are not installed; run: make test");
        let turn = Turn::wait();
        let child = Command::new(playwright)
            .arg("test")
            .args(names.split(' '))
            // Specs run side by side, and each empties its folder.
            .arg("--output")
            .arg(
                Path::new(env!("CARGO_TARGET_TMPDIR"))
                    .join(format!("playwright-{}", own_name.replace(['.', ' ', '/'], "-"))),
            )
            .current_dir(&frontend)
            .env("WEIR_URL", http)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, _turn: turn }
    }

    pub async fn passes(mut self) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "the spec failed; what it printed is above");
                return;
            }
            assert!(began.elapsed() < LONGEST, "the spec does not end");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Spec {
    fn drop(&mut self) {
        // Told to stop it ends its browser, too, which nobody else would.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
            let began = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < Duration::from_secs(30) {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamer_gets_going_and_viewers_watch_as_they_choose() {
    let folder = DataDir::new();
    // It may take all there is: on a slow machine it would not be made of the usual share.
    let ladder = ["--ladder-rungs", "180p:180:30:200", "--ladder-cpu-percent", "100"];
    let weir = Weir::up_with(&folder, &[&Weir::ANYWHERE[..], &ladder].concat());
    Spec::run("streamer.spec.ts", &weir, &[]).passes().await;
    let streamer = Caller::register(&weir.http, "streamer", None).await;
    let key = streamer.channel("river").await;
    let (encoder, _) = on_air(&streamer, "river", &weir.rtmp, &key).await;
    Spec::run("/watch.spec.ts dash.spec.ts", &weir, &[("WEIR_CHANNEL", "river")]).passes().await;
    let as_owner = [("WEIR_CHANNEL", "river"), ("WEIR_USERNAME", "streamer"), ("WEIR_PASSWORD", PASSWORD)];
    Spec::run("choices.spec.ts", &weir, &as_owner).passes().await;
    encoder.stop();
    // On a slow machine the session of before is too old by now to be shown a key.
    let streamer = Caller::sign_in(&weir.http, "streamer").await;
    // A codec that most encoders do not know yet: Chromium plays it as it came.
    let key = streamer.channel("spring").await;
    let av1 = Av1Encoder::publish(&weir.rtmp, &key);
    channel_when(&streamer, "spring", true).await;
    let codecs = [("WEIR_CHANNEL", "spring"), ("WEIR_VIDEO_CODEC", "av01")];
    Spec::run("codec.spec.ts", &weir, &codecs).passes().await;
    drop(av1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_shows_the_picture_again() {
    let folder = DataDir::new();
    let mut weir = Weir::up(&folder);
    let streamer = Caller::register(&weir.http, "streamer", None).await;
    let key = streamer.channel("river").await;
    let (encoder, _) = on_air(&streamer, "river", &weir.rtmp, &key).await;

    let (state, mut spec) = watch(&weir, "lost-encoder");
    reaches(&state, &mut spec, "playing").await;
    encoder.kill();
    reaches(&state, &mut spec, "interrupted").await;
    let mut encoder = Encoder::publish(&weir.rtmp, &key);
    comes_back(&state, &mut spec, &mut encoder).await;
    spec.passes().await;

    let (state, mut spec) = watch(&weir, "killed-weir");
    reaches(&state, &mut spec, "playing").await;
    weir.kill();
    drop(encoder);
    reaches(&state, &mut spec, "interrupted").await;
    let weir = Weir::up_again(&folder, &weir);
    let mut encoder = Encoder::publish(&weir.rtmp, &key);
    comes_back(&state, &mut spec, &mut encoder).await;
    spec.passes().await;
    encoder.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_goes_on_whatever_the_encoder_comes_back_with() {
    let comebacks = [
        Shape { size: "1280x720", frame_rate: "24", ..Shape::USUAL },
        Shape { size: "854x480", frame_rate: "50", profile: "high", sound_hz: "44100", channels: "2" },
        Shape::USUAL,
    ];
    let folder = DataDir::new();
    // The source alone: what is shown is what came.
    let alone = ["--ladder-enabled", "false", "--reconnect-grace-seconds", "600"];
    let weir = Weir::up_with(&folder, &[&Weir::ANYWHERE[..], &alone].concat());
    let streamer = Caller::register(&weir.http, "streamer", None).await;
    let key = streamer.channel("river").await;
    let (mut encoder, channel) = on_air(&streamer, "river", &weir.rtmp, &key).await;
    let stream = &channel["live_stream_id"];

    let sizes = comebacks.map(|shape| shape.size).join(" ");
    let (state, mut spec) = follow("comeback.spec.ts", &weir, "another-size", &[("WEIR_SIZES", &sizes)]);
    reaches(&state, &mut spec, "playing").await;
    for shape in comebacks {
        encoder.kill();
        reaches(&state, &mut spec, &format!("away {}", shape.size)).await;
        encoder = Encoder::publish_as(&weir.rtmp, &key, shape);
        reaches_by(&state, &mut spec, &format!("back {}", shape.size), &mut encoder).await;
    }
    spec.passes().await;
    assert_eq!(channel_when(&streamer, "river", true).await["live_stream_id"], *stream, "it is one stream");
    encoder.stop();
}

/// A watch page that is left open, and the file in which its spec says how it is.
fn watch(weir: &Weir, name: &str) -> (std::path::PathBuf, Spec) {
    follow("watch-resume.spec.ts", weir, name, &[])
}

/// The same with another spec, and what that takes besides.
fn follow(spec: &str, weir: &Weir, name: &str, more: &[(&str, &str)]) -> (std::path::PathBuf, Spec) {
    let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("watch-resume-{name}"));
    drop(fs::remove_file(&state));
    let file = state.to_str().unwrap().to_owned();
    let environment = [&[("WEIR_CHANNEL", "river"), ("WEIR_RESUME_STATE", file.as_str())], more].concat();
    let spec = Spec::run(spec, weir, &environment);
    (state, spec)
}

/// A watch page that is left open at an address, as [`watch`] has it.
pub fn watch_at(http: &str, name: &str) -> (PathBuf, Spec) {
    let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("watch-resume-{name}"));
    drop(fs::remove_file(&state));
    let environment = [("WEIR_CHANNEL", "river"), ("WEIR_RESUME_STATE", state.to_str().unwrap())];
    let spec = Spec::run_at("watch-resume.spec.ts", http, name, &environment);
    (state, spec)
}

pub async fn reaches(state: &Path, spec: &mut Spec, wanted: &str) {
    reaches_while(state, spec, wanted, || {}).await;
}

/// The same by an encoder that tries again and again.
async fn reaches_by(state: &Path, spec: &mut Spec, wanted: &str, encoder: &mut Encoder) {
    reaches_while(state, spec, wanted, || encoder.insist()).await;
}

async fn reaches_while(state: &Path, spec: &mut Spec, wanted: &str, mut meanwhile: impl FnMut()) {
    let began = Instant::now();
    loop {
        meanwhile();
        // It may end as soon as it has said so.
        let has_ended = spec.has_ended();
        let told = fs::read_to_string(state).unwrap_or_default();
        if told.lines().any(|line| line == wanted) {
            return;
        }
        assert!(!has_ended, "the spec ended too early; what it printed is above");
        assert!(began.elapsed() < LONGEST, "the page is not {wanted}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The encoder is back from now on; so must the picture be. How soon is printed.
pub async fn comes_back(state: &Path, spec: &mut Spec, encoder: &mut Encoder) {
    let began = Instant::now();
    reaches_by(state, spec, "resumed", encoder).await;
    println!("the picture was back {:.1} s after the encoder", began.elapsed().as_secs_f64());
}
