//! A default signal state for the tests: their parent may ignore signals, as a shell does with SIGINT for background
//! jobs, and an ignored signal stays ignored across execve(2).

use nix::{
    libc,
    sys::signal::{SigSet, SigmaskHow},
};

/// Called by the C runtime before the harness starts its threads.
#[used]
#[allow(unsafe_code)]
#[unsafe(link_section = ".init_array")]
static FIRST: extern "C" fn() = reset;

#[allow(unsafe_code)]
extern "C" fn reset() {
    for signal in 1..=64 {
        // SAFETY: the default needs no code of ours. What cannot be set, such as SIGKILL's, is refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let _ = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK);
}
