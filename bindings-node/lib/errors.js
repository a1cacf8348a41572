"use strict";

// The one place where errors of the engine become JavaScript errors.

/** What every failed operation of the engine throws. Described in index.d.ts. */
class TransloadError extends Error {
  constructor(document, extra = {}) {
    const cause = extra.cause ?? causeOf(document.causes ?? []);
    super(document.text ?? document.message, cause === undefined ? undefined : { cause });
    this.code = document.kind;
    this.retryable = document.retryable;
    this.operation = document.operation ?? undefined;
    this.context = document.context ?? {};
    this.hint = document.hint ?? undefined;
    this.causes = document.causes ?? [];
    if (extra.report) {
      // Not enumerable: a log line with the error should not repeat the whole report.
      Object.defineProperty(this, "report", { value: extra.report, enumerable: false });
    }
  }

  /** Errors have no JSON form of their own; a control plane needs one. */
  toJSON() {
    const { code, message, retryable, operation, context, hint, causes } = this;
    return { name: this.name, code, message, retryable, operation, context, hint, causes };
  }
}
Object.defineProperty(TransloadError.prototype, "name", { value: "TransloadError", configurable: true, writable: true });

/** The texts of a chain of causes as a chain of errors; these happened elsewhere, so they have no stack. */
function causeOf([first, ...rest]) {
  if (first === undefined) return undefined;
  const cause = causeOf(rest);
  const error = new Error(first, cause === undefined ? undefined : { cause });
  error.stack = `Error: ${first}`;
  return error;
}

/** Makes a TransloadError of what the native module throws; every other error is handed on. */
function toTransloadError(error) {
  const text = error instanceof Error ? error.message : "";
  if (!text.startsWith('{"transload":')) return error;
  return new TransloadError(JSON.parse(text).transload);
}

/** Calls the native module. */
function call(action) {
  try {
    return action();
  } catch (error) {
    throw toTransloadError(error);
  }
}

/** Calls the native module and waits. */
async function callAsync(action) {
  try {
    return await action();
  } catch (error) {
    throw toTransloadError(error);
  }
}

module.exports = { TransloadError, call, callAsync };
