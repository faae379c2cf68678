/** The audit of rows: what a node lacks and what it should not have are both found, whatever the node says. */

import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import { Prng } from "../../src/base/prng.ts";
import type { HistoryEvent } from "../../src/sim/checkers/history.ts";
import { History } from "../history/history.ts";
import { Ground } from "./ground.ts";
import { Hrana } from "./hrana.ts";
import { Inserts } from "./inserts.ts";
import { Recorder, type Violation } from "./recorder.ts";

type Node = { readonly url: string; readonly rows: Set<string>; drops: number; breaks: number };

const servers: Server[] = [];
after(() => {
  for (const server of servers) server.close();
});

/** Keeps rows; forgets the `drops`-th and says that it has it, keeps the `breaks`-th and says that it has it not. */
function startNode(): Promise<Node> {
  const rows = new Set<string>();
  let inserts = 0;
  const { promise, resolve } = Promise.withResolvers<Node>();
  const server = createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    const { stmt } = JSON.parse(text).requests[0];
    const [client, seq, to] = stmt.args.map(({ value }: { value: string }) => Number(value));
    const key = `${client}/${seq}`;
    let found: number[] = [];
    let refused = false;
    if (stmt.sql.startsWith("INSERT")) {
      inserts++;
      if (inserts !== node.drops) rows.add(key);
      refused = inserts === node.breaks;
    } else if (stmt.sql.startsWith("SELECT 1")) {
      found = rows.has(key) ? [1] : [];
    } else {
      found = Array.from({ length: to! - seq! }, (_, n) => seq! + n).filter((n) =>
        rows.has(`${client}/${n}`),
      );
    }
    const cells = found.map((n) => [{ type: "integer", value: String(n) }]);
    const answer = refused
      ? { type: "error", error: { code: "SQLITE_CONSTRAINT", message: "refused" } }
      : { type: "ok", response: { type: "execute", result: { rows: cells } } };
    response.setHeader("paceline-position", `${rows.size + 1}@1`);
    response.end(JSON.stringify({ baton: null, results: [answer] }));
  });
  servers.push(server);
  const node: Node = { url: "", rows, drops: 0, breaks: 0 };
  server.listen(0, "127.0.0.1", () => {
    const { port } = server.address() as AddressInfo;
    resolve(Object.assign(node, { url: `http://127.0.0.1:${port}` }));
  });
  return promise;
}

async function audited(
  lie: Partial<Pick<Node, "drops" | "breaks">>,
): Promise<{ violations: Violation[]; events: HistoryEvent[]; recorder: Recorder }> {
  const node = Object.assign(await startNode(), lie);
  const violations: Violation[] = [];
  const events: HistoryEvent[] = [];
  const recorder = new Recorder((violation) => violations.push(violation));
  const history = new History([(event) => events.push(event)]);
  const ground = new Ground({ recorder, history, prng: new Prng(1) }, [{ id: "a", url: node.url }]);
  const inserts = new Inserts(ground, 2);
  while (recorder.acked < 60) await new Promise((resolve) => setTimeout(resolve, 5));
  await ground.stop();
  const client = new Hrana(node.url);
  await inserts.check("a", client);
  await client.close();
  await ground.close();
  return { violations, events, recorder };
}

test("a node that tells the truth passes, and every operation is in the history", async () => {
  const { violations, events, recorder } = await audited({});
  assert.deepEqual(violations, []);
  const acked = events.filter(({ op, type }) => op === "add" && type === "ok");
  assert.equal(acked.length, recorder.acked);
  assert.ok(acked.every(({ node, lsn, term }) => node === "a" && lsn !== undefined && term === 1));
});

test("an acknowledged row that is not there is lost", async () => {
  const { recorder } = await audited({ drops: 20 });
  assert.equal(recorder.count("lost"), 1);
});

test("a refused row that is there has risen", async () => {
  const { recorder } = await audited({ breaks: 20 });
  assert.equal(recorder.count("risen"), 1);
});
