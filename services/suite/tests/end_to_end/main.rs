//! Bursar from outside: what a product that uses it over gRPC may rely on, in one process on SQLite and in three
//! processes on PostgreSQL alike.
#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod acting;
mod alerting;
mod checkpoints;
mod clock;
mod entitling;
mod exporting;
mod feeds;
mod finance;
mod fuzzing;
mod ids_of_another;
mod input;
mod limiting;
mod members;
mod operations;
mod page_tokens;
mod policies;
mod pool;
mod production;
mod reloading;
mod standing;
mod starting;
mod story;
#[path = "../support/mod.rs"]
mod support;
mod texts;
mod trust;
mod windows;

/// Makes of each behaviour two tests: `one_process::…` and `three_processes::…`.
macro_rules! behaviours {
    ($($module:ident::$name:ident,)+) => {
        mod one_process {
            behaviours!(@tests Suite, $($module::$name,)+);
        }
        mod three_processes {
            behaviours!(@tests Split, $($module::$name,)+);
        }
    };
    (@tests $topology:ident, $($module:ident::$name:ident,)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            crate::support::world::play(bursar_testkit::Topology::$topology, crate::$module::$name).await;
        }
    )+};
}

behaviours! {
    story::a_team_signs_up_subscribes_invites_spends_and_sees_who_spent_what,
    story::seats_come_from_the_plan,
    story::invoices_are_mailed_to_whom_they_are_for,
    entitling::what_a_plan_allows_is_read_from_organization_as_it_changes,
    members::a_removed_member_is_refused_within_two_seconds_and_pays_nothing_personally,
    members::who_is_invited_back_spends_again,
    members::nothing_falls_back_from_one_context_to_another,
    members::a_stranger_learns_nothing,
    members::billing_is_for_who_may_manage_it,
    limiting::a_project_is_limited_as_soon_as_it_is_made,
    alerting::what_crosses_a_percentage_is_mailed_once,
    exporting::an_owner_exports_what_all_services_know,
    policies::an_owners_policy_holds_within_two_seconds,
    policies::a_deployments_policy_holds_within_two_seconds,
    pool::many_callers_never_spend_more_than_there_is,
    pool::racers_on_the_last_credits_get_exactly_what_is_left,
    pool::racers_on_one_request_get_one_charge_and_equal_answers,
    pool::a_refusal_does_not_burn_the_request_id,
    pool::capture_and_release_race_and_one_wins,
    input::bad_tokens,
    input::bad_ids,
    input::bad_amounts,
    input::bad_numbers_of_enums,
    input::bad_texts,
    input::bad_credentials,
    input::tokens_that_are_cut_or_changed_are_nobodys,
    input::oversized_messages,
    trust::garbled_messages_are_the_callers_fault_in_every_service,
    trust::documents_too_deep_or_too_long_are_refused_and_the_service_goes_on,
    page_tokens::page_tokens_belong_to_the_list_that_gave_them,
    trust::refusals_fit_into_headers_whatever_was_sent,
    texts::names_are_what_they_seem,
    texts::no_text_is_longer_than_may_be_and_none_comes_back,
    acting::only_a_service_acts_for_a_user_in_every_service,
    acting::an_owner_cannot_leave_in_the_name_of_somebody_who_owns_nothing,
    standing::a_suspended_user_is_refused_in_every_service_within_two_seconds,
    standing::who_deletes_the_account_pays_nothing_within_two_seconds_though_the_token_is_valid,
    standing::an_operator_acts_for_a_user_in_every_service_under_both_names,
    standing::a_deleted_organization_spends_nothing_within_two_seconds_until_it_is_back,
    ids_of_another::ids_of_another_are_like_none_in_identity,
    ids_of_another::ids_of_another_are_like_none_in_organization,
    ids_of_another::ids_of_another_are_like_none_in_billing,
    operations::reflection_lists_every_service,
    operations::health_says_serving,
    operations::methods_of_other_services_are_refused,
    operations::a_stop_is_graceful_with_open_streams,
    clock::twelve_leaps_of_a_month_in_a_moment_stop_nothing,
    clock::tokens_expire_and_a_month_renews_the_allowance_but_not_the_pack,
    feeds::a_restored_organization_has_the_last_word_under_numbers_that_were_used_before,
    feeds::a_restored_billing_hears_again_of_what_it_forgot,
    feeds::a_restored_identity_is_heard_under_numbers_that_were_used_before,
    windows::a_program_serves_on_an_expanded_store_and_not_on_a_contracted_one,
}
