// The server that stands in for SQL Server in the connector's tests, as npm's tedious sees it: a client that is not ours,
// so that what both of ours agree on is not merely our own misunderstanding.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { test } from "node:test";
import tedious from "tedious";
import { needed } from "./support.mjs";

const program = needed("TRANSLOAD_TEST_TDS_SERVER");

/** Starts a server, which ends with the test. */
async function started(t, ...settings) {
  const process = spawn(program, settings, { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => process.stdin.end());
  const [line] = await once(createInterface(process.stdout), "line");
  return JSON.parse(line);
}

/** A connection, by password unless the options say otherwise. */
async function connected(t, server, encrypt, authentication) {
  const connection = new tedious.Connection({
    server: "localhost",
    authentication: authentication ?? { type: "default", options: { userName: server.username, password: server.password } },
    options: {
      port: server.port,
      database: server.database,
      encrypt,
      trustServerCertificate: false,
      // None of them is meant to pass, however busy the machine is.
      connectTimeout: 100_000,
      requestTimeout: 100_000,
      cancelTimeout: 100_000,
      cryptoCredentialsDetails: { ca: server.ca_pem },
    },
  });
  t.after(() => connection.close());
  await new Promise((resolve, reject) => connection.connect((error) => (error ? reject(error) : resolve())));
  return connection;
}

/** The rows of a batch. */
function ask(connection, sql, whileRunning = () => {}) {
  return new Promise((resolve, reject) => {
    const rows = [];
    const request = new tedious.Request(sql, (error) => (error ? reject(error) : resolve(rows)));
    request.on("row", (cells) => {
      rows.push(cells.map((cell) => cell.value));
      whileRunning(rows.length);
    });
    connection.execSqlBatch(request);
  });
}

for (const [mode, encrypt] of [["none", false], ["off", false], ["off", true], ["required", true], ["strict", "strict"]]) {
  test(`encryption: the server has ${mode}, the client ${encrypt}`, async (t) => {
    const connection = await connected(t, await started(t, mode), encrypt);
    assert.deepEqual(await ask(connection, "SELECT 1 + 1, N'é😀', CAST(1.5 AS decimal(10, 2))"), [[2, "é😀", 1.5]]);
  });
}

test("tokens are checked", async (t) => {
  const server = await started(t, "off", "--token", "a-token");
  const token = (token) => ({ type: "azure-active-directory-access-token", options: { token } });
  const connection = await connected(t, server, true, token("a-token"));
  assert.deepEqual(await ask(connection, "SELECT SUSER_SNAME()"), [["etl"]]);
  await assert.rejects(connected(t, server, true, token("another")), { code: "ELOGIN" });
});

test("values of every type, and none", async (t) => {
  const connection = await connected(t, await started(t, "off"), false);
  await ask(
    connection,
    `CREATE TABLE t (a int NOT NULL, b decimal(38, 10), c datetime2(3), d datetimeoffset(3), e uniqueidentifier, f sql_variant,
       g money, h varchar(max), i date, j datetime, k smalldatetime, l xml, m text, n varbinary(max), o geography, p hierarchyid,
       q real, r bit, s ntext, u image, v rowversion);
     INSERT INTO t (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, u) VALUES (1, 1.5, '2024-01-31T12:34:56.123',
       '2024-01-31T12:34:56.123+02:00', '00112233-4455-6677-8899-aabbccddeeff', N'var', 12.3456, 'long', '0001-01-01',
       '1753-01-01', '2079-06-06', '<a/>', 'text', 0x0102, geography::STGeomFromText('POINT (10 50)', 4326), '/1/', 1.5, 1,
       N'wide', 0xFF);
     INSERT INTO t (a) VALUES (2)`,
  );
  const [full, empty] = await ask(connection, "SELECT * FROM t ORDER BY a");
  const point = Buffer.from("e6100000010c00000000000049400000000000002440", "hex");
  assert.deepEqual(full, [
    1, 1.5, new Date("2024-01-31T12:34:56.123Z"), new Date("2024-01-31T10:34:56.123Z"), "00112233-4455-6677-8899-AABBCCDDEEFF",
    "var", 12.3456, "long", new Date("0001-01-01T00:00:00Z"), new Date("1753-01-01T00:00:00Z"), new Date("2079-06-06T00:00:00Z"),
    "<a/>", "text", Buffer.from([1, 2]), point, Buffer.from([0x58]), 1.5, true, "wide", Buffer.from([0xff]),
    Buffer.from("0000000000000001", "hex"),
  ]);
  assert.deepEqual(empty, [2, ...Array(19).fill(null), Buffer.from("0000000000000002", "hex")]);
});

test("a cancelled request ends, and its connection goes on", async (t) => {
  const connection = await connected(t, await started(t, "off"), false);
  const cancelled = ask(connection, "EXEC tds_test 'mixed 100000000'", (rows) => rows === 10 && connection.cancel());
  await assert.rejects(cancelled, { code: "ECANCEL" });
  assert.deepEqual(await ask(connection, "SELECT 1"), [[1]]);
});
