/**
 * `paceline roll-forward`: brings a delayed node to a chosen moment and keeps it there.
 */

import type { Command } from "commander";
import type { RollAnswer } from "../../node/delay/roll-forward.ts";
import type { NodeView } from "../../node/report/node-status.ts";
import { defaultUrl, Remote } from "../remote/remote.ts";
import { Failure, misuse, type Terminal } from "../terminal.ts";

type Flags = {
  readonly url: string;
  readonly to?: string;
  readonly resume?: boolean;
  readonly json?: boolean;
};

/** As it comes over the wire. */
type Answer = { [K in keyof RollAnswer]: RollAnswer[K] | null };

/** Between two looks at how far it is. */
const lookMs = 200;
/** A node that applies nothing for so long is not waited for any longer. */
const stuckMs = 60_000;

const examples = `
The position or time of the accident: from the application, from "paceline changes", or by trying: roll forward in
steps, and look. A time is that of the leader's clock at the commit, and needs its zone. Backwards is not possible.

Reads on a held node that ask for what it does not show go to the leader; look at it with consistency stale, or read
its file db/main.sqlite with any sqlite3.

Somebody dropped a table at 10:15:07:
  paceline roll-forward --url http://10.0.0.6:7001 --to 2026-11-21T10:15:06Z
  sqlite3 -readonly /var/lib/paceline/db/main.sqlite 'SELECT count(*) FROM orders'
  paceline backup --url http://10.0.0.6:7001 before.backup
  paceline roll-forward --url http://10.0.0.6:7001 --resume

More:
  paceline roll-forward --to 118@3        up to an entry, that one included
  paceline roll-forward --to 1763720106000   milliseconds since 1970
  paceline roll-forward --to now          everything, and stay there
  paceline roll-forward --to 97@3         its present position, "applied" in paceline status: apply nothing more

Held is held: over restarts too, until --resume. Meanwhile its log grows with what is written.

Exit status: 0 when the node is there, 1 when it was refused or does not get there.`;

export function addRollForward(program: Command, terminal: Terminal): void {
  program
    .command("roll-forward")
    .summary("bring a delayed follower to a chosen moment, and keep it there")
    .description(
      "Has the delayed node at --url (paceline start --apply-delay) apply everything up to a position or a time, at " +
        "once, and nothing after it: to look at the database as it was just before an accident, and to take a " +
        "backup of it. --resume ends that: it is behind by its delay again.",
    )
    .option("--url <url>", "the delayed node", defaultUrl())
    .option("--to <moment>", "a position (42 or 42@3), a time (ISO 8601 with zone, or ms), or now")
    .option("--resume", "go back to the delay")
    .option("--json", "print the answer, for programs")
    .addHelpText("after", examples)
    .action(async (flags: Flags) => {
      if ((flags.to === undefined) === (flags.resume !== true)) {
        throw misuse("say either --to or --resume", "For example --to 2026-11-21T10:15:06Z");
      }
      const remote = new Remote(flags.url);
      const body = flags.resume === true ? { resume: true } : { to: flags.to };
      const answer = (await remote.call("POST", "/admin/roll-forward", body)).body as Answer;
      const isSilent = answer.leaderSilent === true;
      if (isSilent) {
        terminal.err.write(
          "the cluster does not answer: more may have been committed than this node knows\n",
        );
      }
      const view = answer.target === null ? undefined : await arrival(remote, terminal);
      if (flags.json) {
        const appliedLsn = view?.appliedLsn ?? answer.appliedLsn;
        terminal.out.write(`${JSON.stringify({ ...answer, appliedLsn })}\n`);
      } else terminal.out.write(`${told(answer, view)}\n`);
    });
}

function told(answer: Answer, view: NodeView | undefined): string {
  if (view === undefined) return "back to its delay";
  const next =
    answer.nextAtMs === null
      ? "nothing after it is known"
      : `the next change is of ${new Date(answer.nextAtMs!).toISOString()}`;
  return `${view.id} is at ${answer.target} and stays there; ${next}`;
}

/** Waits until the node is where it shall be. */
async function arrival(remote: Remote, terminal: Terminal): Promise<NodeView> {
  let last = { lsn: -1, atMs: Date.now() };
  for (;;) {
    const view = (await remote.call("GET", "/node")).body as NodeView;
    if ((view.held ?? undefined) === undefined) {
      throw new Failure(`${view.id} was told to resume meanwhile`);
    }
    if (view.held!.reached) return view;
    const lsn = view.appliedLsn ?? 0;
    if (lsn > last.lsn) last = { lsn, atMs: Date.now() };
    if (Date.now() - last.atMs > stuckMs) {
      throw new Failure(
        `${view.id} stays at ${lsn}, on its way to ${view.held!.at}`,
        "See its log.",
      );
    }
    if (terminal.signal.aborted) throw new Failure(`${view.id} goes on to ${view.held!.at}`);
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
}
