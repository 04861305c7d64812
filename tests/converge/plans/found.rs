//! Plans that have found bugs: do they end as they should now? What each has found is its test's name.

use std::time::Duration;

use super::{check, plan::Plan};

fn ends_well(line: &str) {
    ends_well_and_rests(line, Duration::from_secs(20));
}

/// Plays a plan a few times: the order in which tasks are polled is no part of it.
fn ends_well_and_rests(line: &str, calm: Duration) {
    let plan = Plan::from_line(line);
    for _ in 0..5 {
        if let Err(story) = check(&plan, calm) {
            panic!("{story}");
        }
    }
}

#[test]
fn a_pod_whose_end_two_crashes_have_prevented_is_stopped_although_no_step_names_it() {
    ends_well(
        r#"{"scenario":{"steps":[{"name":"s0","act":"Container","retry":{"limit":2,"errors":["Timeout"]},"timeout":300,"fares":["Unplaced"]}],"runs":2},"troubles":[{"Crash":{"write":18,"after":true,"back":0}},{"Crash":{"write":22,"after":false,"back":0}}]}"#,
    );
}

#[test]
fn a_job_that_had_ended_when_a_leader_wanted_to_make_it_is_looked_at() {
    ends_well(
        r#"{"scenario":{"steps":[{"name":"s1","act":"Container","each":{"count":5,"parallel":1,"tolerate":1,"bad":[4]}}],"runs":3},"troubles":[{"Delay":{"percent":50,"least":0,"most":30,"until":60}},{"Overlap":{"at":5,"secs":12}}]}"#,
    );
}

#[test]
fn a_child_run_that_comes_late_to_a_new_leader_is_not_lost() {
    ends_well(
        r#"{"scenario":{"steps":[{"name":"s2","act":"Call","fares":[{"Well":50}]},{"name":"s3","act":"Child","after":["s2"]}],"part":[{"name":"p0","act":"Container"}],"runs":1},"troubles":[{"Delay":{"percent":100,"least":0,"most":10,"until":120}},{"Overlap":{"at":6,"secs":12}}]}"#,
    );
}

#[test]
fn two_leaders_do_not_write_the_status_of_a_service_in_turn() {
    ends_well(
        r#"{"scenario":{"steps":[{"name":"s0","act":"Call","fares":["Reset"]}],"finally":[{"name":"f1","act":"Call","retry":{"limit":2},"fares":[{"Status":500}]}],"runs":1},"troubles":[{"Overlap":{"at":10,"secs":30}},{"Drop":{"percent":100,"until":10}}]}"#,
    );
}

#[test]
fn a_leader_that_has_not_heard_of_a_step_does_not_stop_what_it_does() {
    ends_well(
        r#"{"scenario":{"steps":[{"name":"s0","act":"Call","retry":{"limit":1},"fares":[{"Status":503},{"Well":50}]},{"name":"s1","act":"Container","after":["s0"]},{"name":"s2","act":"Container","after":["s1"],"each":{"count":12,"parallel":1,"tolerate":4,"bad":[2,3,4,8]}}],"runs":2},"troubles":[{"Overlap":{"at":6,"secs":30}},{"Delay":{"percent":100,"least":1,"most":10,"until":10}}]}"#,
    );
}

#[test]
fn two_leaders_do_not_write_a_slice_in_turn() {
    ends_well(
        r#"{"scenario":{"steps":[{"name":"s0","act":"Container","interruptible":true,"fares":[{"Well":300},{"Well":50}]},{"name":"s1","act":"Call","once":true,"fares":[{"Well":50}]}],"runs":1},"troubles":[{"Overlap":{"at":11,"secs":5}},{"Delay":{"percent":10,"least":5,"most":10,"until":10}},{"Burst":{"from":7,"calls":100,"code":429}}]}"#,
    );
}

#[test]
fn a_service_that_comes_while_a_run_that_will_wait_for_it_is_written_is_not_overlooked() {
    ends_well(
        r#"{"scenario":{"steps":[{"name":"s0","act":"Child"},{"name":"s1","act":"Call","after":["s0"],"undo":{"container":false,"fares":[{"Status":503},{"Well":50}]},"fares":[{"Well":50}]},{"name":"s2","act":"Container","after":["s1"],"fares":[{"Well":12000}]},{"name":"s3","act":"Call","after":["s2"],"undo":{"container":true},"fares":[{"Well":50}]},{"name":"s4","act":"Transform","after":["s3"],"when":true,"each":{"count":1,"parallel":2,"tolerate":0,"bad":[]}}],"part":[{"name":"p0","act":"Call","fares":[{"Well":50}]},{"name":"p1","act":"Call","after":["p0"],"fares":[{"Status":500}]}],"runs":2},"troubles":[{"Late":{"write":11,"secs":3}},{"Delay":{"percent":100,"least":0,"most":10,"until":120}},{"Break":{"every":7,"times":10}}]}"#,
    );
}

#[test]
fn a_child_run_is_not_ended_because_a_new_leader_knows_its_parent_only_as_it_was() {
    ends_well(
        r#"{"scenario":{"steps":[{"name":"s0","act":{"Wait":40}},{"name":"s1","act":"Container","after":["s0"],"when":false,"fares":[{"Well":1500}]},{"name":"s2","act":"Call","after":["s0","s1"],"fares":[{"Well":50}]},{"name":"s3","act":"Call","after":["s1","s2"],"fares":[{"Status":500}]},{"name":"s4","act":"Child"},{"name":"s5","act":{"Wait":1},"after":["s2"],"when":false}],"part":[{"name":"p0","act":"Transform"},{"name":"p1","act":"Container","after":["p0"],"interruptible":true,"fares":[{"Well":12000},{"Well":50}]}],"runs":1,"person":true},"troubles":[{"Overlap":{"at":11,"secs":30}},{"Drop":{"percent":30,"until":10}},{"Crash":{"write":9,"after":true,"back":45}}]}"#,
    );
}

