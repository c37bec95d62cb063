//! What is live somewhere, watched for long: each second all its playlists, by the checker of the packager's own tests,
//! and every segment's decode times; its manifest in the same way; and by one who waits for each part.
//!
//! It knows only the standard library, as the checkers do, and takes nothing but addresses. [`crate::media`] starts a Weir
//! and sends it what is to be watched; by itself it watches one that runs already, built as it will be used.

mod fetch;
#[path = "../../ingest/tests/support/fragments.rs"]
mod fragments;
#[path = "../../ingest/tests/support/manifest.rs"]
mod manifest;
mod manifests;
#[path = "../../ingest/tests/support/playlist.rs"]
mod playlist;
mod waiting;

use std::{
    collections::BTreeMap,
    fs,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use fetch::{get, text};
use fragments::{AUDIO, Run, VIDEO};
use manifests::Manifests;
use playlist::MediaPlaylist;
use waiting::Waiting;

use crate::setting;

/// How much more memory may be in use in the last quarter than in the second one, in per cent.
const GROWTH_PERCENT: u64 = 15;
/// Of fewer samples nothing is concluded.
const SAMPLES_MIN: usize = 48;
const SAMPLED_EVERY: Duration = Duration::from_secs(10);

/// What somebody who watched says.
pub struct Report {
    pub told: String,
    /// Whether there was anything to be judged.
    pub has_seen: bool,
    pub findings: Vec<String>,
}

/// One master playlist and all that it leads to.
struct Watch {
    master: String,
    renditions: BTreeMap<String, Rendition>,
    listed: Vec<String>,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    looks: u64,
    playlists: u64,
    deltas: u64,
    segments: u64,
    /// Gone before this looked again: the machine was too busy for a look each second.
    missed: u64,
    bytes: u64,
    /// Of those at the far end of what is listed.
    old: u64,
    /// How far the sound's end was behind the picture's in one segment, in milliseconds: least and most.
    sound_behind_ms: Option<(i64, i64)>,
    findings: Vec<String>,
}

/// What was seen of one rendition.
#[derive(Default)]
struct Rendition {
    last: Option<MediaPlaylist>,
    /// The last segment that was read.
    number: Option<u64>,
    /// Where each track's decode times have come to, by the address of the initialisation segment that they go with.
    ends: BTreeMap<u32, u64>,
    init: String,
    timescales: BTreeMap<u32, u64>,
}

#[test]
#[ignore = "it watches a Weir that is live, for an hour: make soak LIVE=<address of index.m3u8>"]
fn what_is_live_is_valid_at_each_second() {
    let addresses = std::env::var("WEIR_SOAK_LIVE").expect("WEIR_SOAK_LIVE has addresses of playlists and manifests");
    let minutes = setting("WEIR_SOAK_MINUTES").unwrap_or(60);
    let addresses = addresses.split_whitespace().map(str::to_owned).collect();
    watch(addresses, Duration::from_secs(60 * minutes), setting("WEIR_SOAK_PID"));
}

/// Watches all that is at `addresses` for so long, and the memory of a process; fails for what was found.
pub fn watch(addresses: Vec<String>, length: Duration, process: Option<u64>) {
    let until = Instant::now() + length;
    let watching: Vec<_> = addresses.into_iter().flat_map(|address| watchers(address, until)).collect();
    let mut used_kib = Vec::new();
    let mut next = Instant::now();
    while next < until {
        used_kib.extend(process.and_then(proportional_kib));
        next += SAMPLED_EVERY;
        thread::sleep(next.min(until).saturating_duration_since(Instant::now()));
    }
    let mut all_well = true;
    for watching in watching {
        let Report { told, has_seen, findings } = watching.join().expect("who watches does not panic");
        println!("{told}, {} findings", findings.len());
        all_well &= has_seen && findings.is_empty();
    }
    println!("memory in KiB (PSS), each {} s: {used_kib:?}", SAMPLED_EVERY.as_secs());
    assert!(all_well, "what was found is above");
    let quarter = used_kib.len() / 4;
    let most = |samples: &[u64]| samples.iter().max().copied().unwrap_or(0);
    let (early, late) = (most(&used_kib[quarter..2 * quarter]), most(&used_kib[3 * quarter..]));
    println!("memory, at most: {early} KiB in the second quarter, {late} KiB in the last");
    let is_flat = late * 100 <= early * (100 + GROWTH_PERCENT);
    assert!(used_kib.len() < SAMPLES_MIN || is_flat, "{early} KiB became {late} KiB");
}

/// Who looks at an address: of a playlist of what is live also one who waits for each part.
fn watchers(address: String, until: Instant) -> Vec<JoinHandle<Report>> {
    if address.ends_with(".mpd") {
        return vec![thread::spawn(move || Manifests::new(&address).look_until(until))];
    }
    let watch = Watch::new(&address);
    let mut watching = vec![thread::spawn(move || watch.look_until(until))];
    if address.ends_with("/index.m3u8") {
        let waiting = Waiting::new(&address).unwrap_or_else(|error| panic!("{error}"));
        watching.push(thread::spawn(move || waiting.follow_until(until)));
    }
    watching
}

impl Watch {
    fn new(master: &str) -> Self {
        Self { master: master.to_owned(), renditions: BTreeMap::new(), listed: Vec::new(), tally: Tally::default() }
    }

    fn look_until(mut self, until: Instant) -> Report {
        let mut next = Instant::now();
        while next < until {
            let before = self.tally.findings.len();
            if let Err(error) = self.look() {
                self.tally.findings.push(error);
            }
            for finding in &self.tally.findings[before..] {
                println!("{} look {}: {finding}", self.master, self.tally.looks);
            }
            next = (next + Duration::from_secs(1)).max(Instant::now());
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let Self { master, tally, .. } = self;
        let told = format!(
            "{master}: {} looks, {} playlists, {} delta updates, {} segments of {} MB, {} missed, {} old ones, sound behind the picture {:?} ms",
            tally.looks,
            tally.playlists,
            tally.deltas,
            tally.segments,
            tally.bytes / 1_000_000,
            tally.missed,
            tally.old,
            tally.sound_behind_ms,
        );
        Report { told, has_seen: tally.segments > 0, findings: tally.findings }
    }

    fn look(&mut self) -> Result<(), String> {
        self.tally.looks += 1;
        let listed = self.ask_what_is_listed()?;
        if listed != self.listed {
            println!("{} look {}: it lists {listed:?}", self.master, self.tally.looks);
            self.listed.clone_from(&listed);
        }
        self.renditions.retain(|name, _| listed.contains(name));
        let folder = self.master.rsplit_once('/').expect("an address has a path").0.to_owned();
        for name in &listed {
            let mut rendition = self.renditions.remove(name).unwrap_or_default();
            let looked = rendition.look(&format!("{folder}/{name}"), &mut self.tally);
            if let Some(own) = &rendition.last {
                let source = listed.first().and_then(|source| self.renditions.get(source)?.last.as_ref());
                let findings = source.map(|source| own.findings_beside(source)).unwrap_or_default();
                self.tally.findings.extend(findings.into_iter().map(|finding| format!("{name}: {finding}")));
            }
            self.renditions.insert(name.clone(), rendition);
            // A rendition may be given up between two questions; then it is not listed any more.
            if let Err(error) = looked
                && self.ask_what_is_listed()?.contains(name)
            {
                return Err(format!("{name}: {error}"));
            }
        }
        Ok(())
    }

    fn ask_what_is_listed(&self) -> Result<Vec<String>, String> {
        let master = text(&self.master)?;
        Ok(master.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect())
    }
}

impl Rendition {
    fn look(&mut self, address: &str, tally: &mut Tally) -> Result<(), String> {
        let whole = text(address)?;
        let delta = text(&format!("{address}?_HLS_skip=YES"))?;
        let is_of_same_moment = text(address)? == whole;
        let playlist = MediaPlaylist::parse(&whole)?;
        let mut findings = playlist.findings();
        let mut delta = MediaPlaylist::parse(&delta)?;
        // Each text has the others' positions of when it was first asked for.
        delta.reports.clone_from(&playlist.reports);
        if is_of_same_moment && delta.skipped_segments > 0 {
            tally.deltas += 1;
            findings.extend(delta.findings_of_delta(&playlist));
        }
        if let Some(earlier) = &self.last {
            findings.extend(playlist.findings_after(earlier));
            tally.playlists += u64::from(earlier != &playlist);
        }
        tally.findings.extend(findings.into_iter().map(|finding| format!("{address}: {finding}\n{whole}")));
        let folder = address.rsplit_once('/').expect("an address has a path").0;
        let newest = playlist.complete().next_back().map(|segment| segment.number);
        let first = self.number.map(|number| number + 1).or(newest);
        if let Some(missed) =
            first.and_then(|first| playlist.media_sequence.checked_sub(first)).filter(|missed| *missed > 0)
        {
            tally.missed += missed;
            self.ends.clear();
        }
        for segment in playlist.complete().filter(|segment| Some(segment.number) >= first && !segment.is_gap) {
            if self.init != segment.init {
                self.timescales = fragments::timescales(&get(&format!("{folder}/{}", segment.init))?);
                self.init.clone_from(&segment.init);
                self.ends.clear();
            }
            let bytes = get(&format!("{folder}/{}", segment.uri.as_deref().unwrap_or_default()))?;
            tally.segments += 1;
            tally.bytes += bytes.len() as u64;
            self.go_on(&fragments::runs(&bytes), tally, address);
            self.number = Some(segment.number);
        }
        // What is about to go can still be had, now and then.
        if tally.looks.is_multiple_of(10)
            && let Some(oldest) = playlist.complete().find(|segment| !segment.is_gap)
        {
            let uri = oldest.uri.as_deref().unwrap_or_default();
            if let Ok(bytes) = get(&format!("{folder}/{uri}")) {
                tally.old += 1;
                if fragments::runs(&bytes).is_empty() {
                    tally.findings.push(format!("{address}: {uri} is empty"));
                }
            } else {
                tally.findings.push(format!("{address}: {uri} is listed, and is not there"));
            }
        }
        self.last = Some(playlist);
        Ok(())
    }

    /// Each track goes on where it ended, and the sound keeps with the picture.
    fn go_on(&mut self, runs: &[Run], tally: &mut Tally, address: &str) {
        for run in runs {
            if let Some(end) = self.ends.insert(run.track, run.end())
                && end != run.decode_time
            {
                let finding = format!("{address}: track {} goes on at {} and not at {end}", run.track, run.decode_time);
                tally.findings.push(finding);
            }
        }
        let end_ms = |track| Some((self.ends.get(&track)? * 1_000 / self.timescales.get(&track)?).cast_signed());
        if let (Some(picture_ms), Some(sound_ms)) = (end_ms(VIDEO), end_ms(AUDIO)) {
            let behind_ms = picture_ms - sound_ms;
            let (least, most) = tally.sound_behind_ms.unwrap_or((behind_ms, behind_ms));
            tally.sound_behind_ms = Some((least.min(behind_ms), most.max(behind_ms)));
        }
    }
}

/// The memory that is a process's share, in KiB; `None` when it is gone.
fn proportional_kib(process: u64) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
