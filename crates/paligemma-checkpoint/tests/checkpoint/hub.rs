//! Hub ids against a hub of our own, on the loopback address.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use paligemma_checkpoint::Checkpoint;
use paligemma_checkpoint::hub::{Hub, HubError, Progress};
use tempfile::TempDir;

use crate::support::{TENSORS, assert_says, golden};

const MODEL: &str = "owner/tiny";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the hub has, and how it was asked.
#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// The token without which requests are refused.
    token: Option<String>,
    /// How many answers to ranges of more than a byte are cut in half.
    cuts: usize,
    requests: Vec<String>,
}

struct Server {
    state: Arc<Mutex<State>>,
    hub: Hub,
    home: TempDir,
}

impl Server {
    /// A hub with the files of a golden folder, a tokenizer, and no preprocessor.
    fn with(folder: &str) -> Self {
        let mut files = BTreeMap::from([("tokenizer.json".to_owned(), b"{}".to_vec())]);
        for entry in fs::read_dir(golden(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            files.insert(name, fs::read(path).unwrap());
        }
        let state = Arc::new(Mutex::new(State { files, ..State::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let served = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &mut served.lock().unwrap());
            }
        });
        let home = tempfile::tempdir().unwrap();
        let hub = Hub { endpoint, cache: home.path().join("hub"), token: None };
        Self { state, hub, home }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The same cache with a hub that is not there.
    fn offline(&self) -> Hub {
        // Nobody listens on the port of the discard service.
        Hub { endpoint: "http://127.0.0.1:9".to_owned(), ..self.hub.clone() }
    }
}

fn answer(mut stream: TcpStream, state: &mut State) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let request = lines.next().unwrap();
    let headers: BTreeMap<_, _> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": ").map(|(k, v)| (k.to_lowercase(), v.to_owned())))
        .collect();
    let path = request.split(' ').nth(1).unwrap().to_owned();
    state.requests.push(path.clone());
    let allowed = state.token.as_ref().is_none_or(|token| {
        headers.get("authorization").is_some_and(|found| *found == format!("Bearer {token}"))
    });
    let revisions = ["main", COMMIT, "refs%2Fpr%2F1"];
    let file = revisions
        .iter()
        .find_map(|revision| path.strip_prefix(&format!("/{MODEL}/resolve/{revision}/")))
        .and_then(|name| state.files.get(name));
    let (status, body) = match file {
        _ if !allowed => ("401 Unauthorized", None),
        None => ("404 Not Found", None),
        Some(file) => ("206 Partial Content", Some(file)),
    };
    let Some(body) = body else {
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok();
        return;
    };
    let (start, end) = headers["range"].strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let start: usize = start.parse().unwrap();
    let end = end.parse().map_or(body.len(), |last: usize| last + 1);
    let etag = path.rsplit('/').next().unwrap();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nX-Repo-Commit: {COMMIT}\r\nETag: \"{etag}\"\r\n\
        Content-Range: bytes {start}-{}/{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        end - 1,
        body.len(),
        end - start
    )
    .ok();
    let cut = end - start > 1 && state.cuts > 0;
    state.cuts -= usize::from(cut);
    let sent = if cut { (end - start) / 2 } else { end - start };
    stream.write_all(&body[start..start + sent]).ok();
}

fn quiet(_: Progress<'_>) {}

#[test]
fn a_model_is_downloaded_once_and_then_needs_no_hub() {
    for (folder, files) in [("published", 3), ("sharded", 9)] {
        let server = Server::with(folder);
        let mut last = BTreeMap::new();
        let found = server
            .hub
            .resolve(MODEL, None, |progress| {
                last.insert(progress.file.to_owned(), (progress.done, progress.total));
            })
            .unwrap();
        assert_eq!(last.len(), files, "{last:?}");
        for (file, (done, total)) in last {
            assert_eq!((done, total), (total, server.state().files[&file].len()), "{file}");
        }
        for (name, contents) in &server.state().files {
            assert!(fs::read(found.join(name)).unwrap() == *contents, "{name}");
        }
        assert_eq!(Checkpoint::open(&found).unwrap().tensors().count(), TENSORS);

        let asked = server.state().requests.len();
        assert_eq!(server.hub.resolve(MODEL, None, quiet).unwrap(), found);
        assert_eq!(server.state().requests.len(), asked, "the cache answers");
        assert_eq!(server.offline().resolve(MODEL, None, quiet).unwrap(), found);
        assert_eq!(server.offline().resolve(MODEL, Some(COMMIT), quiet).unwrap(), found);
    }
}

#[test]
fn a_revision_and_optional_files_are_fetched() {
    let server = Server::with("published");
    server.state().files.insert("preprocessor_config.json".to_owned(), b"{}".to_vec());
    let found = server.hub.resolve(MODEL, Some("refs/pr/1"), quiet).unwrap();
    assert!(found.join("preprocessor_config.json").exists());
    assert!(server.state().requests[0].contains("refs%2Fpr%2F1"));
    let error = server.offline().resolve(MODEL, None, quiet).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "another revision: {error}");
    let error = server.hub.resolve(MODEL, Some("v9"), quiet).unwrap_err();
    assert_says(&error, &["no config.json", MODEL, "`v9`"]);
}

