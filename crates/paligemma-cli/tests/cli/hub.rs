//! `--model owner/name`, against a hub on the loopback address.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::thread;

use crate::support::{Desk, assert_one_error, paligemma, pocket_files, prints};

const MODEL: &str = "owner/pocket";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What a published model has beside what the embedded one has.
const GENERATION: (&str, &str) =
    ("generation_config.json", r#"{"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}"#);

/// Serves the embedded model's files until the test ends; the address of the hub.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || listener.incoming().for_each(|stream| answer(stream.unwrap())));
    address
}

fn answer(mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let request = lines.next().unwrap();
    let headers: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let path = request.split(' ').nth(1).unwrap();
    let name = ["main", COMMIT]
        .iter()
        .find_map(|revision| path.strip_prefix(&format!("/{MODEL}/resolve/{revision}/")));
    let mut files = pocket_files().into_iter().chain([(GENERATION.0, GENERATION.1.as_bytes())]);
    let Some((name, body)) = files.find(|(file, _)| Some(*file) == name) else {
        let head = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).ok();
        return;
    };
    // Files are asked for in ranges, the last one open.
    let range = headers
        .iter()
        .find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let range = range.unwrap();
    let (start, last) = range.split_once('-').unwrap();
    let start: usize = start.parse().unwrap();
    let end = last.parse().map_or(body.len(), |last: usize| last + 1);
    let (all, length, last) = (body.len(), end - start, end - 1);
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\nX-Repo-Commit: {COMMIT}\r\nETag: \"{name}\"\r\n\
        Content-Range: bytes {start}-{last}/{all}\r\nContent-Length: {length}\r\n\
        Connection: close\r\n\r\n"
    )
    .ok();
    stream.write_all(&body[start..end]).ok();
}

fn caption(scene: &str, endpoint: &str, home: &str, more: &[&str]) -> Output {
    let mut command = paligemma();
    command.args(["caption", scene, "--model", MODEL]).args(more);
    command.env("HF_ENDPOINT", endpoint).env("HF_HOME", home).output().unwrap()
}

#[test]
fn a_hub_id_is_downloaded_and_then_cached() {
    let desk = Desk::new();
    let (scene, home) = (&*desk.scene(), &*desk.name("home"));
    let expected = prints(&["caption", scene]);
    for endpoint in [&*serve(), "http://127.0.0.1:9"] {
        for more in [&[][..], &["--revision", COMMIT]] {
            let output = caption(scene, endpoint, home, more);
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{output:?}");
            // Bars are for terminals.
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        }
    }
    let snapshot = desk.path("home/hub/models--owner--pocket/snapshots").join(COMMIT);
    assert_eq!(fs::read_to_string(snapshot.join(GENERATION.0)).unwrap(), GENERATION.1);
}

#[test]
fn what_the_hub_does_not_have_is_said() {
    let desk = Desk::new();
    let (scene, home) = (&*desk.scene(), &*desk.name("home"));
    let output = caption(scene, "http://127.0.0.1:9", home, &[]);
    assert_one_error(&output, &["cannot reach http://127.0.0.1:9", MODEL, "not complete in"]);
    assert!(output.stdout.is_empty());
    let output = caption(scene, &serve(), home, &["--revision", "v9"]);
    assert_one_error(&output, &["no config.json", "`v9`"]);
    let output = caption(scene, &serve(), home, &["--revision", "../v9"]);
    assert_one_error(&output, &["not a branch, tag or commit"]);
    assert!(!fs::exists(desk.path("home/hub/models--owner--pocket/snapshots")).unwrap());
}

#[test]
fn a_folder_has_no_revision() {
    let desk = Desk::new();
    let folder = crate::support::pocket_folder();
    let model = folder.path().to_str().unwrap();
    for words in [vec!["caption", &*desk.scene()], vec!["info"]] {
        let more = ["--model", model, "--revision", "main"];
        let output = paligemma().args([&words[..], &more].concat()).output().unwrap();
        assert_one_error(&output, &["is a folder", "leave --revision out"]);
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn what_is_no_model_is_said() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    for model in ["", "no-such-folder", "a/b/c", "../up", &*desk.scene()] {
        let output = paligemma().args(["caption", scene, "--model", model]).output().unwrap();
        assert_one_error(&output, &["neither a folder nor a hub id"]);
        assert!(output.stdout.is_empty());
    }
}
