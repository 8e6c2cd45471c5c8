//! What every engine owes the service: one suite run on each of them, a differential test between them, and what
//! only durable ones owe: crashes, full disks, old files.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic, and so may what helps it")]

mod bed;
mod cases;
mod crash;
mod differential;
mod faults;
mod format;
mod front;
mod sqlite;

/// Runs each case on each engine, as a test of its own.
macro_rules! on_every_engine {
    ($($file:ident: $($case:ident),+;)+) => {
        mod on_memory {
            $($(#[tokio::test] async fn $case() { crate::cases::$file::$case(crate::bed::Bed::memory).await; })+)+
        }
        mod on_sqlite {
            $($(#[tokio::test] async fn $case() { crate::cases::$file::$case(crate::bed::Bed::sqlite).await; })+)+
        }
    };
}

on_every_engine! {
    agents:
        what_was_made_can_be_read,
        what_was_not_made_is_not_there,
        an_id_is_given_once,
        a_subscription_needs_its_agent,
        an_agent_has_a_bounded_number_of_subscriptions,
        a_subscription_is_removed_by_its_agent_only,
        a_removed_subscription_takes_its_messages_along_and_leaves_the_others_ps_8030_7_3_4,
        a_removed_agent_takes_everything_along_ps_8030_7_3_1_3;
    messages:
        a_message_comes_back_byte_for_byte_ps_8030_5_3,
        a_message_needs_a_subscription_of_its_agent,
        a_message_id_is_given_once_and_the_first_message_stays,
        messages_are_listed_oldest_first_and_page_by_page,
        an_erased_message_is_gone_and_erasing_it_again_says_so_ps_8030_6_2_6,
        a_message_is_erased_by_its_agent_only,
        messages_are_read_in_the_order_that_was_asked_for,
        writes_queued_without_waiting_take_effect_in_order,
        the_greatest_id_outlives_its_row;
    topics:
        a_newer_message_replaces_the_one_of_its_topic_ps_8030_5_4_2,
        a_topic_belongs_to_one_subscription_ps_8030_5_4_3,
        a_replacement_brings_its_own_expiry_and_urgency_ps_8030_5_4_4,
        a_topic_is_free_again_once_its_message_is_gone_ps_8030_5_4_7,
        of_many_at_once_exactly_one_survives_ps_8030_5_4_8;
    quota:
        a_full_agent_is_refused_and_keeps_what_it_has,
        octets_count_as_well_as_messages,
        erasing_makes_room,
        what_has_expired_makes_room,
        a_removed_subscription_makes_room,
        a_sweep_makes_room,
        a_replaced_message_makes_room_for_its_successor,
        a_refused_replacement_leaves_the_old_message,
        one_full_agent_does_not_touch_another;
    expiry:
        an_expired_message_is_never_read_ps_8030_5_2_7,
        a_sweep_deletes_what_expired_and_nothing_else,
        a_sweep_goes_in_bounded_steps;
}