#[test]
fn an_interrupted_download_goes_on() {
    let server = Server::with("published");
    server.state().cuts = 2;
    let found = server.hub.resolve(MODEL, None, quiet).unwrap();
    for (name, contents) in &server.state().files {
        assert!(fs::read(found.join(name)).unwrap() == *contents, "{name}");
    }

    let server = Server::with("sharded");
    let shard = "model-00003-of-00006.safetensors";
    let lost = server.state().files.remove(shard).unwrap();
    let error = server.hub.resolve(MODEL, None, quiet).unwrap_err();
    assert_says(&error, &[shard, MODEL]);
    server.state().files.insert(shard.to_owned(), lost);
    let asked = server.state().requests.len();
    server.hub.resolve(MODEL, None, quiet).unwrap();
    let again = server.state().requests.split_off(asked);
    assert!(!again.iter().any(|path| path.ends_with("/config.json")), "{again:?}");
}

#[test]
fn a_gated_model_needs_a_token() {
    let mut server = Server::with("published");
    server.state().token = Some("secret".to_owned());
    let error = server.hub.resolve(MODEL, None, quiet).unwrap_err();
    assert_says(&error, &[MODEL, "401", "licence", "HF_TOKEN"]);
    server.hub.token = Some("wrong".to_owned());
    assert!(server.hub.resolve(MODEL, None, quiet).is_err());
    server.hub.token = Some("secret".to_owned());
    server.hub.resolve(MODEL, None, quiet).unwrap();
}

#[test]
fn no_network_and_no_model_are_told_apart() {
    let server = Server::with("published");
    let error = server.offline().resolve(MODEL, None, quiet).unwrap_err();
    assert_says(&error, &["cannot reach http://127.0.0.1", MODEL, "not complete in"]);
    let error = server.hub.resolve("owner/other", None, quiet).unwrap_err();
    assert_says(&error, &["no config.json of `owner/other` at `main`"]);
}

#[test]
fn names_that_could_leave_the_cache_are_refused() {
    let server = Server::with("published");
    for model in ["", "tiny", "a/b/c", "../up", "owner/..", "/abs/path", "owner/a b", "./here"] {
        let error = server.hub.resolve(model, None, quiet).unwrap_err();
        assert_says(&error, &["neither a folder nor a hub id"]);
    }
    for revision in ["", "..", "../x", "a//b", "a b", "/main"] {
        let error = server.hub.resolve(MODEL, Some(revision), quiet).unwrap_err();
        assert_says(&error, &["not a branch, tag or commit"]);
    }
    assert!(server.state().requests.is_empty());
    let folder = golden("published");
    assert_eq!(server.hub.resolve(folder.to_str().unwrap(), None, quiet).unwrap(), folder);
}

#[test]
fn an_adapter_is_downloaded_by_its_own_files() {
    let server = Server::with("published");
    let adapter = [("adapter_config.json", "{}"), ("adapter_model.bin", "factors")];
    let own = adapter.map(|(name, contents)| (name.to_owned(), contents.as_bytes().to_vec()));
    server.state().files = BTreeMap::from(own);
    let found = server.hub.resolve(MODEL, None, quiet).unwrap();
    for (name, contents) in adapter {
        assert_eq!(fs::read_to_string(found.join(name)).unwrap(), contents);
    }
    for revision in [None, Some(COMMIT)] {
        assert_eq!(server.offline().resolve(MODEL, revision, quiet).unwrap(), found);
    }
    server.state().files.remove("adapter_model.bin");
    // Another name of the same commit.
    assert_eq!(server.hub.resolve(MODEL, Some("refs/pr/1"), quiet).unwrap(), found);
}

/// The only test that reads the environment: variables belong to the whole process.
#[test]
fn the_environment_names_hub_cache_and_token() {
    let server = Server::with("published");
    server.state().token = Some("secret".to_owned());
    let (home, models) = (server.home.path(), server.home.path().join("models"));
    fs::create_dir(home.join("huggingface")).unwrap();
    for folder in [home, &home.join("huggingface")] {
        fs::write(folder.join("token"), "secret\n").unwrap();
    }
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    for (variables, cache) in [
        (vec![("HF_HOME", path(home)), ("HF_TOKEN", "secret".into())], home.join("hub")),
        (vec![("HF_HOME", path(home)), ("HF_HUB_CACHE", path(&models))], models.clone()),
        (vec![("XDG_CACHE_HOME", path(home))], home.join("huggingface/hub")),
    ] {
        let mut run = std::process::Command::new(std::env::current_exe().unwrap());
        run.args(["--exact", "hub::resolve_as_the_environment_says", "--ignored"]);
        for name in ["HF_HOME", "HF_HUB_CACHE", "HF_TOKEN", "XDG_CACHE_HOME"] {
            run.env_remove(name);
        }
        run.env("HF_ENDPOINT", format!("{}/", server.hub.endpoint)).envs(variables);
        let output = run.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Hub { cache, ..server.offline() }.resolve(MODEL, None, quiet).unwrap();
    }
}

#[test]
#[ignore = "run by the_environment_names_hub_cache_and_token, with variables set"]
fn resolve_as_the_environment_says() {
    assert_eq!(Hub::from_env().unwrap().token.as_deref(), Some("secret"));
    paligemma_checkpoint::hub::resolve(MODEL, None, quiet).unwrap();
}
