/**
 * Follows who leads in a cluster on this machine, by asking the nodes that run, and says what changed.
 */

import { Remote } from "../remote/remote.ts";
import { formatTable } from "../table.ts";
import type { LocalCluster } from "./local-cluster.ts";

/** A node on this machine answers within this time, or it is busy starting. */
const askMs = 1_000;

export class RoleWatch {
  readonly #cluster: LocalCluster;
  #leader: string | undefined;
  /** The last one that was known, and its term. */
  #last: { readonly id: string; readonly term: number } | undefined;
  /** Role by node id, of the nodes that answered last. */
  #roles = new Map<string, string>();
  /** When the last known leader was lost, on the monotonic clock. */
  #lostMs: number | undefined;

  constructor(cluster: LocalCluster) {
    this.#cluster = cluster;
  }

  /** Id of the leader, as of the last look. */
  get leader(): string | undefined {
    return this.#leader;
  }

  roleOf(id: string): string {
    return this.#roles.get(id) ?? "not answering";
  }

  /** Asks, and returns a line for each change since the last time. */
  async look(): Promise<string[]> {
    const status = await this.#ask();
    const lines: string[] = [];
    const roles = new Map<string, string>();
    for (const { id, role, reachable } of status?.nodes ?? []) {
      if (reachable && (role ?? "") !== "") roles.set(id, role!);
    }
    const leader = status?.leader ?? undefined;
    const leads = leader !== undefined && roles.get(leader) === "leader" ? leader : undefined;
    if (leads !== this.#leader) {
      if (leads === undefined) {
        lines.push(`${this.#leader} does not answer as leader; an election takes about a second`);
        this.#lostMs = performance.now();
      } else {
        const after =
          this.#lostMs === undefined ? "" : `, ${this.#since()} after the last one was missed`;
        const { term } = status!;
        const isSame = this.#last?.id === leads && this.#last.term === term;
        lines.push(
          isSame
            ? `${leads} answers again and leads as before, in term ${term}`
            : `${leads} leads, in term ${term}${after}`,
        );
        this.#last = { id: leads, term };
        this.#lostMs = undefined;
      }
    }
    for (const { id } of this.#cluster.nodes) {
      const [before, now] = [this.#roles.get(id), roles.get(id)];
      if (before === now || status === undefined || now === "leader" || now === "candidate")
        continue;
      if (now === undefined) lines.push(`${id} does not answer`);
      else if (before === undefined) lines.push(`${id} is back and follows`);
      else if (before === "leader") lines.push(`${id} follows`);
    }
    this.#leader = leads;
    if (status !== undefined) this.#roles = roles;
    return lines;
  }

  #since(): string {
    return `${((performance.now() - this.#lostMs!) / 1000).toFixed(1)} s`;
  }

  /** The newest view among the nodes that answer. */
  async #ask() {
    const answers = await Promise.all(
      this.#cluster.running.map(async ({ url }) => {
        try {
          return await new Remote(url).status(askMs);
        } catch {
          return undefined;
        }
      }),
    );
    const known = answers.filter((answer) => answer !== undefined);
    return known.sort(
      (a, b) => b.term - a.term || Number(b.leader !== null) - Number(a.leader !== null),
    )[0];
  }
}

/** What a user sees when the cluster can be used. */
export function readyText(cluster: LocalCluster, roles: RoleWatch): string {
  const rows = cluster.nodes.map(({ id, url }) => [id, url, roles.roleOf(id)]);
  const [first, second] = cluster.nodes;
  const sql = (text: string): string =>
    `'{"requests":[{"type":"execute","stmt":{"sql":"${text}"}},{"type":"close"}]}'`;
  return `
${formatTable(["node", "url", "role"], rows).join("\n")}

Ready. Write through one node, read from another:

  curl -s ${first!.url}/v2/pipeline -d ${sql("CREATE TABLE IF NOT EXISTS hello AS SELECT 42 AS answer")}
  curl -s ${second!.url}/v2/pipeline -d ${sql("SELECT answer FROM hello")}

Or at a prompt: npx paceline shell --url ${second!.url}
A database of your own: npx paceline import --url ${first!.url} FILE
Kill the leader and look: npm run demo shows how. Ctrl-C stops all nodes.`;
}
