//! A terminal works as without wrapper: keys such as Ctrl-C reach the command once, it can read, and the shell's job
//! control stops and resumes both.

use crate::harness::{
    Run, eventually, guests, kill,
    processes::{Process, status},
    programs::child,
    pty::{CTRL_C, CTRL_D, CTRL_S, CTRL_Z, Terminal},
    role::{Role, in_both_roles},
    wrapper,
};
use nix::libc;

/// Ways to run the command; in a terminal the user sees no difference between them.
const WAYS: [&str; 2] = ["", "--kill-group"];

/// Both have stopped, and the shell is the foreground again.
#[track_caller]
fn assert_both_stop(terminal: &Terminal, command: &str) {
    terminal.until_state(command, &['T']);
    terminal.until_state("wrapper", &['T']);
    let bash = terminal.leader_group();
    eventually("the shell has the terminal", || terminal.foreground() == bash);
}

#[track_caller]
fn assert_both_run(terminal: &Terminal, command: &str) {
    terminal.until_state(command, &['S', 'R']);
    terminal.until_state("wrapper", &['S', 'R']);
}

/// Ctrl-Z and fg: both stop, and both run again.
#[track_caller]
fn suspend_and_resume(terminal: &mut Terminal, command: &str) {
    terminal.types(CTRL_Z);
    assert_both_stop(terminal, command);
    terminal.enters("fg");
    assert_both_run(terminal, command);
}

/// Both are gone, with this exit code, and the shell takes commands.
#[track_caller]
fn assert_code(terminal: &mut Terminal, code: i32) {
    terminal.enters("echo code $?.");
    terminal.until_it_shows(&format!("code {code}."));
}

#[test]
fn ctrl_c_reaches_the_command_exactly_once() {
    for way in WAYS {
        let mut terminal = Terminal::with_shell();
        terminal.enters(&format!("$wrapper {way} $child report child 64 42"));
        terminal.until_it_shows("child ready");
        terminal.types(CTRL_C);
        terminal.until_it_shows("child 2\r\n");
        kill(terminal.process("wrapper").pid, 64);
        assert_code(&mut terminal, 42);
        assert_eq!(terminal.shows().matches("child 2\r\n").count(), 1, "{way}: {}", terminal.shows());
    }
}

#[test]
fn ctrl_c_ends_a_command_that_does_not_handle_it_with_130() {
    for way in WAYS {
        let mut terminal = Terminal::with_shell();
        terminal.enters(&format!("$wrapper {way} sh -c 'echo ready; exec sleep 30'"));
        terminal.until_it_shows("ready");
        terminal.types(CTRL_C);
        assert_code(&mut terminal, 130);
    }
}

#[test]
fn the_leader_of_a_session_gets_ctrl_c_once_too_and_forwards_a_hangup() {
    in_both_roles(|role| {
        let output = tempfile::NamedTempFile::new().unwrap();
        let shown = || std::fs::read_to_string(output.path()).unwrap();
        let script = r#"exec "$0" report child 1 42 > "$1""#;
        let path = output.path().to_str().unwrap();
        let mut terminal = Terminal::with(role.wrapper().with(&["sh", "-c", script, child(), path]));
        eventually("it is ready", || shown().contains("ready"));
        terminal.types(CTRL_C);
        eventually("it has Ctrl-C", || shown().contains("child 2\n"));
        // As PID 1 of unshare, wrapper does not lead the session: unshare does, and gets the SIGHUP.
        match role {
            Role::Process => terminal.hang_up(),
            Role::Init => kill(terminal.process("wrapper").pid, libc::SIGHUP),
        }
        eventually("it has the hangup", || shown().contains("child 1\n"));
        assert_eq!(shown().matches("child 2\n").count(), 1, "{}", shown());
    });
}

#[test]
fn a_command_can_read_the_terminal() {
    for way in WAYS {
        for command in ["tac", "bash -m -c 'tac; true'"] {
            let mut terminal = Terminal::with_shell();
            terminal.enters(&format!("$wrapper {way} {command}"));
            terminal.process("tac");
            terminal.enters("first");
            terminal.enters("second");
            terminal.types(CTRL_D);
            terminal.until_it_shows("second\r\nfirst\r\n");
            assert_code(&mut terminal, 0);
        }
    }
}

#[test]
fn ctrl_z_stops_both_and_fg_resumes_both() {
    for way in WAYS {
        let mut terminal = Terminal::with_shell();
        terminal.enters(&format!("$wrapper {way} cat"));
        for round in 1..=2 {
            terminal.enters(&format!("round {round}"));
            terminal.until_it_shows(&format!("round {round}\r\n"));
            suspend_and_resume(&mut terminal, "cat");
        }
        terminal.enters("once more");
        terminal.until_it_shows("once more\r\n");
        terminal.types(CTRL_D);
        assert_code(&mut terminal, 0);
    }
}

