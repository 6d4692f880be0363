//! Key frames of any size arrive.

use super::*;
use roundtable_tests::harness::Clip;

#[test]
fn a_key_frame_of_a_mebibyte_arrives_whole() {
    // Noise does not compress. It stands still after the first picture, so that the others are small.
    let noise = "noise=alls=100:allf=t,loop=loop=29:size=1:start=0";
    let video = ["-vf", noise, "-c:v", "libx264", "-preset", "ultrafast", "-qp", "8", "-frames:v", "30"];
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let film = Clip::new(&video, &[]).size("1280x720").seconds(1.0).make(folder.path(), "film.mp4");
    let largest = streams_of(&film)[0].frames[0].size;
    assert!(largest > 1 << 20, "{largest}");
    let recording = folder.path().join("recording");
    let recorder = relay.record(&relay.url("cinema"), &recording, &["--until-empty"]);
    publish(&relay.url("cinema"), "ann", &film, &[]).wait().expect_success();
    recorder.wait().expect_success();
    assert_recorded(&film, &recording, "ann");
}
