//! Chromium plays it: the web app's own specs (frontend/e2e) against the real binary.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    api::{Caller, PASSWORD},
    encoder::Encoder,
    enhanced::Av1Encoder,
    thread::channel_when,
    weir::{DataDir, PATIENCE, Weir, eventually},
};

/// How long the picture may stay away once the encoder is back.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// A spec that runs; its output goes where the test's goes.
pub struct Spec(Child);

impl Spec {
    /// Runs one, or several with spaces between, in the order of their names.
    pub fn run(names: &str, weir: &Weir, environment: &[(&str, &str)]) -> Self {
        let frontend = Path::new(env!("CARGO_MANIFEST_DIR")).join("frontend");
        let playwright = frontend.join("node_modules/.bin/playwright");
        assert!(playwright.exists(), "the web app's packages are not installed; run: make test");
        let child = Command::new(playwright)
            .arg("test")
            .args(names.split(' '))
            // Specs run side by side, and each empties its folder.
            .arg("--output")
            .arg(
                Path::new(env!("CARGO_TARGET_TMPDIR"))
                    .join(format!("playwright-{}", names.replace(['.', ' ', '/'], "-"))),
            )
            .current_dir(&frontend)
            .env("WEIR_URL", &weir.http)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    pub async fn passes(mut self) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                assert!(status.success(), "the spec failed; what it printed is above");
                return;
            }
            assert!(began.elapsed() < PATIENCE * 5, "the spec does not end");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Spec {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamer_gets_going_and_viewers_watch_as_they_choose() {
    let folder = DataDir::new();
    let weir = Weir::up_with(&folder, &[&Weir::ANYWHERE[..], &["--ladder-rungs", "180p:180:30:200"]].concat());
    Spec::run("streamer.spec.ts", &weir, &[]).passes().await;
    let streamer = Caller::register(&weir.http, "streamer", None).await;
    let key = streamer.channel("river").await;
    let encoder = Encoder::publish(&weir.rtmp, &key);
    channel_when(&streamer, "river", true).await;
    Spec::run("/watch.spec.ts dash.spec.ts", &weir, &[("WEIR_CHANNEL", "river")]).passes().await;
    let as_owner = [
        ("WEIR_CHANNEL", "river"),
        ("WEIR_TOKEN", streamer.token()),
        ("WEIR_USERNAME", "streamer"),
        ("WEIR_PASSWORD", PASSWORD),
    ];
    Spec::run("choices.spec.ts", &weir, &as_owner).passes().await;
    encoder.stop();
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
    let encoder = Encoder::publish(&weir.rtmp, &key);
    channel_when(&streamer, "river", true).await;

    let (state, mut spec) = watch(&weir, "lost-encoder");
    reaches(&state, &mut spec, "playing").await;
    encoder.kill();
    reaches(&state, &mut spec, "interrupted").await;
    let encoder = Encoder::publish(&weir.rtmp, &key);
    comes_back(&state, &mut spec).await;
    spec.passes().await;

    let (state, mut spec) = watch(&weir, "killed-weir");
    reaches(&state, &mut spec, "playing").await;
    weir.kill();
    drop(encoder);
    reaches(&state, &mut spec, "interrupted").await;
    let weir = Weir::up_again(&folder, &weir);
    let encoder = Encoder::publish(&weir.rtmp, &key);
    comes_back(&state, &mut spec).await;
    spec.passes().await;
    encoder.stop();
}

/// A watch page that is left open, and the file in which its spec says how it is.
fn watch(weir: &Weir, name: &str) -> (std::path::PathBuf, Spec) {
    let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("watch-resume-{name}"));
    drop(fs::remove_file(&state));
    let file = state.to_str().unwrap().to_owned();
    let spec = Spec::run("watch-resume.spec.ts", weir, &[("WEIR_CHANNEL", "river"), ("WEIR_RESUME_STATE", &file)]);
    (state, spec)
}

async fn reaches(state: &Path, spec: &mut Spec, wanted: &str) {
    eventually(&format!("the page is {wanted}"), async || {
        assert!(!spec.has_ended(), "the spec ended too early; what it printed is above");
        (fs::read_to_string(state).ok()? == wanted).then_some(())
    })
    .await;
}

/// The encoder is back from now on; so must the picture be, soon. The spec itself knows no clock but its own patience.
async fn comes_back(state: &Path, spec: &mut Spec) {
    let began = Instant::now();
    eventually("the picture is back", async || {
        let is_back = fs::read_to_string(state).ok()? == "resumed";
        (is_back || spec.has_ended()).then_some(())
    })
    .await;
    let away = began.elapsed();
    assert!(away < BACK_WITHIN, "the picture was back {away:?} after the encoder");
}