#[test]
fn ctrl_z_stops_the_whole_pipeline() {
    for way in WAYS {
        let mut terminal = Terminal::with_shell();
        terminal.enters(&format!("$wrapper {way} cat | tr a-z A-Z"));
        terminal.process("cat");
        terminal.process("tr");
        terminal.types(CTRL_Z);
        assert_both_stop(&terminal, "cat");
        terminal.until_state("tr", &['T']);
        terminal.enters("fg");
        assert_both_run(&terminal, "cat");
        terminal.enters("hello");
        terminal.types(CTRL_D);
        terminal.until_it_shows("HELLO");
        assert_code(&mut terminal, 0);
    }
}

/// A shell waits for its child, and both are in the foreground: what is typed and what stops is for both.
#[test]
fn a_command_of_several_processes_reads_and_is_interrupted_stopped_and_resumed_as_a_whole() {
    for way in WAYS {
        for pipe in ["", " | cat"] {
            let mut terminal = Terminal::with_shell();
            terminal.enters(&format!("$wrapper {way} sh -c 'tac </dev/tty; sleep 30; true'{pipe}"));
            terminal.process("tac");
            terminal.enters("first");
            terminal.enters("second");
            terminal.types(CTRL_D);
            terminal.until_it_shows("second\r\nfirst\r\n");
            terminal.process("sleep");
            suspend_and_resume(&mut terminal, "sleep");
            terminal.types(CTRL_C);
            let gone =
                |name: &str| !Process::all().iter().any(|it| it.name == name && it.session == terminal.leader_group());
            eventually("all of it is interrupted", || gone("sleep") && gone("wrapper"));
        }
    }
}

#[test]
fn a_command_has_the_terminal_from_its_start_and_in_a_pipeline_when_it_reads() {
    for way in WAYS {
        let mut terminal = Terminal::with_shell();
        terminal.enters(&format!("$wrapper {way} sleep 30"));
        let command = terminal.process("sleep");
        assert_eq!((command.group, terminal.foreground()), (command.pid, command.pid), "{way}");
    }
}

/// The shell that started it has gone: nobody would resume a wrapper that stops itself.
#[test]
fn a_command_that_reads_a_terminal_it_is_not_given_stays_stopped_and_costs_nothing() {
    let mut terminal = Terminal::with_shell();
    terminal.enters("( (sleep 0.5; exec $wrapper cat </dev/tty) & )");
    terminal.until_state("cat", &['T']);
    let wrapper = terminal.process("wrapper").pid;
    let used = || {
        let stat = std::fs::read_to_string(format!("/proc/{wrapper}/stat")).unwrap();
        let fields: Vec<u64> =
            stat.rsplit_once(')').unwrap().1.split_whitespace().filter_map(|it| it.parse().ok()).collect();
        fields[10] + fields[11]
    };
    let before = used();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(used() - before <= 5, "{} hundredths of a second", used() - before);
}

/// `less` reads the terminal too, and both are one job of the shell.
#[test]
fn in_a_pipeline_the_one_that_reads_the_terminal_has_it_and_ctrl_c_reaches_all() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "line\n".repeat(1000)).unwrap();
    for way in WAYS {
        let mut terminal = Terminal::with_shell();
        // Stands for a pager: takes what comes on its input, and asks at the terminal.
        let pager = "bash -c 'wc -l; echo asks; read -r answer </dev/tty; echo \"answered $answer\"'";
        terminal.enters(&format!("$wrapper {way} cat {} | {pager}", file.display()));
        terminal.until_it_shows("asks\r\n");
        terminal.enters("well");
        terminal.until_it_shows("1000\r\nasks\r\nanswered well\r\n");
        assert_code(&mut terminal, 0);
        let cat = "bash -c 'trap \"\" INT; exec cat'";
        terminal.enters(&format!("$wrapper {way} $child report child 64 42 | {cat}"));
        terminal.until_it_shows("child ready");
        terminal.types(CTRL_C);
        terminal.until_it_shows("child 2\r\n");
        kill(terminal.process("wrapper").pid, 64);
        eventually("it has ended", || terminal.foreground() == terminal.leader_group());
        assert_eq!(terminal.shows().matches("child 2\r\n").count(), 1, "{way}: {}", terminal.shows());
        // The command asks at the terminal, and gets it.
        let asks = "bash -c 'read -r answer </dev/tty; echo \"has $answer\"'";
        terminal.enters(&format!("$wrapper {way} {asks} | cat"));
        terminal.process("wrapper");
        terminal.enters("more");
        terminal.until_it_shows("has more\r\n");
        assert_code(&mut terminal, 0);
    }
}

