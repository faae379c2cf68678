import assert from "node:assert/strict";
import { test } from "node:test";
import { parseHash } from "../../base/hash.ts";
import { type Lsn, lsn, type Member, nodeId } from "../../vocabulary.ts";
import type { NodeVerdict, VerifyWish } from "./node-status.ts";
import type { ReportPorts } from "./status-report.ts";
import { Verification } from "./verification.ts";

type Rows = Record<string, string>;

/** What a node is: where it is when it is asked for rows, and what they are. */
type Other = { readonly at: (wanted: Lsn) => number; readonly tables: Rows; delayed?: boolean };

/** Node a leads and is asked; the others answer as they are told to. */
function subject(logKind: "rows" | "pages", others: Record<string, Other>) {
  const wishes: [string, VerifyWish][] = [];
  const members = ["a", ...Object.keys(others)].map(
    (id) => ({ id: nodeId(id), kind: "voter", address: id }) as Member,
  );
  const verdict = (id: string): NodeVerdict => ({
    ...{ id: nodeId(id), reachable: true, lsn: lsn(40), checksum: "c40", pages: 3, damaged: [] },
    problem: undefined,
  });
  const served = {
    scrub: async () => ({ pages: 3, damaged: [] }),
    checksum: () => parseHash("0000000000000c40"),
  };
  const verify = async (id: string, wish: VerifyWish): Promise<NodeVerdict> => {
    wishes.push([id, wish]);
    const { at, tables, delayed } = others[id]!;
    const late = delayed ? { delayed, lsn: lsn(29), checksum: "old" } : {};
    if (wish.rowsAt === undefined) return { ...verdict(id), ...late };
    const found = lsn(at(wish.rowsAt));
    const content = found === wish.rowsAt ? { lsn: found, tables } : { lsn: found };
    return { ...verdict(id), ...late, content };
  };
  const ports = {
    self: nodeId("a"),
    raft: () => ({
      ...{ membership: members, leader: nodeId("a"), role: "leader" },
      settings: { logKind },
    }),
    ...{ database: { served, damage: undefined }, identity: { witness: false } },
    ...{
      delay: undefined,
      forwarder: { verify },
      clock: { after: (_: number, run: () => void) => run() },
    },
    applied: () => ({ lsn: lsn(40), term: 1 }),
    content: async (at?: Lsn) => ({ lsn: at ?? lsn(40), tables: { "": "s", t: "1", u: "2" } }),
    reached: async () => {},
  } as unknown as ReportPorts;
  const checksums = new Map([[40, "c40"]]);
  return { wishes, verification: new Verification(ports, (at) => checksums.get(at)) };
}

const same = { "": "s", t: "1", u: "2" };
const there = (wanted: Lsn) => wanted;

test("rows are read at one position, and a copy that differs from the leader is told so", async () => {
  const other = { "": "s", t: "9", u: "2" };
  const others = { b: { at: there, tables: same }, c: { at: there, tables: other } };
  const { wishes, verification } = subject("rows", others);
  const report = await verification.all();
  assert.equal(report.identical, false);
  assert.equal(report.comparedWith, "a");
  assert.deepEqual(
    report.nodes.map(({ comparedAt, problem }) => [comparedAt, problem]),
    [
      [40, undefined],
      [40, undefined],
      [40, "differs from a at 40 in table t"],
    ],
  );
  const told = wishes.filter(([, { differs }]) => differs !== undefined);
  assert.deepEqual(told, [["c", { differs: "differs from a at 40 in table t" }]]);
});

test("who misses the others tries again, and is not taken for equal", async () => {
  let tries = 0;
  const late = (wanted: Lsn) => (++tries < 3 ? wanted + 1 : wanted);
  const met = await subject("rows", { b: { at: late, tables: same } }).verification.all();
  assert.equal(met.identical, true);
  assert.equal(tries, 3);
  const never = { at: (wanted: Lsn) => wanted + 1, tables: same };
  const report = await subject("rows", { b: never }).verification.all();
  assert.equal(report.identical, false);
  assert.equal(report.nodes[1]!.comparedAt, undefined);
  assert.match(report.nodes[1]!.problem!, /could not be read at the position of the others/);
});

test("a delayed node is not waited for, and not said to be compared", async () => {
  for (const kind of ["rows", "pages"] as const) {
    const others = {
      b: { at: there, tables: same },
      d: { at: () => 29, tables: {}, delayed: true },
    };
    const report = await subject(kind, others).verification.all();
    assert.equal(report.identical, true, kind);
    assert.deepEqual(
      report.nodes.map(({ comparedAt }) => comparedAt),
      [40, 40, undefined],
    );
  }
});
