//! Clips: folders, animations, and videos through a stand-in for ffmpeg.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::support::{Desk, assert_one_error, json, keys, paligemma, prints, refuses};

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/clips");
    folder.join(name).to_str().unwrap().to_owned()
}

fn places(answer: &Value) -> Vec<u64> {
    answer["frames"].as_array().unwrap().iter().map(|place| place.as_u64().unwrap()).collect()
}

#[test]
fn frames_stand_before_the_prompt_in_their_order() {
    let desk = Desk::new();
    for name in ["2.png", "10.png", "1.png"] {
        std::fs::copy(desk.path("scene.png"), desk.path(name)).unwrap();
    }
    std::fs::copy(golden("parts.gif.frames.png"), desk.path("10.png")).unwrap();
    std::fs::remove_file(desk.path("scene.png")).unwrap();
    let folder = &*desk.name("");
    let watched = json(&["watch", folder, "caption en"]);
    let expected =
        ["finish_reason", "frames", "text", "timings", "token_ids", "usage"].map(str::to_owned);
    assert_eq!(keys(&watched), expected);
    assert_eq!(places(&watched), [0, 1, 2]);
    assert_eq!(watched["usage"]["image_tokens"], 3 * 64);
    let [one, two, ten] = ["1.png", "2.png", "10.png"].map(|name| desk.name(name));
    let same = prints(&["generate", &one, &two, &ten, "--prompt", "caption en"]);
    assert_eq!(prints(&["watch", folder, "caption en"]), same);
    assert_eq!(watched["text"].as_str().unwrap(), same.trim_end_matches('\n'));
}

#[test]
fn frames_are_chosen_evenly_or_by_a_stride() {
    let clip = &*golden("parts.gif");
    let watched = |more: &[&str]| places(&json(&[&["watch", clip, "caption en"], more].concat()));
    assert_eq!(watched(&[]), [0, 1, 2, 3, 4]);
    assert_eq!(watched(&["--frames", "1"]), [2]);
    assert_eq!(watched(&["--stride", "2"]), [0, 2, 4]);
    assert_eq!(watched(&["--stride", "3", "--frames", "2"]), [0, 3]);
    let fewer = ["6 frames were asked for, the clip has 5", "ask for 5 or fewer"];
    refuses(&["watch", clip, "caption en", "--frames", "6"], &fewer);
    let fewer = ["4 frames", "has 3 at a stride of 2"];
    refuses(&["watch", clip, "caption en", "--frames", "4", "--stride", "2"], &fewer);
    let desk = Desk::new();
    assert_eq!(places(&json(&["watch", &desk.scene(), "caption en"])), [0]);
}

#[test]
fn as_many_frames_as_fit_are_named() {
    let desk = Desk::new();
    for name in 0..9 {
        std::fs::copy(desk.path("scene.png"), desk.path(&format!("{name}.png"))).unwrap();
    }
    let folder = &*desk.name("");
    let parts = ["10 frames", "the model's limit is 512", "7 fit, ask for --frames 7"];
    refuses(&["watch", folder, "caption en"], &parts);
    let watched = json(&["watch", folder, "caption en", "--frames", "7"]);
    assert_eq!(watched["usage"]["image_tokens"], 7 * 64);
    let long = &*"red circle ".repeat(600);
    refuses(&["watch", folder, long, "--frames", "1"], &["512", "shorten it"]);
    refuses(&["watch", folder, " "], &["the prompt is empty"]);
}

#[test]
fn what_is_no_clip_is_refused() {
    let desk = Desk::new();
    let empty = desk.path("empty");
    std::fs::create_dir(&empty).unwrap();
    refuses(&["watch", empty.to_str().unwrap(), "caption en"], &["no picture is in the folder"]);
    refuses(&["watch", "no/such.mp4", "caption en"], &["cannot read no/such.mp4"]);
}

/// A folder with a program `ffmpeg`, which writes what it was told into `said`, and its frames.
#[cfg(unix)]
struct Bench {
    desk: Desk,
}

