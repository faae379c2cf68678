/**
 * With what settings a new cluster begins that is restored from a backup: those that the backup carries, with what
 * was asked for instead.
 *
 * It begins as one node, so one thing cannot be as it was: where an operator appointed the leader, one is elected until
 * somebody says otherwise, because nobody could lead before a promotion and there is nobody to be protected from. What
 * is about copies (`one`, `all`) needs none from a single voter, and counts by itself when others have joined.
 */

import { ClientError, CorruptionError, messageOf } from "../base/errors.ts";
import { mergedSettings } from "../node/rule/settings-change.ts";
import { settingsFrom } from "../raft/rule/settings.ts";
import { defaultSettings, type Settings } from "../vocabulary.ts";
import type { BackupLabel } from "./backup-file.ts";

/** `changes` is for people: what differs from the backup without having been asked for, and why. */
export type Carried = { readonly settings: Settings; readonly changes: readonly string[] };

/**
 * Throws ClientError BAD_REQUEST for wishes that are no settings or cannot be for one node, CorruptionError for
 * settings of the backup that this version does not know, unless others are wanted in their place.
 */
export function carriedSettings(
  { settings: carried = {} }: Pick<BackupLabel, "settings">,
  wanted: Readonly<Record<string, unknown>>,
): Carried {
  const settings = mergedSettings(wanted, understood(carried, wanted));
  if (wanted["coordinator"] === "manual") {
    throw new ClientError(
      "BAD_REQUEST",
      "a restored cluster begins with one node, which elects itself; say `paceline configure coordinator=manual` " +
        "when the others have joined",
    );
  }
  const elected = possible({ ...settings, coordinator: "quorum" });
  const changes: string[] = [];
  if (settings.coordinator === "manual") {
    changes.push("coordinator=quorum (manual in the backup): one node elects itself");
  }
  if (elected.whenCopiesMissing !== settings.whenCopiesMissing) {
    if (wanted["whenCopiesMissing"] !== undefined) {
      throw new ClientError(
        "BAD_REQUEST",
        "rule quorum cannot degrade; choose commitRule=one or all",
      );
    }
    changes.push(
      `whenCopiesMissing=${elected.whenCopiesMissing} (${settings.whenCopiesMissing} in the backup): ` +
        "rule quorum cannot degrade where leaders are elected",
    );
  }
  return { settings: elected, changes };
}

function understood(carried: object, wanted: Readonly<Record<string, unknown>>): Settings {
  const kept = Object.entries(carried).filter(
    ([key]) => key === "record" || wanted[key] === undefined,
  );
  try {
    return settingsFrom(Object.fromEntries(kept), defaultSettings);
  } catch (cause) {
    throw new CorruptionError(
      `the settings in the backup are of another version (${messageOf(cause)}); say which to use instead: --settings`,
      { cause },
    );
  }
}

/** By majority, rule quorum cannot degrade [node/rule/settings-change.ts]. */
function possible(settings: Settings): Settings {
  const { commitRule, whenCopiesMissing } = settings;
  if (commitRule !== "quorum" || whenCopiesMissing !== "degrade") return settings;
  return { ...settings, whenCopiesMissing: "wait" };
}
