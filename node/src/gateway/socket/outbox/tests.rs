use super::*;

const BOUND: usize = 100;

fn bytes(length: usize) -> Bytes {
    Bytes::from(vec![7; length])
}

fn offer(outbox: &mut Outbox, length: usize, urgency: Urgency) -> Offer {
    outbox.offer(bytes(length), urgency, BOUND)
}

/// A socket that takes `room` bytes and then blocks.
fn socket(mut room: usize) -> impl FnMut(&[IoSlice<'_>]) -> io::Result<usize> {
    move |slices| {
        let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
        let taken = wanted.min(room);
        room -= taken;
        if taken == 0 {
            Err(ErrorKind::WouldBlock.into())
        } else {
            Ok(taken)
        }
    }
}

#[test]
fn a_full_outbox_refuses_by_urgency() {
    let mut outbox = Outbox::default();
    assert_eq!(
        offer(&mut outbox, 90, Urgency::Sequenced),
        Offer::Taken { schedule: true }
    );
    assert_eq!(offer(&mut outbox, 11, Urgency::Ephemeral), Offer::Full);
    assert!(!outbox.refused);
    assert_eq!(offer(&mut outbox, 11, Urgency::Sequenced), Offer::Full);
    assert!(outbox.refused);
    assert_eq!(
        offer(&mut outbox, 10, Urgency::Sequenced),
        Offer::Taken { schedule: false }
    );
    assert_eq!(
        offer(&mut outbox, 500, Urgency::Answer),
        Offer::Taken { schedule: false }
    );
    assert_eq!(
        offer(&mut outbox, 2 * ANSWER_SLACK, Urgency::Answer),
        Offer::Taken { schedule: false }
    );
    assert_eq!(offer(&mut outbox, 1, Urgency::Answer), Offer::Overflow);
}

#[test]
fn what_exceeds_the_bound_alone_gets_through_an_empty_outbox() {
    let mut outbox = Outbox::default();
    assert_eq!(
        offer(&mut outbox, 1000, Urgency::Sequenced),
        Offer::Taken { schedule: true }
    );
    assert_eq!(offer(&mut outbox, 1, Urgency::Sequenced), Offer::Full);
}

#[test]
fn what_is_due_together_leaves_in_one_write() {
    let mut outbox = Outbox::default();
    for _ in 0..10 {
        offer(&mut outbox, 5, Urgency::Sequenced);
    }
    let wrote = outbox.write(socket(1000));
    assert_eq!(
        (wrote.calls, wrote.pushes, wrote.bytes, wrote.end),
        (1, 10, 50, End::Empty)
    );
}

#[test]
fn a_partial_write_goes_on_where_it_stopped() {
    let mut outbox = Outbox::default();
    let mut written = Vec::new();
    for byte in 0..20u8 {
        outbox.offer(Bytes::from(vec![byte; 5]), Urgency::Sequenced, BOUND);
    }
    for _ in 0..15 {
        let wrote = outbox.write(|slices| {
            if slices[0].is_empty() || written.len() % 7 == 6 {
                written.push(slices[0][0]);
                return Ok(1);
            }
            let take = 3.min(slices[0].len());
            written.extend_from_slice(&slices[0][..take]);
            Ok(take)
        });
        if wrote.end == End::Empty {
            break;
        }
    }
    let expected: Vec<u8> = (0..20u8).flat_map(|byte| [byte; 5]).collect();
    assert_eq!(written, expected);
    assert_eq!(outbox.bytes, 0);
}

#[test]
fn a_blocked_socket_keeps_the_rest_and_the_session_hears_of_the_end() {
    let mut outbox = Outbox::default();
    offer(&mut outbox, 60, Urgency::Sequenced);
    offer(&mut outbox, 40, Urgency::Sequenced);
    offer(&mut outbox, 40, Urgency::Sequenced);
    assert_eq!(outbox.write(socket(70)).end, End::Blocked);
    assert_eq!(outbox.bytes, 30);
    assert_eq!(outbox.write(socket(70)).end, End::Empty);
    assert!(outbox.settle_refused());
    assert!(!outbox.settle_refused());
}

#[test]
fn a_slow_reader_loses_its_queue_but_not_half_a_frame() {
    let mut outbox = Outbox::default();
    offer(&mut outbox, 60, Urgency::Sequenced);
    offer(&mut outbox, 40, Urgency::Sequenced);
    outbox.write(socket(10));
    assert!(matches!(outbox.close(bytes(4), 4008, false, true), Offer::Taken { .. }));
    assert_eq!(outbox.bytes, 50 + 4);
    assert_eq!(offer(&mut outbox, 1, Urgency::Answer), Offer::Closed);
    assert_eq!(outbox.write(socket(1000)).end, End::Empty);
    outbox.settle_close();
    assert_eq!(
        outbox.phase(),
        Phase::Closed {
            code: 4008,
            echo: false
        }
    );
    assert_eq!(outbox.die(), 4008);
}

#[test]
fn a_socket_that_went_away_takes_nothing_more() {
    let mut outbox = Outbox::default();
    offer(&mut outbox, 60, Urgency::Sequenced);
    assert_eq!(
        outbox.write(|_| Err(ErrorKind::ConnectionReset.into())).end,
        End::Failed
    );
    assert_eq!(outbox.die(), ABNORMAL);
    assert_eq!(offer(&mut outbox, 1, Urgency::Answer), Offer::Closed);
    assert_eq!(outbox.bytes, 0);
}