#[test]
fn a_child_run_that_a_fast_clock_has_dated_is_not_told_of_a_minute_later() {
    ends_well(
        r#"{"scenario":{"steps":[{"name":"s2","act":"Call"},{"name":"s3","act":"Child"}],"part":[{"name":"p0","act":"Call","once":true}],"runs":1},"troubles":[{"Crash":{"write":16,"after":true,"back":0}},{"Skew":{"operator":2,"secs":60}},{"Crash":{"write":2,"after":true,"back":0}}]}"#,
    );
}

#[test]
fn a_pod_that_was_made_beside_one_of_which_no_answer_came_is_not_made_again() {
    ends_well(
        r#"{"scenario":{"steps":[{"name":"s0","act":"Container"},{"name":"s1","act":"Container","once":true,"fares":[{"Vanish":1500}]}],"runs":1},"troubles":[{"Slow":{"every":3,"times":4,"secs":6}},{"Delay":{"percent":50,"least":5,"most":2,"until":10}}]}"#,
    );
}

#[test]
fn a_leader_that_lags_does_not_make_the_pod_of_a_run_that_has_ended() {
    ends_well(
        r#"{"scenario":{"steps":[{"name":"s0","act":"Child"}],"part":[{"name":"p0","act":"Container","fares":["Stuck"]}],"runs":1},"troubles":[{"Overlap":{"at":9,"secs":30}},{"Delay":{"percent":50,"least":1,"most":30,"until":60}}]}"#,
    );
}

#[test]
fn runs_that_cannot_be_written_do_not_spin_over_their_turns() {
    ends_well(
        r#"{"scenario":{"steps":[{"name":"s0","act":"Call","retry":{"limit":3,"errors":["Connection","Timeout","PodLost","ServerError","Rejected"]},"fares":[{"Status":500}]}],"runs":3,"places":1},"troubles":[{"Cutoff":{"at":9,"secs":30}}]}"#,
    );
}

#[test]
fn a_pod_that_has_gone_unseen_is_missed_although_the_read_that_would_tell_fails() {
    ends_well(
        r#"{"scenario":{"steps":[{"name":"s0","act":"Container","fares":[{"Vanish":10}]}],"runs":2},"troubles":[{"Drop":{"percent":100,"until":10}},{"Burst":{"from":78,"calls":1,"code":503}}]}"#,
    );
}

#[test]
fn what_was_learned_of_a_service_may_be_told_when_all_else_is_long_over() {
    let line = r#"{"scenario":{"steps":[{"name":"s0","act":"Call","retry":{"limit":3,"errors":["Timeout"]},"timeout":300,"fares":["Hang"]}],"runs":1},"troubles":[{"Crash":{"write":9,"after":true,"back":45}}]}"#;
    ends_well_and_rests(line, Duration::from_secs(2 * 3600));
}

#[test]
fn a_leader_that_has_been_followed_does_not_make_again_what_its_successor_has_ended() {
    ends_well(
        r#"{"scenario":{"steps":[{"name":"s0","act":"Container","fares":["Stuck"]},{"name":"s2","act":"Call","after":["s0"]}],"part":[{"name":"p2","act":"Call"}],"runs":1},"troubles":[{"Delay":{"percent":100,"least":1,"most":30,"until":60}},{"Overlap":{"at":1,"secs":12}},{"Slow":{"every":3,"times":4,"secs":6}}]}"#,
    );
}

#[test]
fn a_leader_whose_lists_are_older_than_a_policy_goes_without_it() {
    ends_well(
        r#"{"scenario":{"steps":[{"name":"s1","act":"Call"}],"runs":1,"slots":3},"troubles":[{"Delay":{"percent":100,"least":1,"most":30,"until":10}},{"Crash":{"write":4,"after":true,"back":0,"past":12}}]}"#,
    );
}

#[test]
fn runs_that_end_while_the_last_events_arrive_have_their_counts_written_after_that() {
    ends_well(
        r#"{"scenario":{"steps":[{"name":"s0","act":"Child"}],"finally":[{"name":"f0","act":"Container","fares":[{"Well":12000}]},{"name":"f1","act":"Call","after":["f0"],"retry":{"limit":3},"fares":[{"Status":500}]}],"part":[{"name":"p0","act":"Container","once":true,"fares":[{"Evicted":3000}]},{"name":"p2","act":{"Wait":1},"after":["p0"]}],"runs":3,"person":true},"troubles":[{"Delay":{"percent":100,"least":5,"most":30,"until":120}},{"Crash":{"write":8,"after":false,"back":0}}]}"#,
    );
}

#[test]
fn an_undoing_that_has_begun_is_not_begun_again_because_another_step_turns_out_to_be_done() {
    ends_well(
        r#"{"scenario":{"steps":[{"name":"s0","act":"Call","fares":[{"Well":50}]},{"name":"s2","act":"Container","fares":[{"Exit":1}]},{"name":"s3","act":"Call","after":["s0"],"undo":{"container":false,"fares":[{"Status":400}]}},{"name":"s4","act":"Container","after":["s0"],"once":true,"undo":{"container":false,"fares":[{"Status":400}]},"fares":[{"Evicted":3000}]}],"runs":3,"person":true,"places":4},"troubles":[{"Conflict":{"every":2,"times":20}}]}"#,
    );
}
