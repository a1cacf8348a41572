// Runs when a project installs this package: builds the native module unless it is there.
//
// TRANSLOAD_NODE_PROFILE is the cargo profile, `release` by default. Inside this folder itself
// `npm install` only fetches the development tools; `npm run build` or `build:debug` is the next step.
import { existsSync, realpathSync } from "node:fs";
import { build, target } from "./build.mjs";

const developing = process.env.INIT_CWD && realpathSync(process.env.INIT_CWD) === realpathSync(process.cwd());

if (existsSync(target)) {
  console.log("transload: the native module is there");
} else if (developing) {
  console.log("transload: now run `npm run build` (or build:debug)");
} else {
  build(process.env.TRANSLOAD_NODE_PROFILE || "release");
}
