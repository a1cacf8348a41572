// Builds the native module: `node scripts/build.mjs --profile dev|release|dist`.
//
// cargo itself says where the library is, so CARGO_TARGET_DIR and every other way to set the target
// directory are honoured. A tool for this would bring more packages than this file has lines.
import { spawnSync } from "node:child_process";
import { copyFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The file that index.js loads. */
export const target = join(root, "transload.node");

/** Builds with a cargo profile and puts the module beside index.js. */
export function build(profile) {
  const cargo = spawnSync(
    "cargo",
    ["build", "--package", "transload-node", "--lib", "--profile", profile, "--message-format", "json-render-diagnostics"],
    {
      cwd: root,
      encoding: "utf8",
      env: { ...process.env, PATH: [process.env.PATH, join(homedir(), ".cargo", "bin")].join(delimiter) },
      maxBuffer: 1 << 30,
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  if (cargo.error?.code === "ENOENT") {
    throw new Error("transload is built from source and cargo is not installed: see https://rustup.rs");
  }
  if (cargo.error) throw cargo.error;
  if (cargo.status !== 0) throw new Error(`cargo build ended with ${cargo.status ?? cargo.signal}`);
  // Renamed into place: a process may have the old file mapped.
  const fresh = `${target}.${process.pid}`;
  try {
    copyFileSync(libraryOf(cargo.stdout), fresh);
    renameSync(fresh, target);
  } finally {
    rmSync(fresh, { force: true });
  }
}

function libraryOf(messages) {
  const artifact = messages
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line))
    .find((message) => message.reason === "compiler-artifact" && message.target.name === "transload_node");
  const library = artifact?.filenames.find((name) => /\.(so|dylib|dll)$/.test(name));
  if (!library) throw new Error("cargo built no library named transload_node");
  return library;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const flag = process.argv.indexOf("--profile");
  build(flag < 0 ? "release" : process.argv[flag + 1]);
}
