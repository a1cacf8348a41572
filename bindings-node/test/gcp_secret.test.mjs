// `credentials: "gcp-secret:..."` against a small server that answers as Secret Manager does; no real one is asked.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";

import { Connection } from "transload";

const NAME = "model-5-connection-12-credentials";

test("a gcp-secret reference is read when a connection is opened", async () => {
  const asked = [];
  const server = createServer((request, answer) => {
    asked.push(request.url.split("?")[0]);
    const found = request.url.includes(`/secrets/${NAME}/`);
    const payload = { data: Buffer.from("123456789").toString("base64"), dataCrc32c: "3808858755" };
    const missing = { error: { code: 404, message: "not found", status: "NOT_FOUND" } };
    answer.writeHead(found ? 200 : 404, { "Content-Type": "application/json" });
    answer.end(JSON.stringify(found ? { name: request.url, payload } : missing));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  process.env.CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER = `http://127.0.0.1:${server.address().port}`;
  process.env.GOOGLE_CLOUD_PROJECT = "my-project";
  try {
    // Nobody listens on port 9: what counts is that the secret is fetched before, and that it is not shown.
    const shop = { name: "shop", type: "postgresql", host: "127.0.0.1", port: 9, database: "d", username: "u" };
    const found = await new Connection({ ...shop, credentials: `gcp-secret:${NAME}@7` }).test();
    assert.deepEqual(asked, [`/v1/projects/my-project/secrets/${NAME}/versions/7:access`]);
    assert.equal(found.error.kind, "unreachable");
    assert.ok(!JSON.stringify(found).includes("123456789"));
    const missing = await new Connection({ ...shop, credentials: "gcp-secret:other" }).test();
    assert.deepEqual([missing.status, missing.error.kind], ["error", "not_found"]);
  } finally {
    server.close();
  }
});
