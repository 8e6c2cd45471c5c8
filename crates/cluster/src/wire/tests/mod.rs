//! The format: what survives, what is refused, and bytes that must not change.

mod samples;

use bytes::{BufMut, Bytes, BytesMut};
use doorbell_protocol::headers::topic::TopicError;
use doorbell_protocol::id::{MessageId, ReceiptSubscriptionId};

use self::samples::{Random, every_variant, hello, submit, submitted};
use super::*;
use crate::NodeId;

fn encoded(frame: &Frame) -> BytesMut {
    let mut out = BytesMut::new();
    frame.encode(&mut out).unwrap();
    out
}

/// The first frame of these bytes.
fn decoded(bytes: &[u8]) -> Result<Option<Frame>, WireError> {
    Decoder::new().decode(&mut BytesMut::from(bytes))
}

/// A frame with this payload, whose length is right.
fn framed(kind: u8, payload: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_u32(u32::try_from(payload.len() + 1).unwrap());
    out.put_u8(kind);
    out.put_slice(payload);
    out
}

/// Encodes `frame`, replaces the bytes `old`, which it has once, by `new` of the same length, and decodes it.
fn with_bytes(frame: &Frame, old: &[u8], new: &[u8]) -> Result<Option<Frame>, WireError> {
    let mut bytes = encoded(frame);
    let places: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(old)).collect();
    assert_eq!((places.len(), old.len()), (1, new.len()), "{old:?} in {frame:?}");
    bytes[places[0]..][..new.len()].copy_from_slice(new);
    decoded(&bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_variant_and_arbitrary_frames_survive_a_round_trip_one_behind_the_other() {
    let mut random = Random(1);
    let mut frames = every_variant();
    frames.extend((0..3_000).map(|_| random.frame()));
    let mut buffer = BytesMut::new();
    for frame in &frames {
        frame.encode(&mut buffer).unwrap();
    }
    let mut decoder = Decoder::new();
    for frame in &frames {
        assert_eq!(decoder.decode(&mut buffer).as_ref(), Ok(&Some(frame.clone())));
    }
    assert_eq!((decoder.decode(&mut buffer), buffer.len()), (Ok(None), 0));
}

#[test]
fn a_frame_that_is_cut_anywhere_is_not_ready_and_stays_in_the_buffer() {
    for frame in every_variant() {
        let bytes = encoded(&frame);
        for end in 0..bytes.len() {
            let mut buffer = BytesMut::from(&bytes[..end]);
            assert_eq!(Decoder::new().decode(&mut buffer), Ok(None), "{end} bytes of {frame:?}");
            assert_eq!(buffer, bytes[..end]);
        }
    }
}

#[test]
fn frames_that_arrive_byte_by_byte_are_ready_with_their_last_byte() {
    let (mut decoder, mut buffer) = (Decoder::new(), BytesMut::new());
    for frame in every_variant() {
        let bytes = encoded(&frame);
        let (last, before) = bytes.split_last().unwrap();
        for byte in before {
            buffer.put_u8(*byte);
            assert_eq!(decoder.decode(&mut buffer), Ok(None));
        }
        buffer.put_u8(*last);
        assert_eq!(decoder.decode(&mut buffer), Ok(Some(frame)));
        assert!(buffer.is_empty());
    }
}

#[test]
fn a_length_that_does_not_fit_the_payload_is_an_error() {
    for frame in every_variant() {
        let bytes = encoded(&frame);
        let length = u32::try_from(bytes.len() - 4).unwrap();
        for change in 1..length {
            let mut shorter = bytes.clone();
            shorter[..4].copy_from_slice(&(length - change).to_be_bytes());
            assert!(decoded(&shorter).is_err(), "{change} bytes less of {frame:?}");
        }
        let mut longer = bytes.clone();
        longer[..4].copy_from_slice(&(length + 3).to_be_bytes());
        longer.put_slice(&[0; 3]);
        assert_eq!(decoded(&longer), Err(WireError::Trailing { left: 3 }), "{frame:?}");
    }
    assert_eq!(decoded(&[0; 4]), Err(WireError::Empty));
}

#[test]
fn a_length_over_the_limit_is_an_error_before_the_frame_is_there() {
    let limit = u32::try_from(FRAME_MAX).unwrap();
    assert_eq!(decoded(&limit.to_be_bytes()), Ok(None));
    for length in [limit + 1, u32::MAX] {
        let mut buffer = BytesMut::from(&length.to_be_bytes()[..]);
        let room = buffer.capacity();
        let error = WireError::TooLong { length: length as usize };
        assert_eq!(Decoder::new().decode(&mut buffer), Err(error));
        assert_eq!(buffer.capacity(), room, "nothing is reserved");
    }
}

#[test]
fn unknown_kinds_and_codes_are_errors() {
    let unknown = |of, code| Err(WireError::UnknownCode { of, code });
    for kind in [0, 13, 255] {
        assert_eq!(decoded(&framed(kind, &[0; 8])), unknown("kind of frame", kind));
    }
    for code in [0, 13, 255] {
        assert_eq!(decoded(&framed(3, &[0, 0, 0, 0, 0, 0, 0, 1, code])), unknown("answer", code));
    }
    let on_link = |kind, tail: &[u8]| decoded(&framed(kind, &[&[0; 16], tail].concat()));
    assert_eq!(on_link(5, &[9]), unknown("report of a link", 9));
    assert_eq!(on_link(5, &[1, 0, 0, 0, 0, 0, 0, 0, 1, 7]), unknown("outcome", 7));
    assert_eq!(on_link(5, &[7, 1, 5]), unknown("urgency", 5));
    assert_eq!(on_link(5, &[7, 2, 1]), unknown("flag", 2));
    assert_eq!(on_link(6, &[10]), unknown("event of a link", 10));
    assert_eq!(on_link(6, &[9, 5]), unknown("reason of an end", 5));
    assert_eq!(on_link(4, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 4]), unknown("mode of a link", 4));
    assert_eq!(decoded(&framed(8, &[0, 0, 0, 0, 0, 0, 0, 1, 2])), unknown("flag", 2));
}

