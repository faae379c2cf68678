// Settings as bytes, as input, and as something that a cluster agrees on.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteWriter } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { defaultSettings, type Settings } from "../../vocabulary.ts";
import { decodeSettings, encodeSettings, settingsFrom } from "./settings.ts";

const other: Settings = {
  commitRule: "one",
  whenCopiesMissing: "degrade",
  copiesTimeoutMs: 500,
  logKind: "rows",
  coordinator: "manual",
  record: { statements: true, changes: false },
  foreignKeys: "on",
  begin: "immediate",
};

test("settings survive their encoding", () => {
  for (const settings of [defaultSettings, other]) {
    assert.deepEqual(decodeSettings(encodeSettings(settings)), settings);
  }
});

test("fields of a later version are left out, missing ones have their defaults", () => {
  const body = new ByteWriter().u8(1).text('{"commitRule":"all","colour":"red"}').finish();
  const settings = decodeSettings(body);
  assert.deepEqual(settings, { ...defaultSettings, commitRule: "all" });
  // Databases of that time may hold rows that foreign keys would refuse.
  assert.equal(settings.foreignKeys, "off");
});

test("bytes that are no settings are refused", () => {
  const whole = encodeSettings(other);
  for (let end = 0; end < whole.byteLength; end++) {
    assert.throws(() => decodeSettings(whole.slice(0, end)), ProtocolError, `cut at ${end}`);
  }
  const bodies = [
    new ByteWriter().u8(2).text("{}").finish(),
    new ByteWriter().u8(1).text("{}").u8(0).finish(),
    new ByteWriter().u8(1).text("[]").finish(),
    new ByteWriter().u8(1).text("nonsense").finish(),
  ];
  for (const body of bodies) assert.throws(() => decodeSettings(body), ProtocolError);
});

test("a value that is not known is refused, not replaced by another", () => {
  const wrong: object[] = [
    { commitRule: "most" },
    { commitRule: 1 },
    { whenCopiesMissing: "panic" },
    { copiesTimeoutMs: 9 },
    { copiesTimeoutMs: 1.5 },
    { copiesTimeoutMs: "100" },
    { logKind: "pictures" },
    { coordinator: "nobody" },
    { record: true },
    { foreignKeys: true },
    { begin: "later" },
    { record: { changes: 1 } },
  ];
  for (const value of wrong) {
    assert.throws(() => settingsFrom(value, defaultSettings), ProtocolError, JSON.stringify(value));
  }
});

test("a change keeps what it does not name", () => {
  const changed = settingsFrom({ copiesTimeoutMs: 60, record: { changes: true } }, other);
  const record = { statements: true, changes: true };
  assert.deepEqual(changed, { ...other, copiesTimeoutMs: 60, record });
});
