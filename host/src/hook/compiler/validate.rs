//! Compiler and runner: validates a component and checks that it is a hook and imports only what hooks can use.
//! Errors are one line: what is wrong, and how to fix it.

use super::{
    contract::{DESCRIPTION, DESCRIPTION_LIMIT, FEATURES, Interface, MAIN, RUN, VERSION},
    explain,
};
use wasmparser::{
    ComponentExternalKind, Parser, Payload, ValidPayload, Validator, WasmFeatures,
    component_types::{ComponentDefinedType, ComponentEntityType, ComponentFuncType, ComponentValType},
    types::{Types, TypesRef},
};

/// Checks that these bytes can be run as a hook; returns what is seen of it from outside.
pub fn validate(bytes: &[u8]) -> Result<Contents, String> {
    explain::sniff(bytes)?;
    let contents = read(bytes, FEATURES)
        .map_err(|error| explain::unsupported(bytes, error, |features| read(bytes, features).map(drop)))?;
    let names = contents.imports.iter().map(|(name, _)| name).chain(contents.exports.iter().map(|(name, _)| name));
    if let Some(version) = names.filter_map(|name| explain::later(name)).next() {
        return Err(explain::later_wasi(version));
    }
    for (name, functions) in &contents.imports {
        check_import(name, functions)?;
    }
    check_exports(&contents.exports)?;
    Ok(contents)
}

/// The outside of a component.
#[derive(Default)]
pub struct Contents {
    /// Name of the interface, and of the functions in it that the component names.
    pub imports: Vec<(String, Vec<String>)>,
    pub exports: Vec<(String, Export)>,
    /// What the hook says about itself, wherever in it.
    pub description: String,
}

impl Contents {
    /// What the hook is built for.
    pub fn world(&self) -> String {
        let names = self.exports.iter().map(|(name, _)| name);
        let main = names.clone().find(|name| Interface::parse(name).name == MAIN);
        let run = names.clone().find(|name| Interface::parse(name).name == RUN);
        match (run, main) {
            (Some(run), _) => format!("hook ({run})"),
            (None, Some(main)) => format!("program ({main})"),
            (None, None) => String::new(),
        }
    }
}

/// Kind of an export.
pub enum Export {
    Function,
    /// An interface; whether it has a `run` of the right type.
    Interface {
        runs: bool,
    },
    Other,
}

/// Validates every byte and collects the names that the outermost component imports and exports.
fn read(bytes: &[u8], features: WasmFeatures) -> Result<Contents, wasmparser::BinaryReaderError> {
    let mut validator = Validator::new_with_features(features);
    let mut allocations = wasmparser::FuncValidatorAllocations::default();
    let (mut imports, mut exports, mut description) = (Vec::new(), Vec::new(), None);
    let mut depth = 0;
    let mut types: Option<Types> = None;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        match validator.payload(&payload)? {
            ValidPayload::Func(function, body) => {
                let mut function = function.into_validator(allocations);
                function.validate(&body)?;
                allocations = function.into_allocations();
            }
            ValidPayload::End(all) => types = Some(all),
            ValidPayload::Ok | ValidPayload::Parser(_) => {}
        }
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::CustomSection(section) if section.name() == DESCRIPTION && description.is_none() => {
                let text = section.data().get(..DESCRIPTION_LIMIT).unwrap_or(section.data());
                description = Some(String::from_utf8_lossy(text).into_owned());
            }
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export?;
                    exports.push((export.name.name.to_owned(), export.kind));
                }
            }
            _ => {}
        }
    }
    let Some(types) = types else { return Ok(Contents::default()) };
    let types = types.as_ref();
    Ok(Contents {
        imports: imports.into_iter().map(|name| (name.clone(), functions(&types, &name))).collect(),
        exports: exports.into_iter().map(|(name, kind)| (name.clone(), describe(&types, &name, kind))).collect(),
        description: description.unwrap_or_default(),
    })
}

fn functions(types: &TypesRef<'_>, import: &str) -> Vec<String> {
    match types.component_item_for_import(import).map(|item| item.ty) {
        Some(ComponentEntityType::Instance(id)) => {
            let items = types.get(id).into_iter().flat_map(|instance| &instance.exports);
            let functions = items.filter(|(_, item)| matches!(item.ty, ComponentEntityType::Func(_)));
            functions.map(|(name, _)| name.clone()).collect()
        }
        _ => Vec::new(),
    }
}