#[test]
fn a_count_or_length_that_the_frame_cannot_hold_is_an_error() {
    let huge = u32::MAX.to_be_bytes();
    let error = WireError::Count { count: u32::MAX as usize, left: 0 };
    assert_eq!(decoded(&framed(9, &huge)), Err(error));
    assert_eq!(decoded(&framed(10, &huge)), Err(error));
    assert_eq!(decoded(&framed(10, &[&[0; 4], &huge[..]].concat())), Err(error));
    let two_in_fifteen = [&[0, 0, 0, 2], &[0; 15][..]].concat();
    assert_eq!(decoded(&framed(9, &two_in_fifteen)), Err(WireError::Count { count: 2, left: 15 }));
    let body = WireError::Cut { needed: u32::MAX as usize, left: 4 };
    assert_eq!(with_bytes(&submit(submitted()), b"\0\0\0\x04body", b"\xff\xff\xff\xffbody"), Err(body));
}

#[test]
fn names_and_numbers_outside_their_bounds_are_errors_in_both_directions() {
    let long = "n".repeat(CLUSTER_MAX + 1);
    let woke = Frame::Woke { of: vec![] };
    for (frame, error) in [
        (hello(&long, 1, 1), WireError::Cluster),
        (hello("Türklingel", 1, 1), WireError::Cluster),
        (hello("doorbell", 0, 1), WireError::Node(0)),
        (hello("doorbell", 1_024, 1), WireError::Node(1_024)),
        (Frame::Rates { used: vec![], unreachable: vec![NodeId(2), NodeId(u16::MAX)] }, WireError::Node(u16::MAX)),
    ] {
        let mut out = encoded(&woke);
        assert_eq!(frame.encode(&mut out), Err(error));
        assert_eq!(out, encoded(&woke), "nothing is appended");
    }
    assert_eq!(with_bytes(&hello("doorbell", 1, 1), b"door", b"d\xffor"), Err(WireError::Cluster));
    assert_eq!(with_bytes(&hello("doorbell", 1_023, 1), &[3, 255], &[4, 0]), Err(WireError::Node(1_024)));
    let of_65 = [&[0, 1, 0, 1, 0, 0, 0, 65][..], long.as_bytes(), &[0, 1], &[0; 8]].concat();
    assert_eq!(decoded(&framed(1, &of_65)), Err(WireError::Cluster));
}

#[test]
fn a_topic_that_does_not_parse_is_an_error() {
    let frame = submit(submitted());
    assert_eq!(with_bytes(&frame, b"news", b"ne.s"), Err(WireError::Topic(TopicError::Alphabet)));
    assert_eq!(with_bytes(&frame, b"news", b"ne\xffs"), Err(WireError::TopicNotText));
    assert_eq!(WireError::Topic(TopicError::Empty).to_string(), "the topic of a message is not valid: Topic is empty");
}