#[cfg(unix)]
impl Bench {
    fn new(script: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let desk = Desk::new();
        desk.file("clip.mp4", b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41");
        std::fs::create_dir(desk.path("bin")).unwrap();
        let program = desk.file("bin/ffmpeg", format!("#!/bin/sh\n{script}").as_bytes());
        std::fs::set_permissions(program, PermissionsExt::from_mode(0o755)).unwrap();
        Self { desk }
    }

    /// Watches the clip with nothing but the folder's program, and what its script needs.
    fn watch(&self, more: &[&str]) -> Output {
        let path = format!("{}:/bin:/usr/bin", self.desk.name("bin"));
        let clip = self.desk.name("clip.mp4");
        let words = [&["watch", &clip, "caption en", "--json"], more].concat();
        let scene = self.desk.scene();
        paligemma().args(words).env("PATH", path).env("SCENE", scene).output().unwrap()
    }
}

/// Counts 30 frames, and writes as many as `-frames:v` says.
#[cfg(unix)]
const FFMPEG: &str = r#"
printf '%s\n' "$*" >> "$(dirname "$0")/said"
case "$*" in
    *'-f null -') printf 'frame=12\nprogress=continue\nframe=30\nprogress=end\n' ;;
    *)
        while [ "$1" != -frames:v ]; do shift; done
        count=$2
        for last; do :; done
        i=1
        while [ $i -le "$count" ]; do cp "$SCENE" "$(dirname "$last")/$i.png"; i=$((i + 1)); done ;;
esac
"#;

#[test]
#[cfg(unix)]
fn a_video_is_read_through_ffmpeg() {
    let bench = Bench::new(FFMPEG);
    let output = bench.watch(&["--frames", "3"]);
    assert!(output.status.success(), "{output:?}");
    let watched: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(places(&watched), [5, 15, 25]);
    assert_eq!(watched["usage"]["image_tokens"], 3 * 64);
    let scene = &*bench.desk.scene();
    let same = prints(&["generate", scene, scene, scene, "--prompt", "caption en"]);
    assert_eq!(watched["text"].as_str().unwrap(), same.trim_end_matches('\n'));

    let said = std::fs::read_to_string(bench.desk.path("bin/said")).unwrap();
    let calls: Vec<&str> = said.lines().collect();
    let clip = bench.desk.name("clip.mp4");
    let begin = format!(
        "-v error -nostdin -progress pipe:1 -protocol_whitelist file -i file:{clip} -map 0:v:0 "
    );
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0], format!("{begin}-c copy -f null -"));
    let rest = calls[1].strip_prefix(&begin).unwrap();
    let chosen = "-vf select='eq(n\\,5)+eq(n\\,15)+eq(n\\,25)',setpts=N/TB -r 1 -frames:v 3 \
                  -pix_fmt rgb24 -f image2 ";
    let folder = PathBuf::from(rest.strip_prefix(chosen).unwrap());
    assert!(folder.ends_with("%d.png"), "{rest}");
    assert!(!folder.parent().unwrap().exists(), "the frames are taken away");
}

#[test]
#[cfg(unix)]
fn what_ffmpeg_cannot_read_is_said() {
    let few = "case \"$*\" in *'-f null -') echo frame=30 ;; *) for last; do :; done\n\
               cp \"$SCENE\" \"$(dirname \"$last\")/1.png\" ;; esac";
    for (script, parts) in [
        (
            "echo one >&2; echo 'moov atom not found' >&2; exit 1",
            vec!["moov atom not found", "clip.mp4"],
        ),
        ("exit 1", vec!["without a word"]),
        ("echo frame=0", vec!["it has no frames"]),
        (few, vec!["gave 1 of the 2 frames"]),
        ("echo frame=1", vec!["2 frames were asked for, the clip has 1"]),
    ] {
        assert_one_error(&Bench::new(script).watch(&["--frames", "2"]), &parts);
    }
}

#[test]
#[cfg(unix)]
fn a_video_without_ffmpeg_is_refused() {
    let bench = Bench::new("");
    let clip = bench.desk.name("clip.mp4");
    let words = ["watch", &clip, "caption en"];
    let output = paligemma().args(words).env("PATH", "").output().unwrap();
    assert_one_error(&output, &["clip.mp4", "install ffmpeg", "a folder of frames"]);
}
