//! The main job in one command: store, prove, damage, catch, heal, audit again, read back, compare.
//!
//! | file | does |
//! |---|---|
//! | [`content`] | what is stored, and chance from the seed |
//! | [`client`] | `put` and `get` as processes of their own |
//! | [`prove`] | waits for commitments and folds |
//! | [`victims`] | decides whom it hits |
//! | [`fault`] | does the damage |
//! | [`watch`] | watches verdicts and repairs |
//! | [`report`], [`table`], [`story`], [`stage`] | tells |
//!
//! Every step is checked, and the first that is not true ends the demo with its reason.

mod client;
mod content;
mod fault;
mod prove;
mod report;
mod stage;
mod story;
mod table;
mod victims;
mod watch;

use std::{fs, path::PathBuf, time::Duration};

use holdfast_client::{Client, ClientConfig, ClusterStatus, SegmentStat};
use holdfast_types::ObjectId;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::{
    cluster::{Cluster, Wanted},
    connect::{newest, wall},
    failure::Failure,
    output, process, show,
    signals::Signals,
};
use content::{Chance, Content};
use report::{After, Fault, Kind, Policy, Rate, Report, Worst};
use stage::Stage;
use story::Story;
use table::Times;
use victims::Victims;
use watch::Damage;

/// Audits and repairs of the profile `demo` take seconds; this is for machines that take their time.
const PATIENCE: Duration = Duration::from_secs(180);
/// Bytes a second that the slowest machine repairs and proves, for patience with large objects.
const SLOWEST: u64 = 2_000_000;

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) size: Option<u64>,
    pub(crate) seed: u64,
    pub(crate) keep: Option<PathBuf>,
    pub(crate) json: bool,
}

/// Runs the demo and prints its end.
pub(crate) fn run(request: Request) -> Result<(), Failure> {
    let json = request.json;
    let story = Story::begin(json);
    let mut report = Report::default();
    let played = play_on_one_thread(&request, &story, &mut report);
    report.ok = played.is_ok();
    report.error = played.as_ref().err().map(ToString::to_string);
    if json {
        output::object(&report)?;
    }
    match played {
        Ok(()) => {
            story.plain("\nEvery step was true.");
            Ok(())
        }
        // The object is the last line of standard output; nothing may follow it.
        Err(failure @ Failure::Usage(_)) if !json => Err(failure),
        Err(failure) => Err(Failure::Told(format!("the demo failed: {failure}"))),
    }
}

fn play_on_one_thread(request: &Request, story: &Story, report: &mut Report) -> Result<(), Failure> {
    let contents = Content::wanted(&request.files, request.size, request.seed)?;
    let (dir, temporary) = directory(request.keep.clone())?;
    // One thread: the kernel ends children with the thread that made them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let played = runtime.block_on(async {
        let signal = Signals::listen()?.first();
        let wanted = Wanted { profile: Some("demo".into()), ..Wanted::default() };
        let told = story.clone();
        let tell = move |text: &str| told.say("cluster", text);
        tokio::pin!(signal);
        story.say("cluster", &format!("starting one auditor and 16 nodes in {}", dir.display()));
        let mut cluster = tokio::select! {
            cluster = Cluster::start(&dir, &wanted, tell) => cluster?,
            () = &mut signal => return Err(Failure::Failed("interrupted".into())),
        };
        let played = tokio::select! {
            played = play(request, story, contents, &mut cluster, report) => played,
            () = &mut signal => Err(Failure::Failed("interrupted".into())),
        };
        cluster.stop().await;
        played
    });
    // A client cut off with the demo ends when its pipe does.
    runtime.shutdown_background();
    match temporary {
        Some(temporary) => temporary.close().map_err(|error| Failure::file(&dir, error))?,
        None => story.plain(&format!("kept in {}; `holdfast up --dir {}` runs it again", dir.display(), dir.display())),
    }
    played
}

