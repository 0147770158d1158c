//! docs/options.md, docs/hooks.md and the README describe what the program has: nothing is missing, nothing invented.

use crate::harness::{Run, peer::Peer, repository, wrapper};
use std::{collections::BTreeSet, fs};

fn page(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap()
}

/// The words of a text that are code.
fn codes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The cells of a table's row.
fn cells(row: &str) -> Option<Vec<&str>> {
    let row = row.strip_prefix("| ")?.strip_suffix(" |")?;
    Some(row.split(" | ").map(str::trim).collect())
}

/// An option as `--help` or the table has it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Opt {
    names: BTreeSet<String>,
    variables: BTreeSet<String>,
    separator: Option<String>,
    default: Option<String>,
}

/// What `[key: value]` says in the help of an option.
fn noted<'a>(help: &'a str, key: &str) -> Option<&'a str> {
    Some(help.split_once(&format!("[{key}: "))?.1.split_once(']').unwrap().0)
}

fn options_of_the_help() -> Vec<(Opt, String)> {
    let help = wrapper().with(&["--help"]).done().stdout;
    let (_, options) = help.split_once("\nOptions:\n").unwrap();
    let (options, _) = options.split_once("\n\n").unwrap();
    let options = options.split("\n      --").map(|option| option.trim_start_matches("      --"));
    let options = options.filter(|option| !option.contains("Print help"));
    let read = |option: &str| {
        let name = option.split([' ', '\n']).next().unwrap();
        let alias = noted(option, "alias").map(Into::into);
        let (variables, separator) = match noted(option, "env").map(|env| env.split_once(", separated by ")) {
            Some(Some((variables, separator))) => (variables, Some(separator.trim_matches('\''))),
            Some(None) => (noted(option, "env").and_then(|env| env.split('=').next()).unwrap_or_default(), None),
            None => ("", None),
        };
        let option = Opt {
            names: alias.into_iter().chain([format!("--{name}")]).collect(),
            variables: variables.split(" or ").filter(|name| !name.is_empty()).map(Into::into).collect(),
            separator: separator.map(Into::into),
            default: noted(option, "default").map(Into::into),
        };
        let form = help.lines().find(|line| line.trim_start().starts_with(&format!("--{name}"))).unwrap();
        (option, form.split_once('<').map_or("", |(_, form)| form).trim_end_matches('>').into())
    };
    options.map(read).collect()
}

/// Each with its row.
fn options_of_the_page(page: &str) -> Vec<(Opt, &str)> {
    let (_, table) = page.split_once("| option | variable | default | meaning |\n").unwrap();
    let rows = table.lines().skip(1).map_while(|row| Some((row, cells(row)?)));
    rows.map(|(row, cells)| {
        let [names, variables, default, _] = cells.try_into().unwrap_or_else(|_| panic!("four cells: {row}"));
        let (variables, separator) = variables.split_once("separated by").unwrap_or((variables, ""));
        let option = Opt {
            names: codes(names)
                .filter_map(|name| name.split(' ').next())
                .filter(|name| name.starts_with("--"))
                .map(Into::into)
                .collect(),
            variables: codes(variables).filter(|code| code.starts_with("WRAPPER_")).map(Into::into).collect(),
            separator: codes(separator).next().map(Into::into),
            default: codes(default).next().map(Into::into),
        };
        (option, row)
    })
    .collect()
}

#[test]
fn the_page_has_every_option_with_its_variable_and_its_default_and_no_other() {
    let page = page("docs/options.md");
    let of_the_page = options_of_the_page(&page);
    let of_the_help = options_of_the_help();
    assert!(of_the_help.len() > 15, "{of_the_help:?}");
    for (option, form) in &of_the_help {
        if option.variables.is_empty() {
            assert!(option.names.iter().all(|name| page.contains(name)), "docs/options.md lacks {option:?}");
            continue;
        }
        let same = of_the_page.iter().find(|(other, _)| other.names == option.names);
        let (described, row) = same.unwrap_or_else(|| panic!("docs/options.md lacks {option:?}"));
        assert_eq!(described, option, "docs/options.md, --help");
        for value in form.split('|').filter(|_| form.contains('|')) {
            assert!(codes(row).any(|code| code == value), "{row} lacks {value}");
        }
    }
    for (option, _) in of_the_page {
        assert!(of_the_help.iter().any(|(other, _)| *other == option), "there is no {option:?}");
    }
}