fn describe(types: &TypesRef<'_>, export: &str, kind: ComponentExternalKind) -> Export {
    match (kind, types.component_item_for_export(export).map(|item| item.ty)) {
        (ComponentExternalKind::Func, _) => Export::Function,
        (_, Some(ComponentEntityType::Instance(id))) => {
            let run = types.get(id).and_then(|instance| instance.exports.get("run")).map(|item| item.ty);
            let runs = match run {
                Some(ComponentEntityType::Func(id)) => types.get(id).is_some_and(|run| runs(types, export, run)),
                _ => false,
            };
            Export::Interface { runs }
        }
        _ => Export::Other,
    }
}

/// Whether it is `run: func() -> result<_, error>` of a hook or `run: func() -> result` of a program.
fn runs(types: &TypesRef<'_>, export: &str, run: &ComponentFuncType) -> bool {
    let result = match run.result {
        Some(ComponentValType::Type(id)) => types.get(id),
        _ => None,
    };
    let Some(ComponentDefinedType::Result { ok: None, err, .. }) = result else { return false };
    run.params.is_empty() && err.is_some() == (Interface::parse(export).name == RUN)
}

fn check_import(name: &str, functions: &[String]) -> Result<(), String> {
    let interface = Interface::parse(name);
    let declared = interface.functions();
    let unknown = functions.iter().find(|function| !declared.contains(&function.as_str()));
    match unknown {
        _ if !interface.is_given() && interface.is_ours() => Err(other_version(interface.version)),
        _ if !interface.is_given() && interface.is_wasi() && interface.is_draft() => {
            Err(format!("imports {name:?}, {DRAFT}"))
        }
        _ if !interface.is_given() => Err(format!("imports {name:?}, which hooks cannot use")),
        Some(function) => {
            Err(format!("imports {function} of {name:?}, which this wrapper does not have; use a newer wrapper"))
        }
        None => Ok(()),
    }
}

const DRAFT: &str = "a draft of WASI 0.2; build it with tools of 2024 or later";

fn other_version(version: &str) -> String {
    format!("built for wrapper:hook {version}, this wrapper supports {VERSION}; use a newer wrapper")
}

fn check_exports(exports: &[(String, Export)]) -> Result<(), String> {
    let fix = "build it with wrapper_hook::hook!, or as a program with a `main`, for wasm32-wasip2";
    let mut found = "there is no such export";
    for (name, export) in exports {
        let interface = Interface::parse(name);
        match (interface.name, export) {
            (RUN | MAIN, Export::Interface { runs: true }) if interface.is_of_series() => return Ok(()),
            (RUN, _) if !interface.is_of_series() => return Err(other_version(interface.version)),
            (MAIN, _) if interface.is_draft() => return Err(format!("exports {name:?}, {DRAFT}")),
            (MAIN, _) if !interface.is_of_series() => found = "its `run` is of another version of WASI",
            (RUN | MAIN, _) => found = "its `run` has another signature",
            ("wasi:http/incoming-handler" | "wasi:http/handler", _) => found = "it is an HTTP server",
            ("run", Export::Function) => found = "its `run` is not in a versioned interface",
            _ => {}
        }
    }
    Err(format!("does not export run: {found}; a hook exports {RUN}@{VERSION} or {MAIN}@0.2: {fix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_checked_by_interface_version_and_function() {
        let known = ["get-phase".to_owned()];
        let unknown = ["get-weather".to_owned()];
        let method = ["[method]fields.get".to_owned()];
        let probe = ["probe".to_owned()];
        for (name, functions, valid) in [
            ("wrapper:hook/context@0.1.0", &known, true),
            ("wrapper:hook/context@0.1.7", &known, true),
            ("wrapper:hook/context@0.1.7", &unknown, false),
            ("wrapper:hook/context@0.2.0", &known, false),
            ("wrapper:hook/secrets@0.1.0", &known, false),
            ("wrapper:hook/probe@0.1.0", &probe, true),
            ("wrapper:hook/probe@0.1.0", &unknown, false),
            ("wasi:http/types@0.2.0", &method, true),
            ("wasi:http/types@0.2.99", &method, true),
            ("wasi:http/types@0.2.99", &unknown, false),
            ("wasi:http/types@0.2.0-rc-2023-11-10", &method, false),
            ("wasi:http/types@0.3.0", &method, false),
            ("wasi:http/types", &method, false),
            ("wasi:http/incoming-handler@0.2.0", &known, false),
            ("wasi:keyvalue/store@0.2.0", &known, false),
            ("host", &known, false),
        ] {
            assert_eq!(check_import(name, functions).is_ok(), valid, "{name} {functions:?}");
        }
    }
}