/// Where the cluster lives: a directory that goes with the demo, or a new one that stays.
fn directory(keep: Option<PathBuf>) -> Result<(PathBuf, Option<TempDir>), Failure> {
    match keep {
        Some(dir) => {
            let filled = fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some());
            if filled {
                return Err(Failure::Usage(format!(
                    "{} is not empty; --keep wants a directory of its own",
                    dir.display()
                )));
            }
            Ok((dir, None))
        }
        None => {
            let dir = tempfile::Builder::new().prefix("holdfast-demo-").tempdir()?;
            Ok((dir.path().to_owned(), Some(dir)))
        }
    }
}

async fn play(
    request: &Request,
    story: &Story,
    contents: Vec<Content>,
    cluster: &mut Cluster,
    report: &mut Report,
) -> Result<(), Failure> {
    let config = cluster.client_config();
    let client = Client::connect(&ClientConfig::load(&config)?).await?;
    let auditor = client.auditor().clone();
    let mut stage = Stage::of(story.clone(), cluster.members());
    let mut times = Times { up: story.seconds(), ..Times::default() };
    let status = auditor.status().await?;
    open(story, cluster, &status, report)?;

    let put = store(story, &config, &contents, report).await?;
    times.stored_bytes = put.stored_bytes;
    let patience = PATIENCE + Duration::from_secs(report.bytes / SLOWEST);
    let before = story.seconds();
    prove::committed(&stage, &auditor).await?;
    times.commit = story.seconds() - before;
    let segments = segments(&client, &put.objects).await?;
    let shards: usize = segments.iter().map(|segment| segment.shards.len()).sum();
    story
        .say("commit", &format!("{shards} of {shards} shards committed to (KZG), {:.1} s after the put", times.commit));
    let since = newest(&auditor).await?;
    prove::folded(&stage, &auditor, &prove::holdings(&stage, &segments), since, patience).await?;
    story.say("audit", "every node that holds shards has proven every byte of them (fold)");

    let before = story.seconds();
    let damage = hurt(request, &mut stage, cluster, &client, &segments, report).await?;
    watch::until_healed(&stage, &client, &put.objects, &damage, patience, report).await?;
    times.heal = story.seconds() - before;
    story.say("healed", &format!("every segment has all its shards again, {:.1} s after the faults", times.heal));

    audit_again(&stage, &client, &put.objects, patience, report).await?;
    read_back(story, &config, &put.objects, &contents, report).await?;
    listed(story, &client, &put.objects, report.bytes).await?;

    report.peak_rss_mb = report.peak_rss_mb.max(put.peak_rss_mb);
    let supervisor = process::own_peak_rss().unwrap_or_default();
    report.cluster_rss_mb = show::rounded((cluster.peak_rss() + supervisor) as f64 / 1e6 + report.peak_rss_mb);
    times.total = story.seconds();
    table::print(story, report, &times);
    Ok(())
}

fn open(story: &Story, cluster: &Cluster, status: &ClusterStatus, report: &mut Report) -> Result<(), Failure> {
    let (shape, profile) = (cluster.shape(), &status.profile);
    let code = shape.code()?;
    report.policy = Policy { data: code.data(), parity: code.parity() };
    report.nodes = shape.nodes;
    let silence: Vec<String> = profile.containment.iter().map(|it| show::span(*it)).collect();
    story.say(
        "cluster",
        &format!(
            "{} nodes in {} zones registered, auditor at {}, mutual TLS",
            shape.nodes,
            shape.zones,
            cluster.auditor_address()
        ),
    );
    story.say(
        "policy",
        &format!(
            "{code}: any {} of {} shards are enough, at most {} in a zone",
            code.data(),
            code.total(),
            code.parity()
        ),
    );
    story.say(
        "profile",
        &format!(
            "{}: fold every {}, sample every {}, a silent node is asked again after {}, repairs every {}",
            profile.name,
            show::span(profile.fold_every),
            show::span(profile.sample_every),
            silence.join(", "),
            show::span(profile.repair_every)
        ),
    );
    if profile.name != "demo" {
        return Err(Failure::Failed(format!("expected the auditor to run profile demo, got {}", profile.name)));
    }
    Ok(())
}

