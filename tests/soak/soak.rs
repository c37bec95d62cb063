//! One run: everything up, the load and the faults, everything up again, the checks.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::process::Signal;
use sqlx::PgPool;
use tokio::{sync::Mutex, task::JoinSet, time::sleep};

use crate::{
    Settings,
    checks::{self, Findings},
    clients::{Client, Stage, until},
    dice::Dice,
    leash::Leash,
    nodes::{self, Node, Nodes},
    schedule::{Deed, Fault, Victim, schedule},
    servers::{Nats, Postgres},
    subscriber::Subscriber,
};

/// How many accounts give commands; each is used by two clients at once, so that they get into each other's way.
const ACCOUNTS: u64 = 3;
/// How many commands are acknowledged for each fault at the least.
const LEAST_BETWEEN: usize = 3;
/// Without an event for so long nothing is left to do.
const QUIET: Duration = Duration::from_secs(1);
const TOLD_EVERY: Duration = Duration::from_secs(15);

/// What is done to a victim, and how often it was.
type Hits = BTreeMap<(String, Deed), usize>;

pub async fn run(settings: Settings) {
    let Settings { kills, seed, limit } = settings;
    eprintln!("soak: {kills} faults by seed {seed}");
    let began = Instant::now();
    let faults = schedule(seed, kills);
    let folder = Folder::new(seed, kills, &faults);
    match Box::pin(soak(&folder.path, seed, &faults, limit)).await {
        Ok((findings, summary)) if findings.is_empty() => {
            eprintln!("soak: nothing found in {:.0} s; {summary}", began.elapsed().as_secs_f64());
            folder.remove();
        }
        Ok((findings, summary)) => {
            let findings = findings.join("\n  ");
            panic!("seed {seed}: {summary}; found:\n  {findings}");
        }
        Err(error) => panic!("seed {seed}: it could not be run to its end: {error:?}"),
    }
}

/// Where all of it lives; kept, and told of, unless all went well.
struct Folder {
    path: PathBuf,
    seed: u64,
    kills: usize,
    schedule: String,
}

impl Folder {
    fn new(seed: u64, kills: usize, faults: &[Fault]) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder =
            tempfile::Builder::new().prefix("weir-soak-").tempdir_in(embedded::testing::temporary_folder()).unwrap();
        // Postgres, under another account, must pass through.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let schedule: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let schedule = schedule.join("\n");
        fs::write(folder.path().join("schedule"), &schedule).unwrap();
        Self { path: folder.keep(), seed, kills, schedule }
    }

    fn remove(self) {
        drop(fs::remove_dir_all(&self.path));
        std::mem::forget(self);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let Self { path, seed, kills, schedule } = self;
        eprintln!("---- the schedule ----\n{schedule}\n----");
        eprintln!("logs and data are kept in {}", path.display());
        eprintln!("once more: WEIR_SOAK_SEED={seed} WEIR_SOAK_KILLS={kills} cargo test --test soak");
    }
}

