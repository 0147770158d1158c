// Makes a component that componentize-qjs built smaller: shrink.mjs input.wasm output.wasm
//
// Two of its core modules were built as shared libraries: the interpreter, which has functions for all types of WIT,
// and the bindings, which call those for the types of this hook. The addresses of both are fixed in the component, so
// they become constants. The interpreter's functions for types that this hook does not use go, and `init`, which has
// run already.

import { readFileSync, writeFileSync } from "node:fs";
import binaryen from "binaryen";

const [input, output] = process.argv.slice(2);
const component = readFileSync(input);
const modules = [];
replaceModules(component, (bytes) => {
  modules.push(binaryen.readBinary(bytes));
  return bytes;
});

const exportsOf = (module) =>
  list(module.getNumExports(), (i) => binaryen.getExportInfo(module.getExportByIndex(i)));
const importsOf = (module) =>
  list(module.getNumFunctions(), (i) => binaryen.getFunctionInfo(module.getFunctionByIndex(i))).map((f) => f.base);
const interpreter = modules.find((module) => exportsOf(module).some((e) => e.name === "wit_dylib_initialize"));
const bindings = modules.find((module) => importsOf(module).includes("wit_dylib_initialize"));

// The module with the memory exports the addresses: `wit-dylib.wasm:memory_base`.
for (const module of modules) {
  for (const { kind, name, value } of exportsOf(module)) {
    const [, library, base] = /^(.*):(memory_base|table_base)$/.exec(name) ?? [];
    if (kind !== binaryen.ExternalGlobal || !base) continue;
    const { init } = binaryen.getGlobalInfo(module.getGlobal(value));
    setAddress(library === "wit-dylib.wasm" ? bindings : interpreter, base, binaryen.getExpressionInfo(init).value);
  }
}

function setAddress(library, base, address) {
  const globals = list(library.getNumGlobals(), (i) => binaryen.getGlobalInfo(library.getGlobalByIndex(i)));
  const { name } = globals.find((global) => global.base === `__${base}`);
  library.removeGlobal(name);
  library.addGlobal(name, binaryen.i32, false, library.i32.const(address));
}

binaryen.setOptimizeLevel(2);
binaryen.setShrinkLevel(2);
bindings.setFeatures(interpreter.getFeatures());
bindings.optimize();
const called = new Set(importsOf(bindings));
const isNeeded = ({ name }) => called.has(name) || !/^(init|wit_dylib_.*)$/.test(name);
const kept = new Set(exportsOf(interpreter).filter(isNeeded).map((e) => e.value));
for (const { kind, value } of exportsOf(interpreter)) {
  // The component names the exports, so they stay.
  if (kind === binaryen.ExternalFunction && !kept.has(value)) {
    binaryen.Function.setBody(interpreter.getFunction(value), interpreter.unreachable());
  }
}
interpreter.optimize();

const shrunk = replaceModules(component, (bytes) => {
  const module = modules.shift();
  return module === interpreter || module === bindings ? module.emitBinary() : bytes;
});
writeFileSync(output, shrunk);

// A copy of a component with other core modules, also in the components that it contains.
function replaceModules(component, replacement) {
  const parts = [component.subarray(0, 8)];
  for (let at = 8; at < component.length; ) {
    const id = component[at];
    let [size, start] = number(component, at + 1);
    at = start + size;
    let section = component.subarray(start, at);
    if (id === 1) section = replacement(section);
    if (id === 4) section = replaceModules(section, replacement);
    parts.push(Buffer.of(id), bytesOf(section.length), section);
  }
  return Buffer.concat(parts);
}

// Numbers are in LEB128: seven bits per byte, of which all but the last have the eighth bit, too.
function number(bytes, at) {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++];
    value |= (byte & 127) << shift;
    if (byte < 128) return [value, at];
  }
}

function bytesOf(number) {
  return number < 128 ? Buffer.of(number) : Buffer.concat([Buffer.of((number & 127) | 128), bytesOf(number >> 7)]);
}

function list(length, item) {
  return Array.from({ length }, (_, i) => item(i));
}