/// The segments that objects lie in, each once.
async fn segments(client: &Client, objects: &[ObjectId]) -> Result<Vec<SegmentStat>, Failure> {
    let mut segments: Vec<SegmentStat> = Vec::new();
    for object in objects {
        for segment in client.stat(*object).await?.segments {
            if segments.iter().all(|known| known.id != segment.id) {
                segments.push(segment);
            }
        }
    }
    Ok(segments)
}

/// A blocking piece of work, beside the runtime.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    spawn_blocking(work).await.map_err(|error| Failure::Failed(format!("a part of the demo broke off: {error}")))?
}

async fn store(
    story: &Story,
    config: &std::path::Path,
    contents: &[Content],
    report: &mut Report,
) -> Result<client::Put, Failure> {
    let names: Vec<String> = contents.iter().map(Content::name).collect();
    story.say("put", &names.join(", "));
    let (config, contents) = (config.to_owned(), contents.to_vec());
    let expected = contents.len();
    let put = beside(move || client::put(&config, &contents)).await?;
    if put.objects.len() != expected {
        return Err(Failure::Failed(format!("expected {expected} objects to be stored, got {}", put.objects.len())));
    }
    report.object = put.objects.first().copied();
    report.objects = if put.objects.len() > 1 { put.objects.clone() } else { Vec::new() };
    (report.bytes, report.put) = (put.bytes, Rate::of(put.bytes, put.seconds));
    for object in &put.objects {
        story.say("put", &format!("acknowledged as {object}"));
    }
    let (bytes, rate) = (show::bytes(put.bytes), report.put);
    story.say("put", &format!("{bytes} in {:.1} s, {:.1} MB/s, durable on the nodes", rate.seconds, rate.mb_per_s));
    Ok(put)
}

/// Three faults at once. Everything is looked up first, so that they follow each other at once.
async fn hurt(
    request: &Request,
    stage: &mut Stage,
    cluster: &mut Cluster,
    client: &Client,
    segments: &[SegmentStat],
    report: &mut Report,
) -> Result<Damage, Failure> {
    let victims = Victims::draw(segments, &mut Chance::of(request.seed))?;
    let volume = |node| {
        let member = stage.member(node).ok_or_else(|| Failure::Failed(format!("node {node} is not one of ours")))?;
        Ok::<_, Failure>(member.volume.clone())
    };
    let (flip_node, shard) = victims.flip;
    let (flip_volume, shard_len) = (volume(flip_node)?, victims.shard_len);
    let place = beside(move || fault::find(&flip_volume, &shard, shard_len)).await?;
    let files = fault::payload_files(&volume(victims.wipe)?)?;
    let after = newest(client.auditor()).await?;

    let flipped_at = wall();
    fault::flip(&place, victims.range, &victims.mask)?;
    let wiped_at = wall();
    fault::wipe(&files)?;
    let killed_at = wall();
    cluster.kill(victims.kill).await;
    stage.died(victims.kill);

    let (story, range) = (&stage.story, victims.range);
    let short = show::short(&shard);
    story.say(
        "FAULT",
        &format!(
            "flip {}: {} bytes from {} of shard {short}, on its disk",
            stage.name(flip_node),
            range.len(),
            range.start()
        ),
    );
    story.say(
        "FAULT",
        &format!(
            "wipe {}: {} truncated; it stays up and keeps answering",
            stage.name(victims.wipe),
            show::count(files.len() as u64, "volume file")
        ),
    );
    story.say("FAULT", &format!("kill {}: SIGKILL", stage.name(victims.kill)));
    let whole = |kind, node| Fault { kind, node, shard: None, offset: None };
    report.faults = vec![
        Fault { kind: Kind::Flip, node: flip_node, shard: Some(shard), offset: Some(range.start()) },
        whole(Kind::Wipe, victims.wipe),
        whole(Kind::Kill, victims.kill),
    ];
    let at = [(Kind::Flip, flipped_at), (Kind::Wipe, wiped_at), (Kind::Kill, killed_at)].into();
    Ok(Damage { hit: victims.hit(segments), at, flipped: range, after })
}