async fn soak(
    folder: &Path,
    seed: u64,
    faults: &[Fault],
    limit: Option<Duration>,
) -> anyhow::Result<(Vec<String>, String)> {
    let leash = Arc::new(Leash::new(folder)?);
    let postgres = Postgres::start(folder).await.context("Postgres does not start")?;
    let nats = Nats::start(folder, &leash).await.context("NATS does not start")?;
    let (database_url, nats_url) = (postgres.url.clone(), nats.url.clone());
    let program = nodes::install(folder)?;
    let nodes = Nodes::start(&program, folder, &database_url, &nats_url, &leash)?;
    all_ready(&nodes.http).await?;

    let stage =
        Arc::new(Stage { http: nodes.http.clone(), ledger: Default::default(), is_over: AtomicBool::new(false) });
    let token = setup_token(&program, folder, &database_url)?;
    let keeper = Client::register(&stage, "keeper", Dice::of(seed, 1), Some(token.trim())).await?;
    let subscriber = Subscriber::start(nodes.http.clone(), keeper.account(), Dice::of(seed, 2));
    let mut working = JoinSet::new();
    for number in 0..ACCOUNTS {
        let name = format!("mira{number}");
        let client = Client::register(&stage, &name, Dice::of(seed, 100 + number), None).await?;
        working.spawn(client.companion(Dice::of(seed, 200 + number), format!("{name}b")).work());
        working.spawn(client.work());
    }
    working.spawn(keeper.work());
    let before = stage.ledger.acknowledged();

    let world = World { postgres: Mutex::new(postgres), nats: Mutex::new(nats), nodes, leash };
    let world = Arc::new(world);
    let began = Instant::now();
    let hits = world.hit(faults, seed, limit, &stage).await?;
    let hit_for = began.elapsed();
    let meanwhile = stage.ledger.acknowledged() - before;
    let done = hits.values().sum::<usize>();

    let mut findings = Findings::new();
    stage.is_over.store(true, Ordering::Relaxed);
    while let Some(client) = working.join_next().await {
        client.context("a client failed")?;
    }
    all_ready(&world.nodes.http).await?;
    // It works again: what is done now can be read at once, at both nodes.
    let mut late = Client::register(&stage, "late", Dice::of(seed, 3), None).await?;
    for _ in 0..4 {
        late.create_channel().await;
    }
    let pool = PgPool::connect(&database_url).await?;
    let mut head = settled(&pool, &nats_url, &subscriber).await?;
    // What follows the log and acts may have been at it meanwhile.
    while head != settled(&pool, &nats_url, &subscriber).await? {
        head = settled(&pool, &nats_url, &subscriber).await?;
    }
    // The world holds still while it is looked at.
    let mut told = subscriber.told();
    findings.expect(!subscriber.has_ended(), || "the subscriber has ended".to_owned());
    drop(subscriber);
    world.nodes.shutdown().await?.into_iter().for_each(|finding| findings.add(finding));

    let secrets = folder.join("secrets.toml");
    let events = checks::all(&pool, &nats_url, &secrets, &stage.ledger, &told, &mut findings).await?;
    stage.ledger.complaints().into_iter().chain(world.nodes.complaints()).for_each(|finding| findings.add(finding));
    overlap(&hits, faults.len(), done, meanwhile, &mut findings);
    let compared = operate(&program, folder, &database_url, &["projections", "rebuild", "all", "--dry-run"])?;
    findings.expect(compared.status.success(), || {
        format!("the operator is told: {}", String::from_utf8_lossy(&compared.stderr))
    });

    let summary = stage.ledger.summary();
    if findings.is_empty() {
        let mut found = Findings::new();
        checks::sabotage::harm(&pool, &nats_url, &stage.ledger, &mut told).await?;
        checks::all(&pool, &nats_url, &secrets, &stage.ledger, &told, &mut found).await?;
        checks::sabotage::missed(found).into_iter().for_each(|finding| findings.add(finding));
    }

    let mut ended = Vec::new();
    for node in &world.nodes.all {
        let node = node.lock().await;
        if node.ended_by_itself > 0 {
            ended.push(format!("{} {}", node.name, node.ended_by_itself));
        }
    }
    let summary = format!(
        "{done} faults in {:.0} s, meanwhile {meanwhile} commands acknowledged; {events} events; {}; slowest answer \
         {:.1} s; ended by themselves: {}",
        hit_for.as_secs_f64(),
        summary,
        stage.ledger.slowest().as_secs_f64(),
        if ended.is_empty() { "none".to_owned() } else { ended.join(", ") },
    );
    pool.close().await;
    world.postgres.lock().await.shutdown().await;
    Ok((findings.into_vec(), summary))
}

/// The load went on through it, and nobody was spared.
fn overlap(hits: &Hits, planned: usize, done: usize, meanwhile: usize, findings: &mut Findings) {
    findings.expect(meanwhile >= LEAST_BETWEEN * done, || {
        format!("only {meanwhile} commands were acknowledged during {done} faults: too few to mean anything")
    });
    // A round of the schedule has every kind.
    let kinds: Vec<_> = schedule(0, 100).iter().map(Fault::kind).collect();
    if planned >= 100 && done == planned {
        for kind in kinds {
            findings.expect(hits.contains_key(&kind), || format!("never done: {kind:?}"));
        }
    }
}

struct World {
    postgres: Mutex<Postgres>,
    nats: Mutex<Nats>,
    nodes: Nodes,
    leash: Arc<Leash>,
}

impl World {
    /// Does what is planned, and waits until everybody is up again. How often what was done.
    async fn hit(
        self: &Arc<Self>,
        faults: &[Fault],
        seed: u64,
        limit: Option<Duration>,
        stage: &Stage,
    ) -> anyhow::Result<Hits> {
        let mut under_way = JoinSet::new();
        let mut hits = Hits::new();
        let before = stage.ledger.acknowledged();
        let began = Instant::now();
        let mut told = began;
        for (number, fault) in (1_u64..).zip(faults) {
            if limit.is_some_and(|limit| began.elapsed() > limit) {
                eprintln!("soak: the time is over after {} faults", number - 1);
                break;
            }
            sleep(Duration::from_millis(fault.after_ms)).await;
            // On a slow machine the load needs longer to go on between them.
            goes_on(stage, before, number - 1).await?;
            let (world, fault) = (Arc::clone(self), fault.clone());
            // Several may be away at once; one who is away is hit again once it is back.
            under_way.spawn(async move {
                let done = world.commit(&fault, Dice::of(seed, 1_000 + number)).await;
                done.with_context(|| format!("fault {number} failed: {fault}")).map(|done| done.then(|| fault.kind()))
            });
            while let Some(done) = under_way.try_join_next() {
                if let Some(kind) = done.context("a fault panicked")?? {
                    *hits.entry(kind).or_default() += 1;
                }
            }
            if told.elapsed() > TOLD_EVERY {
                told = Instant::now();
                let elapsed = began.elapsed().as_secs();
                eprintln!("soak: {number} faults in {elapsed} s; {} acknowledged", stage.ledger.acknowledged());
            }
        }
        while let Some(done) = under_way.join_next().await {
            if let Some(kind) = done.context("a fault panicked")?? {
                *hits.entry(kind).or_default() += 1;
            }
        }
        goes_on(stage, before, faults.len() as u64).await?;
        Ok(hits)
    }

