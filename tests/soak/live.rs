//! What is live somewhere, watched for long: each second all its playlists, by the checker of the packager's own tests,
//! and every segment's decode times.
//!
//! It knows only the standard library, as the checker does, and takes nothing but addresses: the Weir is one that runs
//! already, built as it will be used.

#[path = "../../ingest/tests/support/fragments.rs"]
mod fragments;
#[path = "../../ingest/tests/support/playlist.rs"]
mod playlist;

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use fragments::{AUDIO, Run, VIDEO};
use playlist::MediaPlaylist;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much more memory may be in use in the last quarter than in the second one, in per cent.
const GROWTH_PERCENT: u64 = 15;

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
    let addresses = env::var("WEIR_SOAK_LIVE").expect("WEIR_SOAK_LIVE has addresses of master playlists");
    let minutes = setting("WEIR_SOAK_MINUTES").unwrap_or(60);
    let process: Option<u64> = setting("WEIR_SOAK_PID");
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    let watching: Vec<_> = addresses
        .split_whitespace()
        .map(|address| {
            let mut watch = Watch::new(address);
            thread::spawn(move || {
                watch.look_until(until);
                watch
            })
        })
        .collect();
    let mut used_kib = Vec::new();
    for minute in 0..minutes {
        used_kib.extend(process.and_then(proportional_kib));
        println!("minute {minute}: {} KiB in use (PSS)", used_kib.last().unwrap_or(&0));
        let next = until - Duration::from_secs(60 * (minutes - minute - 1));
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let mut all_well = true;
    for watch in watching {
        let Watch { master, tally, .. } = watch.join().unwrap();
        println!(
            "{master}: {} looks, {} playlists, {} delta updates, {} segments of {} MB, {} missed, sound behind the picture {:?} ms, {} findings",
            tally.looks,
            tally.playlists,
            tally.deltas,
            tally.segments,
            tally.bytes / 1_000_000,
            tally.missed,
            tally.sound_behind_ms,
            tally.findings.len(),
        );
        all_well &= tally.findings.is_empty() && tally.segments > 0;
    }
    println!("memory in KiB, each minute: {used_kib:?}");
    assert!(all_well, "what was found is above");
    let quarter = used_kib.len() / 4;
    let most = |samples: &[u64]| samples.iter().max().copied().unwrap_or(0);
    let (early, late) = (most(&used_kib[quarter..2 * quarter]), most(&used_kib[3 * quarter..]));
    assert!(quarter == 0 || late * 100 <= early * (100 + GROWTH_PERCENT), "{early} KiB became {late} KiB");
}

impl Watch {
    fn new(master: &str) -> Self {
        Self { master: master.to_owned(), renditions: BTreeMap::new(), listed: Vec::new(), tally: Tally::default() }
    }

    fn look_until(&mut self, until: Instant) {
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
    }

    fn look(&mut self) -> Result<(), String> {
        self.tally.looks += 1;
        let master = text(&self.master)?;
        let listed: Vec<String> =
            master.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect();
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
            looked.map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(())
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

fn text(address: &str) -> Result<String, String> {
    String::from_utf8(get(address)?).map_err(|error| format!("{address}: {error}"))
}

/// The body of an answer with 200.
fn get(address: &str) -> Result<Vec<u8>, String> {
    let (status, body) = fetch(address).map_err(|error| format!("{address}: {error}"))?;
    if status == 200 { Ok(body) } else { Err(format!("{address}: {status}")) }
}

/// By HTTP/1.0, in which an answer ends with its connection.
fn fetch(address: &str) -> io::Result<(u16, Vec<u8>)> {
    let address = address.strip_prefix("http://").expect("an address of plain HTTP");
    let (host, path) = address.split_once('/').expect("an address has a path");
    let mut connection = TcpStream::connect(host)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    write!(connection, "GET /{path} HTTP/1.0\r\nhost: {host}\r\n\r\n")?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    let body = answer.split_off(end + 4);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    if length.is_some_and(|length| length != body.len()) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((status, body))
}

/// The memory that is a process's share, in KiB; `None` when it is gone.
fn proportional_kib(process: u64) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text} is not a number: {error}")))
}