#[test]
fn no_changed_byte_and_no_garbage_makes_the_decoder_panic_and_what_it_takes_has_one_encoding() {
    let mut random = Random(2);
    let check = |bytes: &[u8]| {
        let mut buffer = BytesMut::from(bytes);
        if let Ok(Some(frame)) = Decoder::new().decode(&mut buffer) {
            assert_eq!(encoded(&frame), bytes[..bytes.len() - buffer.len()]);
        }
    };
    for _ in 0..20_000 {
        let mut bytes = encoded(&random.frame());
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            bytes[at] = if random.below(2) == 0 { random.bits() as u8 } else { bytes[at] ^ 1 };
        }
        check(&bytes);
        let payload: Vec<_> = (0..random.below(60)).map(|_| random.below(5) as u8).collect();
        check(&framed(random.below(14) as u8, &payload));
    }
}

#[test]
fn the_longest_frame_survives_and_a_longer_one_is_not_encoded() {
    let empty = submit(Submitted { body: Bytes::new(), ..submitted() });
    let room = FRAME_MAX - (encoded(&empty).len() - 4);
    let of = |length| submit(Submitted { body: vec![7; length].into(), ..submitted() });
    let longest = encoded(&of(room));
    assert_eq!(longest.len(), 4 + FRAME_MAX);
    assert_eq!(decoded(&longest), Ok(Some(of(room))));

    let mut out = BytesMut::from(&b"before"[..]);
    assert_eq!(of(room + 1).encode(&mut out), Err(WireError::TooLong { length: FRAME_MAX + 1 }));
    let of = vec![ReceiptSubscriptionId::from_raw(1); FRAME_MAX / 8];
    assert!(matches!(Frame::Woke { of }.encode(&mut out), Err(WireError::TooLong { .. })));
    assert_eq!(&out[..], b"before");
}

#[test]
fn bodies_share_the_memory_of_the_buffer() {
    let mut buffer = encoded(&submit(submitted()));
    let memory = buffer.as_ptr_range();
    let Ok(Some(Frame::Submit { message, .. })) = Decoder::new().decode(&mut buffer) else { panic!("a Submit") };
    assert!(memory.contains(&message.body.as_ptr()) && memory.contains(&message.headers.as_ptr()));
}

#[test]
fn after_an_error_every_later_call_returns_it() {
    let (mut decoder, mut buffer) = (Decoder::new(), framed(0, &[]));
    Frame::Ping { number: 1 }.encode(&mut buffer).unwrap();
    let error = Err(WireError::UnknownCode { of: "kind of frame", code: 0 });
    assert_eq!(decoder.decode(&mut buffer), error);
    assert_eq!(decoder.decode(&mut buffer), error);
    assert_eq!(decoder.decode(&mut encoded(&Frame::Ping { number: 2 })), error);
}

#[test]
fn the_bytes_of_a_frame_do_not_change() {
    let hello = Frame::Hello {
        wire_min: WIRE_MIN,
        wire_max: WIRE_MAX,
        cluster: "doorbell".into(),
        node: NodeId(3),
        life: crate::Life(258),
    };
    let fields = ["0001", "0001", "00000008", "646f6f7262656c6c", "0003", "0000000000000102"];
    assert_eq!(hex(&encoded(&hello)), ["0000001b", "01", &fields.concat()].concat());

    let fields = [
        "0000000000000007",
        "01",
        "0102030405060708",
        "0000000000000009",
        "000000000000000a",
        "00000e10",
        "04",
        "01000000046e657773",
        "01000000000000000b",
        "000000026864",
        "00000004626f6479",
    ];
    assert_eq!(hex(&encoded(&submit(submitted()))), ["00000047", "02", &fields.concat()].concat());

    let put = Event::Put { id: MessageId::from_raw(5), second: true, message: None };
    let fields = ["0000000000000001", "0000000000000002", "03", "0000000000000005", "01", "00"];
    let frame = Frame::Event { link: 1, opening: 2, event: put };
    assert_eq!(hex(&encoded(&frame)), ["0000001c", "06", &fields.concat()].concat());
}

#[test]
fn two_nodes_use_the_newest_version_that_both_have() {
    assert_eq!(negotiate(WIRE_MIN..=WIRE_MAX, WIRE_MIN..=WIRE_MAX), Some(1));
    assert_eq!(negotiate(1..=2, 2..=5), Some(2));
    assert_eq!(negotiate(2..=5, 1..=2), Some(2));
    assert_eq!(negotiate(1..=9, 3..=4), Some(4));
    assert_eq!(negotiate(1..=2, 3..=4), None);
    assert_eq!(negotiate(3..=4, 1..=2), None);
    let (start, end) = (4, 3);
    assert_eq!(negotiate(1..=9, start..=end), None, "a range without versions");
}
