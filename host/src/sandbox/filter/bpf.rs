//! A small assembler for seccomp filters: from a table of system calls and conditions on their arguments to a classic
//! BPF program (seccomp(2), "Filters"). It knows neither what is allowed nor on which CPU it runs.

use std::{collections::BTreeMap, num::TryFromIntError};

/// What the kernel does with a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Allow,
    /// EPERM.
    Refuse,
    /// ENOSYS, for a caller that can do without the call on an older kernel.
    Missing,
    /// Ends the process. For calls that this program cannot make.
    Kill,
}

impl Answer {
    #[allow(clippy::cast_sign_loss, reason = "error numbers are small and positive")]
    const fn code(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Refuse => libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
            Self::Missing => libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
            Self::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

/// What an argument, counted from 0, must be.
#[derive(Clone, Copy, Debug)]
pub enum Condition {
    /// The lower 32 bits, under this mask, are this value. The kernel reads no more of an argument that is an `int` in
    /// C, whatever the caller left in the upper ones.
    Bits(u8, u32, u32),
    /// The lower 32 bits are not this value.
    Not(u8, u32),
    /// All bits are this value: for pointers, sizes and offsets.
    Word(u8, u64),
}

/// The lower 32 bits are this value.
pub const fn int(argument: u8, value: i32) -> Condition {
    Condition::Bits(argument, u32::MAX, value.cast_unsigned())
}

/// Ways in which one system call can be made, each with what follows; the first whose conditions all hold counts.
type Ways = Vec<(Vec<Condition>, Answer)>;

/// System calls by their numbers, and what is done with them.
#[derive(Default)]
pub struct Rules(BTreeMap<u32, Ways>);

impl Rules {
    pub fn add(&mut self, calls: &[libc::c_long], conditions: &[Condition], answer: Answer) {
        for call in calls {
            // Numbers of system calls are small; the kernel reads them as 32 bits.
            let Ok(call) = u32::try_from(*call) else { continue };
            self.0.entry(call).or_default().push((conditions.to_vec(), answer));
        }
    }

    pub fn allow(&mut self, calls: &[libc::c_long], conditions: &[Condition]) {
        self.add(calls, conditions, Answer::Allow);
    }
}

/// What a filter has to know of the CPU.
pub struct Machine {
    /// The token by which the kernel says whose numbers of system calls are used (`AUDIT_ARCH_…`, linux/audit.h).
    pub token: u32,
    /// The first number of a second table under the same token, whose calls are all refused: x32 on x86-64.
    pub other_table: Option<u32>,
    pub big_endian: bool,
}

/// One instruction (linux/filter.h).
pub type Instruction = libc::sock_filter;
type Code = Vec<Instruction>;

// Instructions, by what they do with the one register there is.
pub const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
pub const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
pub const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
pub const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
pub const JUMP_IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
pub const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

// Where things are in what a filter judges (struct seccomp_data).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The program that answers as the rules say, and `otherwise` where none applies.
pub fn assemble(rules: &Rules, otherwise: Answer, machine: &Machine) -> Result<Code, TryFromIntError> {
    let ways: Vec<_> = rules.0.iter().collect();
    let mut judge = search(&ways, otherwise, machine)?;
    if let Some(first) = machine.other_table {
        judge = branch(JUMP_IF_AT_LEAST, first, vec![answer(Answer::Refuse)], judge)?;
    }
    judge.insert(0, instruction(LOAD, NUMBER));
    let mut program = branch(JUMP_IF_EQUAL, machine.token, judge, vec![answer(Answer::Kill)])?;
    program.insert(0, instruction(LOAD, ARCHITECTURE));
    Ok(program)
}

/// Finds the call whose number is in the register: halving the table keeps the way to each of them short.
fn search(rules: &[(&u32, &Ways)], otherwise: Answer, machine: &Machine) -> Result<Code, TryFromIntError> {
    let (below, from) = rules.split_at(rules.len() / 2);
    match (below, from) {
        (_, []) => Ok(vec![answer(otherwise)]),
        ([], [(call, ways), ..]) => {
            branch(JUMP_IF_EQUAL, **call, first_of(ways, otherwise, machine)?, vec![answer(otherwise)])
        }
        (_, [(middle, _), ..]) => {
            let (below, from) = (search(below, otherwise, machine)?, search(from, otherwise, machine)?);
            branch(JUMP_IF_AT_LEAST, **middle, from, below)
        }
    }
}

/// Tries one way after the other.
fn first_of(ways: &Ways, otherwise: Answer, machine: &Machine) -> Result<Code, TryFromIntError> {
    let mut code = Code::new();
    for (conditions, then) in ways {
        code.extend(all_of(conditions, *then, machine)?);
    }
    code.push(answer(otherwise));
    Ok(code)
}

/// Answers if all conditions hold, and otherwise goes on behind. Made from its end, where the length of what is to be
/// skipped is known.
fn all_of(conditions: &[Condition], then: Answer, machine: &Machine) -> Result<Code, TryFromIntError> {
    let low = |argument: u8| ARGUMENTS + 8 * u32::from(argument) + if machine.big_endian { 4 } else { 0 };
    let high = |argument: u8| ARGUMENTS + 8 * u32::from(argument) + if machine.big_endian { 0 } else { 4 };
    let mut code = vec![answer(then)];
    for condition in conditions.iter().rev() {
        let skip = u8::try_from(code.len())?;
        let test = match *condition {
            Condition::Bits(argument, u32::MAX, value) => {
                vec![instruction(LOAD, low(argument)), unless_equal(value, skip)]
            }
            Condition::Bits(argument, mask, value) => {
                vec![instruction(LOAD, low(argument)), instruction(AND, mask), unless_equal(value, skip)]
            }
            Condition::Not(argument, value) => {
                vec![instruction(LOAD, low(argument)), Instruction { jt: skip, ..instruction(JUMP_IF_EQUAL, value) }]
            }
            Condition::Word(argument, value) => {
                let (upper, lower) = halves(value);
                let skip_both = u8::try_from(code.len() + 2)?;
                vec![
                    instruction(LOAD, high(argument)),
                    unless_equal(upper, skip_both),
                    instruction(LOAD, low(argument)),
                    unless_equal(lower, skip),
                ]
            }
        };
        code.splice(0..0, test);
    }
    Ok(code)
}

/// Goes one way or the other, neither of which comes back. A conditional jump reaches 255 instructions, one without a
/// condition any.
fn branch(test: u16, value: u32, yes: Code, no: Code) -> Result<Code, TryFromIntError> {
    let jumps = match u8::try_from(yes.len()) {
        Ok(over) => vec![Instruction { jf: over, ..instruction(test, value) }],
        Err(_) => vec![Instruction { jt: 1, ..instruction(test, value) }, instruction(JUMP, u32::try_from(yes.len())?)],
    };
    Ok([jumps, yes, no].concat())
}

fn halves(word: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = word.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

fn answer(answer: Answer) -> Instruction {
    instruction(RETURN, answer.code())
}

fn unless_equal(value: u32, skip: u8) -> Instruction {
    Instruction { jf: skip, ..instruction(JUMP_IF_EQUAL, value) }
}

fn instruction(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

/// Hands the program to the kernel, which from here on asks it at each system call of this process. There is no way
/// back, and it takes `no_new_privs`.
#[allow(unsafe_code)]
pub fn install(mut program: Code) -> std::io::Result<()> {
    let length = u16::try_from(program.len()).map_err(std::io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies the instructions, which live as long as the call, and verifies them.
    match unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[cfg(test)]
pub mod interpreter;
#[cfg(test)]
mod tests;
