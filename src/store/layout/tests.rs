//! Golden bytes, bijection and order.

use super::*;
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn profiles() -> impl Strategy<Value = ProfileKey> {
    (any::<bool>(), "\\PC{0,12}").prop_map(|(known, id)| {
        if known {
            ProfileKey::customer(&id)
        } else {
            ProfileKey::anonymous(&id)
        }
    })
}

#[test]
fn the_bytes_are_these_and_a_change_is_a_migration() {
    let c42 = ProfileKey::customer("42");
    let identity = StoreIdentity {
        application: "shop".into(),
        cluster: "kraft-1".into(),
        partition: 3,
        partitions: 8,
    };
    let input = MetaKey::Input {
        partition: 3,
        topic: "clicks".into(),
    };
    for (what, bytes, golden) in [
        (
            "section",
            section_key(&c42, SectionId::Running, 2),
            "50010004633a34320602",
        ),
        ("prefix", profile_prefix(&c42), "50010004633a3432"),
        (
            "flow text",
            flow_text_key("00ff00ff00ff00ff").unwrap(),
            "54010130306666303066663030666630306666",
        ),
        (
            "flow text's value",
            flow_text_value(None, "é"),
            "020000000000000000c3a9",
        ),
        (
            "a retired flow text's value",
            flow_text_value(Some(Timestamp::from_millis(258)), "é"),
            "020000000000000102c3a9",
        ),
        ("clock", clock_key(), "540102"),
        ("ledger", ledger_key(), "540105"),
        (
            "erasure",
            erasure_key("0123456789abcdef0123456789abcdef"),
            "5401043031323334353637383961626364656630313233343536373839616263646566",
        ),
        (
            "erasure's value",
            erasure_value(Timestamp::from_millis(258)),
            "010000000000000102",
        ),
        (
            "clock's value",
            clock_value(Timestamp::from_millis(-1)),
            "01ffffffffffffffff",
        ),
        (
            "index",
            index_key(Timestamp::from_millis(1), &c42),
            "8000000000000001633a3432",
        ),
        (
            "index before 1970",
            index_key(Timestamp::from_millis(-1), &c42),
            "7fffffffffffffff633a3432",
        ),
        ("meta identity", meta_key(&MetaKey::Identity), "01"),
        (
            "identity",
            identity_value(&identity),
            "010000000300000008000473686f706b726166742d31",
        ),
        ("meta changelog", meta_key(&MetaKey::Changelog), "02"),
        ("meta written at", meta_key(&MetaKey::WrittenAt), "03"),
        ("meta input", meta_key(&input), "0400000003636c69636b73"),
        ("meta stained", meta_key(&MetaKey::Stained), "05"),
        ("position", number_value(258).to_vec(), "0000000000000102"),
    ] {
        assert_eq!(hex(&bytes), golden, "{what}");
    }
    assert_eq!(decode_identity(&identity_value(&identity)), Ok(identity));
    assert_eq!(decode_meta_key(&meta_key(&input)), Ok(input));
    for retired in [None, Some(Timestamp::from_millis(7))] {
        let value = flow_text_value(retired, "é");
        assert_eq!(decode_flow_text(&value), Ok((retired, "é")));
    }
    assert_eq!(
        decode_clock(&clock_value(Timestamp::from_millis(-7))),
        Ok(Timestamp::from_millis(-7))
    );
    assert_eq!(decode_state_key(&clock_key()), Ok(StateKey::Clock));
    assert_eq!(decode_state_key(&ledger_key()), Ok(StateKey::Ledger));
    let erasure = erasure_key(&"a".repeat(32));
    assert_eq!(decode_state_key(&erasure), Ok(StateKey::Erasure));
    assert_eq!(decode_meta_key(&[5]), Ok(MetaKey::Stained));
}

#[test]
fn cut_foreign_and_newer_bytes_are_refused() {
    let key = section_key(&ProfileKey::customer("42"), SectionId::Person, 0);
    for len in 0..key.len() {
        assert!(decode_state_key(&key[..len]).is_err(), "{len} bytes");
    }
    for bytes in [
        &b"P\x02\x00\x04c:42\x01\x00"[..],
        b"P\x01\x00\x04x:42\x01\x00",
        b"P\x01\x00\x04c:42\x01\x00\x00",
        b"P\x01\x00\x03c:\xff\x01\x00",
        b"T\x01\x01short",
        b"T\x01\x04short",
        b"T\x01\x09",
    ] {
        assert!(decode_state_key(bytes).is_err(), "{}", hex(bytes));
    }
    assert_eq!(flow_text_key("UPPERCASE0000000"), None);
    assert!(decode_index_key(b"1234567").is_err() && decode_clock(b"\x01\x00").is_err());
    assert!(decode_identity(b"\x01\x00\x00").is_err() && decode_meta_key(b"\x04\x00").is_err());
}

proptest! {
    #[test]
    fn section_keys_read_back_and_lie_within_their_profiles_prefix(
        profile in profiles(), other in profiles(), section in 0_u8..=255, chunk in 0_u8..=255,
    ) {
        let mut key = profile_prefix(&profile);
        key.extend([section, chunk]);
        prop_assert_eq!(prefix_len(&key), Some(key.len() - 2));
        prop_assert_eq!(key.starts_with(&profile_prefix(&other)), profile == other);
        prop_assert_eq!(decode_state_key(&key), Ok(StateKey::Section { profile, section, chunk }));
    }

    #[test]
    fn byte_order_of_index_keys_is_the_order_of_timers_tm1(
        (due, profile) in (any::<i64>(), profiles()), (later, other) in (any::<i64>(), profiles()),
    ) {
        let (due, later) = (Timestamp::from_millis(due), Timestamp::from_millis(later));
        let (key, next) = (index_key(due, &profile), index_key(later, &other));
        prop_assert_eq!(key.cmp(&next), (due, &profile).cmp(&(later, &other)));
        let within = index_end(later).is_none_or(|end| key.as_slice() < end.as_slice());
        prop_assert_eq!(within, due <= later);
        prop_assert_eq!(decode_index_key(&key), Ok((due, profile)));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        prop_assert!(decode_index_key(&bytes).is_ok() <= (bytes.len() >= 10));
        prop_assert!(decode_identity(&bytes).is_ok() <= (bytes.len() >= 11));
        prop_assert!(decode_clock(&bytes).is_ok() <= (bytes.len() == 9));
        prop_assert!(decode_state_key(&bytes).is_ok() <= (bytes.len() >= 3));
        prop_assert!(decode_meta_key(&bytes).is_ok() <= !bytes.is_empty());
        prop_assert!(decode_flow_text(&bytes).is_ok() <= (bytes.len() >= 9));
    }
}