/// With unshare(1) the group that has the terminal is outside the namespace, and has no number in it.
#[test]
fn a_shell_gets_the_terminal_though_the_group_before_has_no_number() {
    for way in WAYS {
        let mut run = std::process::Command::new("unshare");
        run.args(["-pf", "--mount-proc", "--kill-child", env!("CARGO_BIN_EXE_wrapper")]);
        run.args(way.split_whitespace()).args(["--", "bash", "--norc", "--noprofile", "--noediting", "-i"]);
        run.env_clear().env("PS1", "inner:").env("PATH", "/usr/bin:/bin");
        let mut terminal = Terminal::with(run);
        terminal.until_it_shows("inner:");
        terminal.enters("cat");
        terminal.enters("hello");
        terminal.until_it_shows("hello\r\n");
        terminal.types(CTRL_D);
        terminal.enters("exit 9");
        assert_eq!(terminal.exit_code(), Some(9), "{way}: {}", terminal.shows());
    }
}

#[test]
fn in_the_background_outside_the_namespace_the_terminal_is_not_taken() {
    let mut terminal = Terminal::with_shell();
    terminal.enters("unshare -pf --mount-proc --kill-child $wrapper sh -c 'echo started; exec cat' &");
    terminal.until_it_shows("started");
    terminal.process("cat");
    assert_eq!(terminal.foreground(), terminal.leader_group());
    terminal.enters("echo the shell $((40 + 2))");
    terminal.until_it_shows("the shell 42");
    terminal.enters("fg");
    terminal.enters("hello");
    terminal.until_it_shows("hello\r\n");
    terminal.types(CTRL_D);
    assert_code(&mut terminal, 0);
}

#[test]
fn a_command_that_reads_from_the_background_stops_with_the_wrapper_until_fg() {
    for way in WAYS {
        let mut terminal = Terminal::with_shell();
        terminal.enters(&format!("$wrapper {way} cat &"));
        assert_both_stop(&terminal, "cat");
        terminal.enters("fg");
        assert_both_run(&terminal, "cat");
        terminal.enters("hello");
        terminal.until_it_shows("hello\r\n");
        terminal.types(CTRL_D);
        assert_code(&mut terminal, 0);
    }
}

#[test]
fn bg_lets_a_stopped_command_go_on_and_the_shell_keeps_the_terminal() {
    for way in WAYS {
        let mut terminal = Terminal::with_shell();
        terminal.enters(&format!("$wrapper {way} sleep 3"));
        terminal.process("sleep");
        terminal.types(CTRL_Z);
        assert_both_stop(&terminal, "sleep");
        terminal.enters("bg");
        assert_both_run(&terminal, "sleep");
        assert_eq!(terminal.foreground(), terminal.leader_group(), "{way}");
        terminal.enters("wait $!");
        assert_code(&mut terminal, 0);
    }
}

#[test]
fn a_stop_signal_sent_to_the_wrapper_stops_both_and_sigcont_resumes_both() {
    for way in WAYS {
        let mut terminal = Terminal::with_shell();
        terminal.enters(&format!("$wrapper {way} sleep 30"));
        terminal.process("sleep");
        let pid = terminal.process("wrapper").pid;
        kill(pid, libc::SIGTSTP);
        assert_both_stop(&terminal, "sleep");
        kill(pid, libc::SIGCONT);
        assert_both_run(&terminal, "sleep");
        kill(pid, libc::SIGTERM);
        eventually("both are gone", || Process::find(pid).is_none());
    }
}

#[test]
fn a_shell_inside_can_control_its_own_jobs_and_gives_the_terminal_back() {
    for way in WAYS {
        let mut terminal = Terminal::with_shell();
        terminal.enters(&format!("$wrapper {way} env PS1=inner: bash --norc --noprofile --noediting -i"));
        terminal.until_it_shows("inner:");
        terminal.enters("cat");
        terminal.process("cat");
        terminal.types(CTRL_Z);
        terminal.until_state("cat", &['T']);
        terminal.until_it_shows_times(2, "inner:");
        terminal.enters("fg");
        terminal.enters("hello");
        terminal.until_it_shows("hello\r\n");
        terminal.types(CTRL_D);
        terminal.enters("exit 9");
        assert_code(&mut terminal, 9);
    }
}

#[test]
fn a_command_that_was_running_in_the_background_can_read_after_fg() {
    for way in WAYS {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("mark").display().to_string();
        let mut terminal = Terminal::with_shell();
        terminal.enters(&format!("$wrapper {way} sh -c 'until [ -e {mark} ]; do sleep 0.05; done; exec cat' &"));
        terminal.process("wrapper");
        terminal.enters("fg");
        let wrapper = terminal.process("wrapper").group;
        eventually("the wrapper has the terminal", || terminal.foreground() == wrapper);
        std::fs::write(&mark, "").unwrap();
        terminal.process("cat");
        terminal.enters("hello");
        terminal.until_it_shows("hello\r\n");
        terminal.types(CTRL_D);
        assert_code(&mut terminal, 0);
        assert!(!terminal.shows().contains("Stopped"), "{way}: {}", terminal.shows());
    }
}