async fn audit_again(
    stage: &Stage,
    client: &Client,
    objects: &[ObjectId],
    patience: Duration,
    report: &mut Report,
) -> Result<(), Failure> {
    let auditor = client.auditor();
    let run = auditor.run_audit(None).await?;
    let held = prove::holdings(stage, &segments(client, objects).await?);
    prove::folded(stage, auditor, &held, run.after, patience).await?;
    let catalog = auditor.status().await?.catalog;
    let worst = Worst { shards_held: catalog.worst_held, spare: catalog.worst_spare };
    report.after = After { segments: catalog.segments, worst };
    let (shards, nodes) = (held.values().sum::<u32>(), held.len());
    stage.story.say("audit", &format!("everything again: {shards} shards on {nodes} nodes, every byte proven"));
    let total = report.policy.data + report.policy.parity;
    if worst.shards_held != total {
        let why = format!("expected {total} good shards of every segment, got {} of the worst", worst.shards_held);
        return Err(Failure::Failed(why));
    }
    Ok(())
}

async fn read_back(
    story: &Story,
    config: &std::path::Path,
    objects: &[ObjectId],
    contents: &[Content],
    report: &mut Report,
) -> Result<(), Failure> {
    let (mut seconds, mut bytes) = (0.0, 0);
    for (object, content) in objects.iter().zip(contents) {
        let (config, id, stored) = (config.to_owned(), *object, content.clone());
        let got = beside(move || client::get(&config, &id, &stored)).await?;
        seconds += got.seconds;
        bytes += got.bytes;
        report.peak_rss_mb = report.peak_rss_mb.max(got.peak_rss_mb);
        let decoded = show::count(got.reconstructed, "segment");
        story.say("get", &format!("{} back, {decoded} decoded, blake3 {}", show::bytes(got.bytes), got.hash));
        if let Some(at) = got.difference {
            return Err(Failure::Failed(format!("{}: what came back differs from byte {at} on", content.name())));
        }
    }
    if bytes != report.bytes {
        return Err(Failure::Failed(format!("expected {} bytes back, got {bytes}", report.bytes)));
    }
    report.get = Rate::of(bytes, seconds);
    report.identical = true;
    story.say("get", &format!("identical, byte for byte; {seconds:.1} s, {:.1} MB/s", report.get.mb_per_s));
    Ok(())
}

/// What `ls` and `stat` say must be what was stored.
async fn listed(story: &Story, client: &Client, objects: &[ObjectId], bytes: u64) -> Result<(), Failure> {
    let list = client.list().await?;
    let mut sum = 0;
    for object in objects {
        let entry = list.iter().find(|entry| entry.id == *object);
        let entry = entry.ok_or_else(|| Failure::Failed(format!("{object} is stored, but `ls` does not list it")))?;
        let stat = client.stat(*object).await?;
        let spare =
            stat.worst_spare().map_or_else(|| "nothing to lose".into(), |spare| format!("{spare} shards to spare"));
        story.say(
            "stat",
            &format!(
                "{object}: {}, {}, {spare}",
                show::bytes(entry.plain_len),
                show::count(stat.segments.len() as u64, "segment")
            ),
        );
        sum += stat.plain_len;
    }
    match sum == bytes {
        true => Ok(()),
        false => Err(Failure::Failed(format!("expected `stat` to count {bytes} bytes, got {sum}"))),
    }
}
