//! kill -9, of everything.

use std::{
    fs,
    io::Write,
    ops::Range,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Stdio},
    sync::mpsc,
    thread::{self, sleep},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use holdfast_tests::{Cluster, home, noise, turn, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;

fn whole(cluster: &Cluster) {
    wait_for("every segment to be whole", || {
        // An auditor that is away says so in JSON too, without these.
        let said = cluster.run(&["status", "--json"]);
        let status = said.json();
        assert_eq!(said.ok, status["ok"] == true, "{said:?}");
        (status["at_risk"] == 0 && status["pending_commitments"] == 0).then_some(())
    });
}

#[test]
fn nothing_acknowledged_is_lost_when_everything_is_killed() {
    let _turn = turn();
    let home = home();
    let dir = home.path().join("c");
    let shape = ["--nodes", "6", "--zones", "3", "--policy", "3+2"];
    let cluster = Cluster::up(&dir, &shape);
    let file = home.path().join("a").to_string_lossy().into_owned();
    let bytes = noise(5_000_000, 42);
    fs::write(&file, &bytes).unwrap();
    let put = cluster.run(&["put", &file, "--json"]);
    assert!(put.ok, "{put:?}");
    let object = put.json()["objects"][0]["object"].as_str().unwrap().to_owned();

    // The supervisor, and with it every daemon at once.
    let cluster = Cluster::up(&cluster.stop_hard(), &[]);
    let out = home.path().join("out").to_string_lossy().into_owned();
    let got = cluster.run(&["get", &object, &out]);
    assert!(got.ok, "{got:?}");
    assert!(fs::read(&out).unwrap() == bytes);

    // Each daemon by itself; its supervisor starts it again.
    for config in ["auditor/auditor.toml", "nodes/n01/node.toml", "nodes/n04/node.toml"] {
        let before = cluster.pids(config);
        assert_eq!(cluster.kill(config), 1, "{config}");
        wait_for(config, || {
            let now = cluster.pids(config);
            (!now.is_empty() && now != before).then_some(())
        });
    }
    whole(&cluster);
    let listed = wait_for("the auditor to answer", || {
        let said = cluster.run(&["ls", "--json"]);
        said.ok.then(|| said.json())
    });
    assert_eq!(listed["objects"].as_array().unwrap().len(), 1);
    let got = cluster.run(&["get", &object, &out, "--force"]);
    assert!(got.ok && fs::read(&out).unwrap() == bytes, "{got:?}");
    cluster.stop();
}

/// Moments between two bounds, other ones in each run; a failure tells the seed.
struct Moments(u64);

impl Moments {
    fn drawn() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self(since.as_nanos() as u64 | 1)
    }

    fn next(&mut self, millis: Range<u64>) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(millis.start + self.0 % (millis.end - millis.start))
    }
}

/// Bytes of the sealed stream that the journal of a put counts as cut into segments.
fn cut(cluster: &Cluster) -> u64 {
    let config = fs::read_to_string(cluster.told["client"]["config"].as_str().unwrap()).unwrap();
    assert!(config.contains("state_dir = \"uploads\""), "{config}");
    let uploads = Path::new(cluster.told["client"]["config"].as_str().unwrap()).with_file_name("uploads");
    let mut end = 0;
    for entry in fs::read_dir(uploads).into_iter().flatten().flatten() {
        // Replaced whole, so that what is there can be read.
        let state = fs::read(entry.path().join("state.json")).unwrap_or_default();
        let state: Value = serde_json::from_slice(&state).unwrap_or_default();
        end = end.max(state["end"].as_u64().unwrap_or(0));
    }
    end
}

fn running(putting: &mut Child, when: &str) {
    let ended = putting.try_wait().unwrap();
    assert!(ended.is_none(), "the put had ended {when} ({ended:?}): there was nothing to interrupt");
}

/// Asked again until it is done: a put may fail while a daemon is away, but it must say so and be repeatable.
fn put_until_done(cluster: &Cluster, file: &str) -> Value {
    wait_for("the put to be done", || {
        let put = cluster.run(&["put", file, "--json"]);
        put.ok.then(|| put.json())
    })
}

fn comes_back(cluster: &Cluster, put: &Value, bytes: &[u8], out: &Path) {
    let object = put["objects"][0]["object"].as_str().unwrap();
    let got = cluster.run(&["get", object, &out.to_string_lossy(), "--force"]);
    assert!(got.ok && fs::read(out).unwrap() == bytes, "{got:?}");
}

#[test]
fn a_put_whose_client_auditor_or_node_is_killed_ends_well_when_asked_again() {
    let _turn = turn();
    let home = home();
    let cluster = Cluster::up(&home.path().join("c"), &["--nodes", "6", "--zones", "3", "--policy", "3+2"]);
    let (file, out) = (home.path().join("big").to_string_lossy().into_owned(), home.path().join("out"));
    let bytes = noise(160 << 20, 77);
    fs::write(&file, &bytes).unwrap();
    let mut moments = Moments::drawn();

    // The client, twice: once when what it has cut into a segment or two, of five, is there to be resumed, and while it
    // resumes.
    for round in 0..2 {
        let mut putting = cluster.command(&["put", &file, "--json"]).stdout(Stdio::null()).spawn().unwrap();
        let moment = moments.next(0..60);
        if round == 0 {
            let (begun, least) = (cut(&cluster), if moment.as_millis().is_multiple_of(2) { 1 } else { 40 << 20 });
            assert_eq!(begun, 0);
            while cut(&cluster) < least {
                running(&mut putting, "before anything was cut");
                sleep(Duration::from_millis(2));
            }
        } else {
            sleep(moment);
        }
        running(&mut putting, "with segments still to come");
        putting.kill().unwrap();
        assert_eq!(putting.wait().unwrap().signal(), Some(Signal::SIGKILL as i32));
    }
    let put = put_until_done(&cluster, &file);
    assert!(put["resumed_bytes"].as_u64().unwrap() > 0, "{put}");
    comes_back(&cluster, &put, &bytes, &out);

    // A daemon under a put, which may end well all the same. The put's source waits for that: it cannot end before.
    let (early, late) = bytes.split_at(100 << 20);
    for victim in ["auditor/auditor.toml", "nodes/n02/node.toml"] {
        let mut command = cluster.command(&["put", "-", "--name", "piped", "--json"]);
        let mut putting = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut source = putting.stdin.take().unwrap();
        let moment = moments.next(0..300);
        thread::scope(|scope| {
            let (go_on, wait) = mpsc::channel();
            scope.spawn(move || {
                // A put that failed reads no further.
                let _ = source.write_all(early);
                wait.recv().unwrap();
                let _ = source.write_all(late);
            });
            sleep(moment);
            running(&mut putting, "with its source waiting");
            assert_eq!(cluster.kill(victim), 1, "{victim}");
            go_on.send(()).unwrap();
        });
        putting.wait().unwrap();
        let put = put_until_done(&cluster, &file);
        comes_back(&cluster, &put, &bytes, &out);
    }
    cluster.stop();
}
