//! What the nodes of the release before say, as recorded from it, and what those of a later one may say.

use bytes::BytesMut;

use super::super::control::{Beat, Introduction, Say};
use crate::wire::{MAX_PAYLOAD, read_frame, write_frame};

macro_rules! recorded {
    ($file:literal) => {
        &include_bytes!(concat!("../../../../tests/fixtures/link-v1/", $file))[..]
    };
}

fn introduction(node: &str, incarnation: u64) -> Introduction {
    Introduction {
        node: node.into(),
        incarnation,
        oldest: 1,
        newest: 1,
        most_bytes: MAX_PAYLOAD as u64,
    }
}

/// What a control lane's bytes say; `None` for what is not understood.
fn heard(bytes: &[u8]) -> Vec<Option<Say>> {
    let mut read = BytesMut::from(bytes);
    std::iter::from_fn(|| read_frame(&mut read).unwrap())
        .map(|payload| Say::from_payload(payload).unwrap())
        .collect()
}

#[test]
fn control_frames_of_version_1_are_read_and_written_as_they_were() {
    let beat = Beat { sent: 123_456_789 };
    let cases = [
        (recorded!("hello.bin"), Say::Hello(introduction("node-a", 41))),
        (recorded!("welcome.bin"), Say::Welcome(introduction("node-b", 42))),
        (recorded!("ping.bin"), Say::Ping(beat)),
        (recorded!("pong.bin"), Say::Pong(beat)),
    ];
    for (recorded, say) in cases {
        assert_eq!(heard(recorded), [Some(say.clone())]);
        let mut written = BytesMut::new();
        write_frame(&mut written, &say.into_payload()).unwrap();
        assert_eq!(written, recorded);
    }
}

#[test]
fn lane_frames_of_version_1_are_read_and_written_as_they_were() {
    let payloads: [Vec<u8>; 3] = [
        vec![],
        b"hi".to_vec(),
        (0..300_u16).map(|at| (at % 251) as u8).collect(),
    ];
    let mut read = BytesMut::from(recorded!("lane.bin"));
    let frames: Vec<_> = std::iter::from_fn(|| read_frame(&mut read).unwrap()).collect();
    assert_eq!(frames, payloads);
    let mut written = BytesMut::new();
    payloads
        .iter()
        .for_each(|payload| write_frame(&mut written, payload).unwrap());
    assert_eq!(written, recorded!("lane.bin"));
}

#[test]
fn fields_and_kinds_of_a_later_release_are_skipped() {
    let hello = Introduction {
        newest: 3,
        ..introduction("node-a", 41)
    };
    let expected = [Some(Say::Hello(hello)), None, Some(Say::Ping(Beat { sent: 5 }))];
    assert_eq!(heard(recorded!("later.bin")), expected);
}

#[test]
fn what_is_no_control_frame_is_refused() {
    for bytes in [&[0xff][..], &[0x0a, 0x7f], &[0x0a, 0x02, 0x0a, 0x05]] {
        assert!(
            Say::from_payload(bytes::Bytes::copy_from_slice(bytes)).is_err(),
            "{bytes:?}"
        );
    }
}
