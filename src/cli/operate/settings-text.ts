/**
 * Settings as people type and read them: `commitRule=leader`, `record.changes=true`.
 */

import { messageOf } from "../../base/errors.ts";
import { mergedSettings } from "../../node/rule/settings-change.ts";
import { defaultSettings, newClusterSettings, type Settings } from "../../vocabulary.ts";
import { parseDuration } from "../archive/flags.ts";
import { misuse } from "../terminal.ts";

/** One `key=value` per setting, in a fixed order. */
export function settingLines(settings: Settings | undefined): string[] {
  const { record, ...plain } = settings ?? defaultSettings;
  const lines = Object.entries(plain).map(([key, value]) => `${key}=${value}`);
  return [...lines, ...Object.entries(record).map(([key, value]) => `record.${key}=${value}`)];
}

/** Those that are not the ones of a new cluster, in one line. */
export function settingsPhrase(settings: Settings | undefined): string {
  const usual = settingLines(newClusterSettings);
  const others = settingLines(settings).filter((line) => !usual.includes(line));
  return others.length === 0 ? "default" : others.join(" ");
}

/** The pairs of `--settings KEY=VALUE,KEY=VALUE`; none without the flag. */
export function pairsOf(flag: string | undefined): string[] {
  return flag?.split(",").map((pair) => pair.trim()) ?? [];
}

/** What `POST /admin/settings` wants. Values are checked by the node. */
export function parseSettings(pairs: readonly string[]): Record<string, unknown> {
  const wanted: Record<string, unknown> = {};
  for (const pair of pairs) {
    const match = /^([A-Za-z.]+)=(.+)$/.exec(pair);
    if (match === null) throw misuse(`"${pair}" is not KEY=VALUE`, "For example commitRule=all");
    const [, path = "", text = ""] = match;
    const names = settingLines(newClusterSettings).map((line) => line.replace(/=.*/, ""));
    if (!names.includes(path)) {
      throw misuse(`there is no setting ${path}`, `Settings are ${names.join(", ")}.`);
    }
    const value = settingValue(path, text);
    const [group, key] = path.split(".", 2);
    if (key === undefined) wanted[path] = value;
    else wanted[group!] = { ...(wanted[group!] as object | undefined), [key]: value };
  }
  return wanted;
}

/** A setting in milliseconds may be written as a duration. */
function settingValue(path: string, text: string): unknown {
  if (/^\d+$/.test(text)) return Number(text);
  if (path.endsWith("Ms")) return parseDuration(text, path, { max: Number.MAX_SAFE_INTEGER });
  return flags[text] ?? text;
}

/** The settings of a new cluster with what `wanted` says instead. */
export function completeSettings(wanted: Record<string, unknown>): Settings {
  try {
    return mergedSettings(wanted, newClusterSettings);
  } catch (error) {
    throw misuse(messageOf(error), "paceline configure --help lists the settings");
  }
}

const flags: Readonly<Record<string, boolean>> = { true: true, false: false };