    /// Does it, and whether there was anybody to do it to.
    async fn commit(&self, fault: &Fault, mut dice: Dice) -> anyhow::Result<bool> {
        let away = fault.away();
        match (fault.victim, fault.deed) {
            (Victim::Node(place), Deed::Stop) => self.node(place).await.stop_for(away).await?,
            (Victim::Node(place), _) => self.node(place).await.kill(away).await?,
            (Victim::Postgres, Deed::Kill) => self.postgres.lock().await.kill().await?,
            (Victim::Postgres, Deed::KillSession) => return self.postgres.lock().await.kill_session(&mut dice).await,
            (Victim::Postgres, Deed::Stop) => self.postgres.lock().await.stop_for(away).await?,
            (Victim::Postgres, Deed::Restart) => self.postgres.lock().await.restart(away).await?,
            (Victim::Nats, Deed::Stop) => self.nats.lock().await.stop_for(away).await?,
            (Victim::Nats, Deed::Restart) => self.nats.lock().await.end(Signal::TERM, away, &self.leash).await?,
            (Victim::Nats, _) => self.nats.lock().await.end(Signal::KILL, away, &self.leash).await?,
        }
        Ok(true)
    }

    async fn node(&self, place: usize) -> tokio::sync::MutexGuard<'_, Node> {
        self.nodes.all[place].lock().await
    }
}

/// Waits until so many commands were acknowledged since there were `before` of them that so many faults mean something.
async fn goes_on(stage: &Stage, before: usize, faults: u64) -> anyhow::Result<()> {
    let wanted = before + LEAST_BETWEEN * usize::try_from(faults)?;
    until("commands are acknowledged", async || stage.ledger.acknowledged() >= wanted).await
}

async fn all_ready(http: &[String]) -> anyhow::Result<()> {
    for address in http {
        let is_ready = async || {
            let asked = reqwest::get(format!("{address}/readyz")).await;
            asked.is_ok_and(|answer| answer.status().is_success())
        };
        until(&format!("{address} is ready"), is_ready).await?;
    }
    Ok(())
}

/// Waits until everybody who follows the log has come to its end.
async fn settled(pool: &PgPool, nats_url: &str, subscriber: &Subscriber) -> anyhow::Result<i64> {
    sleep(QUIET).await;
    let left = "with erased as (select aggregate_id as id from log.events where event_type = 'account.erased')
        select (select count(*) from log.events created join erased on erased.id = payload -> 'Created' ->> 'owner_id'
                where event_type = 'channel.created' and not exists (select from log.events closed
                    where closed.aggregate_id = created.aggregate_id and closed.event_type = 'channel.closed'))
            + (select count(*) from log.keys join erased on erased.id = account_id::text where wrapped is not null)
            + (select count(*) from log.vault join erased on erased.id = aggregate_id)
            + (select count(*) from log.sessions join erased on erased.id = account_id::text where end_reason is null)
            + (select count(*) from log.commands join erased on 'account:' || erased.id = actor)";
    until("what erased people have left goes, too", async || {
        sqlx::query_scalar(left).fetch_one(pool).await.is_ok_and(|left: i64| left == 0)
    })
    .await?;
    let head: i64 = sqlx::query_scalar("select position from log.head").fetch_one(pool).await?;
    let count = projections::ALL.len() as i64;
    until(&format!("all read models are at {head}"), async || {
        let there = sqlx::query_scalar("select count(*) from read.checkpoints where position >= $1");
        there.bind(head).fetch_one(pool).await.is_ok_and(|there: i64| there == count)
    })
    .await?;
    let jetstream = async_nats::jetstream::new(async_nats::connect(nats_url).await?);
    until(&format!("the stream is at {head}"), async || {
        let last = async {
            let mut stream = jetstream.get_stream(commands::relay::STREAM).await.ok()?;
            let sequence = stream.info().await.ok()?.state.last_sequence;
            let last = stream.get_raw_message(sequence).await.ok()?;
            last.headers.get(commands::relay::POSITION_HEADER)?.as_str().parse::<i64>().ok()
        };
        last.await.is_some_and(|last| last >= head)
    })
    .await?;
    until(&format!("the subscriber was told of {head}"), async || subscriber.position() >= head).await?;
    Ok(head)
}

/// As an operator asks for it.
fn setup_token(program: &Path, folder: &Path, database_url: &str) -> anyhow::Result<String> {
    let output = operate(program, folder, database_url, &["setup-token"])?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// A command of an operator.
fn operate(program: &Path, folder: &Path, database_url: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(program);
    command.args(arguments).arg("--data-dir").arg(folder.join("operator"));
    command.args(["--database-url", database_url, "--secrets-file"]).arg(folder.join("secrets.toml"));
    Ok(command.output()?)
}
