// What test_description.py compiles against the types that openapi-typescript makes of the description, and runs: what
// does not fit them does not compile.

import assert from "node:assert/strict";

import createClient from "openapi-fetch";

import type { components, paths } from "./kvstore.js";

const server = process.argv[2];
assert(server !== undefined, "where is the server?");
const client = createClient<paths>({ baseUrl: server });

// Bodies of any bytes are sent as they are.
const put = () =>
  client.PUT("/set/{key}", {
    params: { path: { key: "typed/one" }, header: { "If-None-Match": "*" } },
    headers: { "Content-Type": "application/octet-stream" },
    body: "any bytes",
    bodySerializer: (body) => body,
  });

const first = await put();
assert.equal(first.response.status, 200);
assert.equal(first.data?.created, true);
const tag: string | null = first.response.headers.get("etag");
assert(tag !== null);

const again = await put();
assert.equal(again.response.status, 412);
const code: components["schemas"]["Problem"]["code"] | undefined = again.error?.code;
assert.equal(code, "precondition_failed");

const set = await client.POST("/set", { body: { key: "typed/ä two", value: { n: 1 } } });
assert.deepEqual(set.data, { key: "typed/ä two", created: true });

const lines = await client.POST("/set", {
  headers: { "Content-Type": "application/x-ndjson" },
  body: { key: "typed/three", content_type: "text/plain", base64: "aGk=" },
  bodySerializer: (body) => `${JSON.stringify(body)}\n`,
});
assert.deepEqual(lines.data, { created: 1, updated: 0 });

const read = await client.GET("/get/{key}", { params: { path: { key: "typed/ä two" } } });
assert.deepEqual(read.data, { n: 1 });
const bytes = await client.GET("/get/{key}", { params: { path: { key: "typed/one" } }, parseAs: "text" });
assert.equal(bytes.data, "any bytes");

const several = await client.POST("/get", { body: { keys: ["typed/three", "typed/none"] } });
assert(Array.isArray(several.data));
assert.deepEqual(several.data.map((entry) => entry.key), ["typed/three", "typed/none"]);

const found = await client.GET("/search", { params: { query: { prefix: "typed/", suffix: "o", limit: 10 } } });
assert.deepEqual(found.data, ["typed/ä two"]);
assert.equal(found.response.headers.get("x-total-count"), "1");

const expire = await client.POST("/expire/{key}", { params: { path: { key: "typed/three" } }, body: { ttl_ms: 60_000 } });
assert.equal(expire.data?.key, "typed/three");

const path = { key: "typed/one" };
const deleted = await client.DELETE("/delete/{key}", { params: { path, header: { "If-Match": tag } } });
assert.equal(deleted.response.status, 204);
const missing = await client.GET("/get/{key}", { params: { path } });
assert.equal(missing.error?.code, "key_not_found");
const rest = await client.DELETE("/delete", { params: { query: { prefix: "typed/" } } });
assert.deepEqual(rest.data, { deleted: 2 });
