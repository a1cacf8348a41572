import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import ts from "typescript";
import * as transload from "transload";
import { root } from "./support.mjs";

const configuration = join(root, "test", "types", "tsconfig.json");

function program() {
  const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: (diagnostic) => { throw new Error(String(diagnostic.messageText)); } };
  const { fileNames, options, errors } = ts.getParsedCommandLineOfConfigFile(configuration, {}, host);
  assert.deepEqual(errors, []);
  return ts.createProgram(fileNames, options);
}

const compiled = program();
const declarations = compiled.getSourceFile(join(root, "index.d.ts"));
const checker = compiled.getTypeChecker();
const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(declarations));

test("the declarations compile, and so does a program that uses every name", () => {
  const diagnostics = ts.getPreEmitDiagnostics(compiled);
  const host = { getCurrentDirectory: () => root, getCanonicalFileName: (name) => name, getNewLine: () => "\n" };
  assert.equal(ts.formatDiagnostics(diagnostics, host), "");
  const text = readFileSync(join(root, "test", "types", "api.ts"), "utf8");
  for (const symbol of exported) assert.match(text, new RegExp(`\\b${symbol.name}\\b`));
});

test("the declarations have exactly the values that the package exports", () => {
  const declared = exported.filter((symbol) => symbol.flags & ts.SymbolFlags.Value).map((symbol) => symbol.name);
  const real = Object.keys(transload).filter((name) => !["default", "module.exports"].includes(name));
  assert.deepEqual(declared.sort(), real.sort());
});

test("the declared classes have exactly the members of the real ones", () => {
  for (const symbol of exported.filter((symbol) => symbol.flags & ts.SymbolFlags.Class)) {
    const real = transload[symbol.name];
    assert.equal(typeof real, "function", symbol.name);
    if (symbol.name === "TransloadError") continue; // its fields are checked by the tests of errors
    const declared = checker
      .getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol))
      .map((member) => member.name)
      .filter((name) => !name.startsWith("__"));
    const members = Object.getOwnPropertyNames(real.prototype).filter((name) => name !== "constructor");
    assert.deepEqual(declared.sort(), members.sort(), symbol.name);
  }
});

test("every exported name and every method is documented", () => {
  const undocumented = [];
  const check = (symbol, name) => {
    if (!ts.displayPartsToString(symbol.getDocumentationComment(checker))) undocumented.push(name);
  };
  for (const symbol of exported) {
    check(symbol, symbol.name);
    if (!(symbol.flags & ts.SymbolFlags.Class)) continue;
    for (const [name, member] of symbol.members) {
      if (member.flags & ts.SymbolFlags.Method) check(member, `${symbol.name}.${name}`);
    }
  }
  assert.deepEqual(undocumented, []);
});