fn built_in_hooks() -> BTreeSet<String> {
    let help = wrapper().with(&["--help"]).done().stdout;
    let (_, list) = help.split_once("\nBuilt-in hooks:\n").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    list.split([',', ' ', '\n']).filter(|name| !name.is_empty()).map(Into::into).collect()
}

/// A part of docs/hooks.md: hooks with the same settings.
struct Part {
    hooks: BTreeSet<String>,
    settings: BTreeSet<String>,
}

/// The parts of the page up to the settings that all hooks have. A hook is the subject of a heading or of a row.
fn parts(page: &str) -> Vec<Part> {
    let (page, _) = page.split_once("\n## Settings of one hook\n").unwrap();
    page.split("\n#").skip(1).map(part).collect()
}

fn part(text: &str) -> Part {
    let heading = text.lines().next().unwrap();
    let mut part = Part { hooks: codes(heading).map(Into::into).collect(), settings: BTreeSet::new() };
    let mut table = "";
    for line in text.lines() {
        let Some(cells) = cells(line) else {
            table = "";
            continue;
        };
        match table {
            "" => table = cells[0],
            "setting" => {
                part.settings.extend(codes(cells[0]).filter_map(|code| code.strip_prefix('…')).map(Into::into))
            }
            "hook" | "gate (`--before`)" => part.hooks.extend(codes(cells[0]).map(Into::into)),
            _ => (),
        }
    }
    part
}

#[test]
fn the_pages_have_every_built_in_hook_and_no_other() {
    let built_in = built_in_hooks();
    let described: BTreeSet<_> = parts(&page("docs/hooks.md")).into_iter().flat_map(|part| part.hooks).collect();
    assert_eq!(described, built_in, "docs/hooks.md, --help");

    let readme = page("README.md");
    let (_, table) = readme.split_once("\n## Built-in hooks\n\n").unwrap();
    let rows = table.lines().skip(2).map_while(cells);
    let described: BTreeSet<_> = rows.flat_map(|cells| codes(cells[0]).map(String::from).collect::<Vec<_>>()).collect();
    assert_eq!(described, built_in, "README.md, --help");
}

/// No setting of a hook can have this value, except a name or a secret.
const INVALID: &str = "{nonsense}";

#[test]
fn every_setting_on_the_page_is_one_of_its_hooks() {
    let anything = ["_JOB"];
    let peer = Peer::with_status(200);
    let mut tried = 0;
    for Part { hooks, settings } in parts(&page("docs/hooks.md")) {
        for hook in hooks {
            let name = format!("HOOK_{}", hook.to_uppercase().replace('-', "_"));
            for setting in settings.iter().filter(|setting| !anything.contains(&setting.as_str())) {
                let mut run = wrapper().plugin(&hook).with(&["true"]);
                let needed = ["URL", "FOR"].map(|needed| (format!("{name}_{needed}"), peer.url("/")));
                run.envs(needed).env(format!("{name}{setting}"), INVALID);
                let line = run.done().stderr;
                let rejected =
                    line.contains("misconfigured: ") || line.contains(&format!("{name}{setting} \"{INVALID}"));
                assert!(rejected, "{hook}, {setting}: {line}");
                tried += 1;
            }
        }
    }
    assert!(tried > 40, "{tried}");
}

#[test]
fn every_setting_that_all_hooks_have_is_on_the_page_and_read_before_anything_starts() {
    let page = page("docs/hooks.md");
    let (_, table) = page.split_once("| variable | overrides | meaning |\n").unwrap();
    let first_cells: Vec<_> = table.lines().skip(1).map_while(cells).map(|cells| cells[0]).collect();
    let settings: BTreeSet<_> =
        first_cells.iter().flat_map(|cell| codes(cell)).filter_map(|code| code.strip_prefix("HOOK_<NAME>")).collect();
    for setting in &settings {
        let mut run = wrapper().plugin("echo").with(&["echo", "started"]);
        run.env(format!("HOOK_ECHO{setting}"), INVALID);
        let done = run.done();
        assert_eq!((done.code(), done.stdout.as_str()), (125, ""), "{setting}: {done:?}");
        assert!(done.line().contains(&format!("HOOK_ECHO{setting} ")), "{setting}: {done:?}");
    }
    let help = wrapper().with(&["--help"]).done().stdout;
    let named = help.split("HOOK_<NAME>").skip(1).filter_map(|rest| rest.split([' ', ',', '=', ';', '\n']).next());
    for setting in named {
        assert!(settings.contains(setting), "docs/hooks.md lacks HOOK_<NAME>{setting}");
    }
}
