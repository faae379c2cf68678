import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientError, CorruptionError } from "../base/errors.ts";
import { defaultSettings, type Settings } from "../vocabulary.ts";
import type { BackupLabel } from "./backup-file.ts";
import { carriedSettings } from "./carried-settings.ts";

type Carry = BackupLabel["settings"];
const both = { statements: true, changes: true };
const manual: Settings = {
  ...{ commitRule: "one", whenCopiesMissing: "degrade", copiesTimeoutMs: 500 },
  ...{ logKind: "rows", coordinator: "manual", record: both },
  ...{ foreignKeys: "on", begin: "immediate" },
};

function check(settings: Carry, wanted: Record<string, unknown>, expected: Settings): string {
  const carried = carriedSettings({ settings }, wanted);
  assert.deepEqual(carried.settings, expected);
  return carried.changes.map((line) => line.split(" ")[0]).join(" ");
}

test("a new cluster begins with the settings of the backup, and an elected leader", () => {
  // Backups from before they were carried.
  assert.equal(check(undefined, {}, defaultSettings), "");
  const elected = { ...manual, coordinator: "quorum" } as const;
  assert.equal(check(elected, {}, elected), "");
  assert.equal(check(manual, {}, elected), "coordinator=quorum");
  // What only manual allows.
  const weak = { ...manual, commitRule: "quorum" } as const;
  assert.equal(
    check(weak, {}, { ...elected, commitRule: "quorum", whenCopiesMissing: "wait" }),
    "coordinator=quorum whenCopiesMissing=wait",
  );
  // A newer program's further fields mean nothing here, and an older one's missing fields have their defaults.
  const newer = { ...elected, colour: "red" } as Carry;
  assert.equal(check(newer, {}, elected), "");
  assert.equal(check({ commitRule: "all" }, {}, { ...defaultSettings, commitRule: "all" }), "");
});

test("wishes go before the backup", () => {
  const elected = { ...manual, coordinator: "quorum" } as const;
  const wish = { commitRule: "all", record: { changes: false } };
  const expected = { ...elected, commitRule: "all", record: { statements: true, changes: false } };
  assert.equal(check(elected, wish, expected as Settings), "");
  assert.equal(check(manual, { coordinator: "quorum" }, elected), "");
  // A rule that can lose writes records them, as `configure` has it.
  const leader = { ...defaultSettings, commitRule: "leader", record: both } as const;
  assert.equal(check(undefined, { commitRule: "leader" }, leader), "");
  // Words of a newer version, replaced.
  const newer = { ...elected, commitRule: "two-thirds" };
  assert.throws(() => carriedSettings({ settings: newer }, {}), CorruptionError);
  assert.equal(check(newer, { commitRule: "one" }, elected), "");
});

test("wishes that cannot be are refused", () => {
  for (const wish of [
    { colour: "red" },
    { commitRule: "most" },
    { coordinator: "manual" },
    { whenCopiesMissing: "degrade" },
  ]) {
    assert.throws(
      () => carriedSettings({ settings: undefined }, wish),
      (error) => error instanceof ClientError && error.code === "BAD_REQUEST",
      JSON.stringify(wish),
    );
  }
});
