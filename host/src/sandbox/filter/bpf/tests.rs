use super::{
    interpreter::{Call, run},
    *,
};

const TOKEN: u32 = 0xc000_003e;
const BOTH: [Machine; 2] = [
    Machine { token: TOKEN, other_table: Some(0x4000_0000), big_endian: false },
    Machine { token: TOKEN, other_table: Some(0x4000_0000), big_endian: true },
];

/// What the rules answer to a call with one argument that matters, whatever the CPU's order of bytes.
#[track_caller]
fn ask(rules: &Rules, number: u32, argument: u64) -> Answer {
    let answers = BOTH.map(|machine| {
        let program = assemble(rules, Answer::Refuse, &machine).unwrap();
        let mut arguments = [u64::MAX; 6];
        arguments[2] = argument;
        run(&program, &Call { token: TOKEN, number, arguments }, &machine).0
    });
    assert_eq!(answers[0], answers[1]);
    let known = [Answer::Allow, Answer::Refuse, Answer::Missing, Answer::Kill];
    known.into_iter().find(|known| known.code() == answers[0]).unwrap()
}

#[test]
fn every_number_finds_its_own_rule_and_no_other() {
    for count in (0..10).chain([33, 64, 70]) {
        let mut rules = Rules::default();
        for call in 0..count {
            rules.allow(&[3 * call], &[int(2, call as i32)]);
        }
        for number in 0..3 * count as u32 + 5 {
            let allowed = number % 3 == 0 && number < 3 * count as u32;
            let argument = u64::from(number / 3);
            assert_eq!(ask(&rules, number, argument) == Answer::Allow, allowed, "{number} of {count}");
            assert_eq!(ask(&rules, number, argument + 1), Answer::Refuse);
        }
    }
}

#[test]
fn far_jumps_reach_over_more_than_255_instructions() {
    let mut rules = Rules::default();
    for value in 0..200 {
        rules.allow(&[7], &[int(2, value)]);
    }
    rules.allow(&[9], &[]);
    assert_eq!([0, 199, 200].map(|value| ask(&rules, 7, value) == Answer::Allow), [true, true, false]);
    assert_eq!(ask(&rules, 9, 0), Answer::Allow);
    assert_eq!(ask(&rules, 8, 0), Answer::Refuse);
}

#[test]
fn an_int_is_judged_by_its_lower_half_and_a_word_by_both() {
    let mut rules = Rules::default();
    rules.allow(&[1], &[int(2, -1)]);
    rules.allow(&[2], &[Condition::Word(2, 0)]);
    rules.allow(&[3], &[Condition::Word(2, u64::MAX)]);
    rules.allow(&[4], &[Condition::Not(2, 2)]);
    rules.allow(&[5], &[Condition::Bits(2, 0b101, 0b100)]);
    let upper = 1 << 32;
    for (call, argument, allowed) in [
        (1, u64::MAX, true),
        (1, 0xffff_ffff, true),
        (1, upper, false),
        (2, 0, true),
        (2, 1, false),
        (2, upper, false),
        (3, u64::MAX, true),
        (3, 0xffff_ffff, false),
        (3, u64::MAX << 32, false),
        (4, 2, false),
        (4, upper + 2, false),
        (4, 3, true),
        (5, 0b110, true),
        (5, upper + 0b100, true),
        (5, 0b111, false),
        (5, 0, false),
    ] {
        assert_eq!(ask(&rules, call, argument) == Answer::Allow, allowed, "{call} of {argument:#x}");
    }
}

#[test]
fn the_first_way_whose_conditions_all_hold_counts() {
    let mut rules = Rules::default();
    rules.add(&[1], &[int(2, 5), int(3, -1)], Answer::Missing);
    rules.add(&[1], &[int(2, 5), int(3, 0)], Answer::Kill);
    rules.add(&[1], &[int(2, 6)], Answer::Allow);
    let answers = [5, 6, 7].map(|argument| ask(&rules, 1, argument));
    assert_eq!(answers, [Answer::Missing, Answer::Allow, Answer::Refuse]);
}

#[test]
fn the_numbers_of_another_architecture_end_the_process_and_those_of_x32_are_refused() {
    let mut rules = Rules::default();
    rules.allow(&[1], &[]);
    for machine in BOTH {
        // Whatever has no rule is allowed, as in a filter that only takes something away.
        let program = assemble(&rules, Answer::Allow, &machine).unwrap();
        let ask = |token, number| run(&program, &Call { token, number, arguments: [0; 6] }, &machine).0;
        assert_eq!(ask(TOKEN, 1), Answer::Allow.code());
        assert_eq!(ask(TOKEN ^ 0x8000_0000, 1), Answer::Kill.code());
        for number in [0x4000_0000, 0x4000_0001, u32::MAX] {
            assert_eq!(ask(TOKEN, number), Answer::Refuse.code());
        }
        assert_eq!(ask(TOKEN, 0x3fff_ffff), Answer::Allow.code());
    }
}
