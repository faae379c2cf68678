/**
 * Settings as bytes, and as what people write. The body of a settings entry:
 *
 *   offset  size  field
 *        0     1  format version, now 1
 *        1     …  JSON of the settings: size u32, then UTF-8
 *
 * Fields that a reader does not know are left out, and those that are missing have their defaults: so fields can be
 * added. A value that it does not know is refused, because acting by another one could break a promise.
 *
 * Not here: which settings make sense for which members (node/rule/), what they do (commit-rule.ts).
 */

import { ByteReader, ByteWriter } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { defaultSettings, type Settings } from "../../vocabulary.ts";

const formatVersion = 1;

/** Values by field, as people write them; what `paceline configure --help` and every refusal list. */
export const settingsChoices = {
  commitRule: ["quorum", "all", "one", "leader"],
  whenCopiesMissing: ["wait", "fail", "degrade"],
  logKind: ["pages", "rows", "statements", "triggers"],
  coordinator: ["quorum", "manual"],
  foreignKeys: ["on", "off"],
  begin: ["deferred", "immediate"],
} as const satisfies {
  readonly [K in
    | "commitRule"
    | "whenCopiesMissing"
    | "logKind"
    | "coordinator"
    | "foreignKeys"
    | "begin"]: readonly Settings[K][];
};

/** Bounds of copiesTimeoutMs: shorter is not measurable, longer is `wait`. */
const timeoutMinMs = 10;
const timeoutMaxMs = 600_000;

/** The body of a settings entry. */
export function encodeSettings(settings: Settings): Uint8Array {
  return new ByteWriter().u8(formatVersion).text(JSON.stringify(settings)).finish();
}

/** Reads the body of a settings entry. Throws ProtocolError when it is none. */
export function decodeSettings(body: Uint8Array): Settings {
  const reader = new ByteReader(body);
  const version = reader.u8();
  if (version !== formatVersion) throw new ProtocolError(`settings format ${version} is unknown`);
  const text = reader.text();
  if (reader.left !== 0) throw new ProtocolError("settings have trailing bytes");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ProtocolError("settings are not JSON", { cause });
  }
  return settingsFrom(value, defaultSettings);
}

/**
 * `before` with what `value` says instead; fields that it does not know are ignored. Throws ProtocolError, naming the
 * field and what it may be.
 */
export function settingsFrom(value: unknown, before: Settings): Settings {
  const fields = fieldsOf(value, "settings");
  const record = fieldsOf(fields["record"] ?? {}, "record");
  return {
    commitRule: choice(fields, "commitRule", before),
    whenCopiesMissing: choice(fields, "whenCopiesMissing", before),
    copiesTimeoutMs: timeout(fields["copiesTimeoutMs"], before.copiesTimeoutMs),
    logKind: choice(fields, "logKind", before),
    coordinator: choice(fields, "coordinator", before),
    record: {
      statements: flag(record["statements"], "record.statements", before.record.statements),
      changes: flag(record["changes"], "record.changes", before.record.changes),
    },
    foreignKeys: choice(fields, "foreignKeys", before),
    begin: choice(fields, "begin", before),
  };
}

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown, what: string): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw new ProtocolError(`${what} must be an object`);
}

function choice<K extends keyof typeof settingsChoices>(
  fields: Fields,
  key: K,
  before: Settings,
): Settings[K] {
  const value = fields[key];
  if (value === undefined) return before[key];
  const choices: readonly unknown[] = settingsChoices[key];
  if (choices.includes(value)) return value as Settings[K];
  throw new ProtocolError(`${key} must be one of ${choices.join(", ")}`);
}

function timeout(value: unknown, before: number): number {
  if (value === undefined) return before;
  const fits = Number.isSafeInteger(value);
  const ms = value as number;
  if (fits && ms >= timeoutMinMs && ms <= timeoutMaxMs) return ms;
  throw new ProtocolError(
    `copiesTimeoutMs must be a whole number from ${timeoutMinMs} to ${timeoutMaxMs}`,
  );
}

function flag(value: unknown, what: string, before: boolean): boolean {
  if (value === undefined) return before;
  if (typeof value === "boolean") return value;
  throw new ProtocolError(`${what} must be true or false`);
}
