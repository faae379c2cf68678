import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAddress, isLoopback, isUnspecified, readAddress } from "./address.ts";

test("an address is written as it was read, IPv6 in brackets", () => {
  for (const text of ["10.0.0.1:7001", "[::1]:7001", "[fd00::a:1]:1", "db-1.internal:65535"]) {
    assert.equal(formatAddress(readAddress(text)!), text);
  }
  assert.deepEqual(readAddress("[::1]:7001"), { host: "::1", port: 7001 });
});

test("what is no address is not taken for one", () => {
  const bad = ["::1:7001", "7001", "h:", ":1", "h:70000", "[h]:1", "[::1]", "a b:1", "h:1/x", ""];
  for (const text of bad) assert.equal(readAddress(text), undefined, text);
});

test("hosts that stand for all addresses, and those of this machine only", () => {
  for (const host of ["0.0.0.0", "::", "0:0:0:0:0:0:0:0", "::0"]) {
    assert.ok(isUnspecified(host), host);
    assert.ok(!isLoopback(host), host);
  }
  for (const host of ["127.0.0.1", "127.4.5.6", "localhost", "::1", "0:0:0:0:0:0:0:1"]) {
    assert.ok(isLoopback(host), host);
    assert.ok(!isUnspecified(host), host);
  }
  for (const host of ["10.0.0.0", "fd00::", "1::", "localhost.example", "0.0.0.0.example"]) {
    assert.ok(!isUnspecified(host) && !isLoopback(host), host);
  }
});
