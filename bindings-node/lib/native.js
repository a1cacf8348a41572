"use strict";

// Loads the native module that scripts/build.mjs has put beside index.js.

const path = "../transload.node";

try {
  module.exports = require(path);
} catch (error) {
  if (error.code !== "MODULE_NOT_FOUND") throw error;
  throw new Error("transload: the native module is missing; run `npm rebuild transload`, or `npm run build` in its folder", {
    cause: error,
  });
}
