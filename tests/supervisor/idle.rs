//! Costs while the command runs: one thread, which wakes up once, to give back the memory of the start.

use crate::harness::{
    Run, eventually,
    processes::{Process, command_of, status},
    role::in_both_roles,
};
use std::{thread, time::Duration};

#[test]
fn while_the_command_sleeps_the_wrapper_has_one_thread_and_wakes_up_once() {
    in_both_roles(|role| {
        for options in [&[][..], &["--plugin", "echo", "--plugin", "istio-quit"], &["--stop-timeout", "1s"]] {
            let mut run = role.wrapper().with(options).with(&["sh", "-c", "echo ready; exec sleep 30"]).running();
            run.until_stdout_has("ready\n");
            let wrapper = role.pid(&run);
            // Once its helper is done and gone.
            command_of(wrapper);
            eventually("it sleeps", || Process::find(wrapper).unwrap().state == 'S');
            let wakeups = || status(wrapper, "voluntary_ctxt_switches").unwrap().parse::<u32>().unwrap();
            let before = wakeups();
            // The time over which it is watched: a second after the start it gives memory back.
            thread::sleep(Duration::from_millis(2500));
            let woken = wakeups() - before;
            assert!(woken <= 1, "{role:?} {options:?}: {woken}");
            assert_eq!(status(wrapper, "Threads").unwrap(), "1", "{role:?} {options:?}");
        }
    });
}
