use super::*;
use crate::transport::quic::defaults::QUEUE_BYTES;
use crate::wire::{VERSION, read_frame};

fn payload(length: usize, fill: u8) -> Bytes {
    vec![fill; length].into()
}

/// A turn of what is there; `None` when the writer would wait.
fn take(outbox: &Outbox, turn: &mut Turn) -> Option<bool> {
    outbox.waiting.lock().take(turn)
}

fn frames(turn: &Turn) -> Vec<Bytes> {
    let mut read = BytesMut::new();
    turn.pieces.iter().for_each(|piece| read.extend_from_slice(piece));
    std::iter::from_fn(|| read_frame(&mut read).unwrap()).collect()
}

#[test]
fn frames_of_every_size_leave_in_order_and_are_counted() {
    let outbox = Outbox::new(QUEUE_BYTES);
    let sizes = [
        0,
        200,
        PIECE,
        3,
        COPY_BELOW,
        COPY_BELOW - 1,
        2 * PIECE,
        1,
        40_000,
        40_000,
    ];
    for (fill, size) in (0..).zip(sizes) {
        outbox.push(VERSION, &payload(size, fill)).unwrap();
    }
    let mut turn = Turn::default();
    assert_eq!(take(&outbox, &mut turn), Some(true));
    let expected: Vec<Bytes> = (0..).zip(sizes).map(|(fill, size)| payload(size, fill)).collect();
    assert_eq!(frames(&turn), expected);
    assert_eq!(turn.frames, sizes.len() as u64);
    assert_eq!(
        turn.bytes,
        outbox.bytes(),
        "until the next turn all of it counts as waiting"
    );
    assert_eq!(take(&outbox, &mut turn), None);
    assert_eq!(outbox.bytes(), 0);
}

#[test]
fn a_turn_is_bounded_and_the_rest_follows() {
    let outbox = Outbox::new(QUEUE_BYTES);
    let sent = 4 * TURN / (200 + HEADER);
    (0..sent).for_each(|_| outbox.push(VERSION, &payload(200, 1)).unwrap());
    let (mut turn, mut turns, mut read) = (Turn::default(), 0, BytesMut::new());
    while take(&outbox, &mut turn).is_some() {
        assert!(turn.bytes <= TURN + PIECE, "{}", turn.bytes);
        turn.pieces.iter().for_each(|piece| read.extend_from_slice(piece));
        turns += 1;
    }
    assert_eq!(std::iter::from_fn(|| read_frame(&mut read).unwrap()).count(), sent);
    assert!((3..=5).contains(&turns), "{turns}");
}

#[test]
fn what_does_not_fit_is_refused_until_it_was_written() {
    let outbox = Outbox::new(1000);
    let push = |length| outbox.push(VERSION, &payload(length, 1));
    assert_eq!(push(5000), Ok(()), "one frame of any size fits into an empty outbox");
    assert_eq!(push(0), Err(NotQueued::Full));
    let mut turn = Turn::default();
    take(&outbox, &mut turn);
    assert_eq!(push(0), Err(NotQueued::Full), "taken is not written");
    take(&outbox, &mut turn);
    assert_eq!([push(1000 - HEADER), push(0)], [Ok(()), Err(NotQueued::Full)]);
}

#[test]
fn an_outbox_that_finishes_gives_what_it_has_and_one_that_is_closed_counts_it() {
    let finishing = Outbox::new(1000);
    finishing.push(VERSION, &payload(1, 1)).unwrap();
    finishing.finish();
    assert_eq!(finishing.push(VERSION, &payload(1, 1)), Err(NotQueued::Closed));
    let mut turn = Turn::default();
    assert_eq!(
        [take(&finishing, &mut turn), take(&finishing, &mut turn)],
        [Some(true), Some(false)]
    );

    let closed = Outbox::new(1000);
    (0..3).for_each(|_| closed.push(VERSION, &payload(1, 1)).unwrap());
    assert_eq!(closed.close(), 3);
    assert_eq!(closed.push(VERSION, &payload(1, 1)), Err(NotQueued::Closed));
    assert_eq!(take(&closed, &mut turn), Some(false));
}

#[test]
fn small_frames_share_their_memory() {
    let outbox = Outbox::new(QUEUE_BYTES);
    let mut turn = Turn::default();
    let mut pieces = Vec::new();
    for _ in 0..100 {
        outbox.push(VERSION, &payload(200, 1)).unwrap();
        take(&outbox, &mut turn);
        pieces.append(&mut turn.pieces);
    }
    let start = pieces[0].as_ptr() as usize;
    assert!(
        pieces
            .iter()
            .all(|piece| (start..start + PIECE).contains(&(piece.as_ptr() as usize)))
    );
}

#[tokio::test]
async fn a_writer_that_found_nothing_is_woken_by_the_next_frame() {
    let outbox = std::sync::Arc::new(Outbox::new(1000));
    let writer = tokio::spawn({
        let outbox = outbox.clone();
        async move {
            let mut turn = Turn::default();
            let mut seen = 0;
            while outbox.next(&mut turn).await {
                seen += turn.frames;
            }
            seen
        }
    });
    for _ in 0..10 {
        outbox.push(VERSION, &payload(1, 1)).unwrap();
        tokio::task::yield_now().await;
    }
    outbox.finish();
    assert_eq!(writer.await.unwrap(), 10);
}
