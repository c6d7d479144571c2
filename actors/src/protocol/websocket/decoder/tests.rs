use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{client_frame, close_payload, server_frame};
use super::*;

const LIMIT: usize = 70_000;

/// Feeds bytes cut at `cuts` and collects the frames, or the violation.
fn decode(role: Role, bytes: &[u8], cuts: &[usize]) -> Result<Vec<(Opcode, Vec<u8>)>, Violation> {
    let mut decoder = Decoder::new(role, LIMIT);
    let mut frames = Vec::new();
    let mut rest = bytes.to_vec();
    let mut cuts = cuts.iter();
    while !rest.is_empty() {
        let at = cuts.next().map_or(rest.len(), |cut| 1 + cut % rest.len());
        let tail = rest.split_off(at);
        decoder.read(&mut rest, |frame| {
            frames.push((frame.opcode, frame.payload.to_vec()));
            ControlFlow::Continue(())
        })?;
        rest = tail;
    }
    Ok(frames)
}

fn violation(bytes: &[u8]) -> Violation {
    decode(Role::Server, bytes, &[]).unwrap_err()
}

#[test]
fn every_broken_rule_has_its_close_code() {
    let key = [0u8; 4];
    assert_eq!(violation(&[0xC1, 0x80, 0, 0, 0, 0]), Violation::ReservedBits);
    assert_eq!(violation(&[0x83, 0x80, 0, 0, 0, 0]), Violation::ReservedOpcode);
    assert_eq!(violation(&[0x81, 0x00]), Violation::Mask);
    assert_eq!(violation(&[0x80, 0x80, 0, 0, 0, 0]), Violation::Continuation);
    assert_eq!(violation(&[0x09, 0x80, 0, 0, 0, 0]), Violation::Control);
    assert_eq!(violation(&[0x89, 0xFE, 0, 126]), Violation::Control);
    assert_eq!(violation(&[0x81, 0xFE, 0, 125]), Violation::Length);
    assert_eq!(violation(&[0x88, 0x81, 0, 0, 0, 0, 3]), Violation::CloseCode);
    assert_eq!(violation(&[0x88, 0x82, 0, 0, 0, 0, 3, 0xED]), Violation::CloseCode);
    assert_eq!(violation(&[0x01, 0x80, 0, 0, 0, 0]).close_code(), CloseCode::TooBig);
    assert_eq!(
        violation(&[0x81, 0xFF, 0x7f, 0, 0, 0, 0, 0, 0, 0]).close_code(),
        CloseCode::TooBig
    );
    let mut text = BytesMut::new();
    client_frame(Opcode::Text, key, &mut text, |out| out.extend_from_slice(b"\xff"));
    assert_eq!(violation(&text).close_code(), CloseCode::InvalidPayload);
    assert_eq!(violation(&[0x81, 0x00]).close_code(), CloseCode::Protocol);
}

#[test]
fn an_announced_length_takes_no_memory_before_it_is_checked() {
    let mut decoder = Decoder::new(Role::Server, 64 * 1024);
    let mut head = [0x82, 0xFF, 0, 0, 0, 0, 3, 0x93, 0x87, 0];
    assert_eq!(
        decoder.read(&mut head, |_| ControlFlow::Continue(())),
        Err(Violation::TooBig)
    );
    assert!(!decoder.is_midway());
}

#[test]
fn a_decoder_between_frames_holds_no_memory() {
    let mut bytes = BytesMut::new();
    client_frame(Opcode::Text, [7; 4], &mut bytes, |out| out.extend_from_slice(b"hello"));
    let mut decoder = Decoder::new(Role::Server, LIMIT);
    let mut seen = 0;
    for chunk in bytes.chunks_mut(4) {
        decoder
            .read(chunk, |frame| {
                assert_eq!(frame.payload, b"hello");
                seen += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    assert_eq!((seen, decoder.is_midway()), (1, false));
    assert!(size_of::<Decoder>() <= 16);
}

#[test]
fn a_close_frame_carries_code_and_reason() {
    let mut bytes = BytesMut::new();
    client_frame(Opcode::Close, [1, 2, 3, 4], &mut bytes, |out| {
        close_payload(4001, "logged out", out)
    });
    let frames = decode(Role::Server, &bytes, &[]).unwrap();
    assert_eq!(frames[0].0, Opcode::Close);
    assert_eq!(super::super::close_code(&frames[0].1), Some(4001));
    assert_eq!(&frames[0].1[2..], b"logged out");
}

fn payloads() -> impl Strategy<Value = Vec<(Opcode, Vec<u8>, [u8; 4])>> {
    let data = prop_oneof![vec(any::<u8>(), 0..300), vec(any::<u8>(), 65_530..65_540)];
    let control = vec(any::<u8>(), 0..=125);
    let frame = prop_oneof![
        (Just(Opcode::Binary), data),
        (Just(Opcode::Ping), control.clone()),
        (Just(Opcode::Pong), control),
        (Just(Opcode::Text), ".{0,80}".prop_map(String::into_bytes)),
    ];
    vec(
        (frame, any::<[u8; 4]>()).prop_map(|((opcode, payload), key)| (opcode, payload, key)),
        0..8,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_chunking_gives_the_same_frames(sent in payloads(), cuts in vec(0usize..5000, 0..64)) {
        let expected: Vec<_> = sent.iter().map(|(opcode, payload, _)| (*opcode, payload.clone())).collect();
        let (mut upward, mut downward) = (BytesMut::new(), BytesMut::new());
        for (opcode, payload, key) in &sent {
            client_frame(*opcode, *key, &mut upward, |out| out.extend_from_slice(payload));
            server_frame(*opcode, &mut downward, |out| out.extend_from_slice(payload));
        }
        prop_assert_eq!(&decode(Role::Server, &upward, &cuts).unwrap(), &expected);
        prop_assert_eq!(&decode(Role::Client, &downward, &cuts).unwrap(), &expected);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic_or_hoard(bytes in vec(any::<u8>(), 0..400), cuts in vec(0usize..50, 0..64)) {
        let mut decoder = Decoder::new(Role::Server, 1000);
        let mut rest = bytes;
        for cut in cuts {
            if rest.is_empty() { break; }
            let tail = rest.split_off(1 + cut % rest.len());
            if decoder.read(&mut rest, |_| ControlFlow::Continue(())).is_err() { break; }
            prop_assert!(decoder.carry.as_ref().is_none_or(|carry| carry.0.capacity() <= 1000 + 14));
            rest = tail;
        }
    }

    #[test]
    fn chunking_never_changes_the_verdict(bytes in vec(any::<u8>(), 0..200), cuts in vec(0usize..20, 0..64)) {
        let whole = decode(Role::Client, &bytes, &[]);
        let chunked = decode(Role::Client, &bytes, &cuts);
        prop_assert_eq!(whole, chunked);
    }
}
