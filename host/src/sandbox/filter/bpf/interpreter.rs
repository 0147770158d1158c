//! Runs a program as the kernel would, over a call of one's own.

use super::*;

pub struct Call {
    pub token: u32,
    pub number: u32,
    pub arguments: [u64; 6],
}

/// The answer's code, and how many instructions it took.
pub fn run(program: &[Instruction], call: &Call, machine: &Machine) -> (u32, usize) {
    let bytes = memory(call, machine);
    let (mut register, mut at) = (0, 0);
    for steps in 1.. {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        match code {
            LOAD => {
                let word = bytes[k as usize..k as usize + 4].try_into().unwrap();
                register = if machine.big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) };
            }
            AND => register &= k,
            JUMP => at += k as usize,
            JUMP_IF_EQUAL => at += usize::from(if register == k { jt } else { jf }),
            JUMP_IF_AT_LEAST => at += usize::from(if register >= k { jt } else { jf }),
            RETURN => return (k, steps),
            _ => panic!("no such instruction: {code:#x}"),
        }
    }
    unreachable!()
}

/// The call as struct seccomp_data has it in memory.
fn memory(call: &Call, machine: &Machine) -> Vec<u8> {
    let word = |value: u32| if machine.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let long = |value: u64| if machine.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let instruction_pointer = 0x0123_4567_89ab_cdef;
    let mut bytes = [word(call.number), word(call.token)].concat();
    bytes.extend(long(instruction_pointer));
    call.arguments.iter().for_each(|argument| bytes.extend(long(*argument)));
    bytes
}