#[test]
fn a_hook_is_not_ended_by_ctrl_c() {
    let mut terminal = Terminal::with_shell();
    let hook = guests::program("nap");
    terminal.enters(&format!("HOOK_SLEEP_MS=3000 $wrapper --plugin {} sh -c 'exit 7'", hook.display()));
    terminal.until_it_shows("sleeping");
    terminal.types(CTRL_C);
    terminal.until_it_shows("slept");
    assert_code(&mut terminal, 7);
}

#[test]
fn ctrl_c_again_ends_a_hook() {
    let hook = guests::program("nap");
    let mut run = wrapper().with(&["--plugin-timeout", "30s"]).plugin(&hook).with(&["sh", "-c", "exit 7"]);
    run.env("HOOK_SLEEP_MS", "25000");
    let mut terminal = Terminal::with(run);
    terminal.until_it_shows("sleeping");
    // A terminal takes its time, and two that come together are one.
    eventually("the hook is ended", || {
        terminal.types(CTRL_C);
        terminal.shows().contains("ended-early: wrapper was asked to stop")
    });
    assert_eq!(terminal.exit_code(), Some(7));
}

#[test]
fn a_terminal_stopped_with_ctrl_s_does_not_hold_up_the_end() {
    let start = std::time::Instant::now();
    let mut terminal =
        Terminal::with(wrapper().with(&["--plugin", "echo", "--log", "debug", "sh", "-c", "read x; exit 7"]));
    terminal.types(CTRL_S);
    terminal.enters("x");
    assert_eq!(terminal.exit_code(), Some(7));
    assert!(start.elapsed().as_secs_f64() < 5.0);
    assert!(!terminal.shows().contains("wrapper: echo: "), "Ctrl-S did not stop it: {:?}", terminal.shows());
}

#[test]
fn ctrl_z_and_fg_work_too_if_neither_input_nor_output_is_the_terminal() {
    for way in WAYS {
        let mut terminal = Terminal::with_shell();
        terminal.enters(&format!("$wrapper {way} sh -c 'sleep 30; true' </dev/null >/dev/null 2>&1"));
        terminal.process("sleep");
        suspend_and_resume(&mut terminal, "sleep");
        terminal.types(CTRL_C);
        assert_code(&mut terminal, 130);
    }
}

#[test]
fn a_command_in_a_pipeline_that_handles_a_stop_signal_sent_to_the_wrapper_goes_on_with_it() {
    let mut terminal = Terminal::with_shell();
    terminal.enters("$wrapper $child report child 15 42 | cat");
    terminal.until_it_shows("child ready");
    let wrapper = terminal.process("wrapper").pid;
    kill(wrapper, libc::SIGTSTP);
    terminal.until_it_shows("child 20\r\n");
    kill(wrapper, libc::SIGTERM);
    terminal.until_it_shows("child 15\r\n");
}

/// Here nothing can stop wrapper itself: it leads the session, or is PID 1.
#[test]
fn a_command_that_is_sent_sigstop_stays_stopped_until_sigcont() {
    in_both_roles(|role| {
        for to_wrapper in [false, true] {
            let terminal = Terminal::with(role.wrapper().with(&["sleep", "30"]));
            let (command, wrapper) = (terminal.process("sleep").pid, terminal.process("wrapper").pid);
            kill(command, libc::SIGSTOP);
            terminal.until_state("sleep", &['T']);
            // What follows the stop is done when wrapper has forwarded this.
            kill(wrapper, libc::SIGUSR1);
            eventually("it is forwarded", || pending(command) & 1 << (libc::SIGUSR1 - 1) != 0);
            assert_eq!(terminal.process("sleep").state, 'T', "{role:?}");
            kill(if to_wrapper { wrapper } else { command }, libc::SIGCONT);
            eventually("it goes on", || Process::find(command).is_none());
        }
    });
}

/// The signals that a process will get when it is continued.
fn pending(pid: i32) -> u64 {
    u64::from_str_radix(&status(pid, "ShdPnd").unwrap_or_default(), 16).unwrap_or_default()
}

#[test]
fn a_command_that_is_sent_sigstop_stops_the_wrapper_and_fg_resumes_both() {
    for way in WAYS {
        let mut terminal = Terminal::with_shell();
        terminal.enters(&format!("$wrapper {way} sleep 30"));
        kill(terminal.process("sleep").pid, libc::SIGSTOP);
        assert_both_stop(&terminal, "sleep");
        terminal.enters("fg");
        assert_both_run(&terminal, "sleep");
        terminal.types(CTRL_C);
        assert_code(&mut terminal, 130);
    }
}
