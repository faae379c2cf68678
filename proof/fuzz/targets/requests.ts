/** Fuzzing of what clients and people send: Hrana, headers, SQL text, and the options of the command line. */

import { BatonSeal } from "../../../src/api/hrana/baton.ts";
import { RequestDecoder } from "../../../src/api/hrana/decode.ts";
import { SqlTexts } from "../../../src/api/hrana/sql-texts.ts";
import { parseJsonObject } from "../../../src/api/json-body.ts";
import { elementsAt, fieldText } from "../../../src/api/json-slices.ts";
import { ClientError } from "../../../src/base/errors.ts";
import type { Prng } from "../../../src/base/prng.ts";
import { isComplete, statementsOf } from "../../../src/cli/shell/statements.ts";
import { nodeOptions } from "../../../src/cli/start.ts";
import { Failure, type Terminal } from "../../../src/cli/terminal.ts";
import type { SqlRequest } from "../../../src/db/sql/request.ts";
import { parseScript } from "../../../src/db/sql/tokenizer.ts";
import { accessOf } from "../../../src/db/stream/access.ts";
import { formatConsistency, parseConsistency } from "../../../src/node/route/run.ts";
import { runParts } from "../../../src/node/route/run-body.ts";
import { formatPosition, parsePosition } from "../../../src/vocabulary.ts";
import { makeId, makeText } from "../make.ts";
import { mutateText, pick, randomBytes } from "../mutate.ts";
import { demand, demandSame, probe } from "../rules.ts";
import { jsonTarget, type Outcome, type Target } from "../target.ts";

const signal = new AbortController().signal;
const options = {
  consistency: { type: "session" },
  minPosition: undefined,
  session: undefined,
  deadlineMs: undefined,
  signal,
} as const;

/** Requests that a client sends; what was decoded goes to the leader and must be decoded as the same there. */
const pipeline = jsonTarget({
  name: "Hrana requests",
  errors: [ClientError],
  weight: 2,
  make: makePipeline,
  decode: (text) => {
    const body = parseJsonObject(Buffer.from(text));
    const decoded = new RequestDecoder(new SqlTexts({ usedChars: 0 })).pipeline(body["requests"]);
    return decoded.flatMap((request) => (request.type === "sql" ? [request.request] : []));
  },
  encode: (requests) => JSON.parse([...runParts({ requests }, options, false)].join("")) as unknown,
});

const batch = jsonTarget({
  name: "Hrana batch",
  errors: [ClientError],
  make: makeBatch,
  decode: (text) => {
    const texts = new SqlTexts({ usedChars: 0 });
    texts.store(1, "SELECT 1");
    return new RequestDecoder(texts).batch(parseJsonObject(Buffer.from(text)));
  },
});

function makePipeline(prng: Prng): unknown {
  const requests: unknown[] = [{ type: "store_sql", sql_id: 1, sql: "SELECT 1" }];
  for (let n = prng.integer(0, 4); n > 0; n--) {
    requests.push(
      pick<unknown>(
        [
          { type: "execute", stmt: makeStmt(prng) },
          { type: "batch", batch: makeBatch(prng) },
          { type: "sequence", sql: makeSql(prng) },
          { type: "describe", sql_id: 1, replication_index: "7" },
          { type: "get_autocommit" },
        ],
        prng,
      ),
    );
  }
  if (prng.chance(0.3)) requests.push({ type: "close_sql", sql_id: 1 }, { type: "close" });
  return { requests };
}

function makeBatch(prng: Prng): unknown {
  const steps = Array.from({ length: prng.integer(0, 4) }, (_, step) => ({
    stmt: makeStmt(prng),
    condition: step === 0 || prng.chance(0.4) ? null : makeCondition(prng, step, 3),
  }));
  return { steps };
}

function makeCondition(prng: Prng, step: number, depth: number): unknown {
  const leaf = { type: pick(["ok", "error"], prng), step: prng.integer(0, step) };
  if (depth === 0) return leaf;
  const inner = () => makeCondition(prng, step, depth - 1);
  return pick<() => unknown>(
    [
      () => leaf,
      () => ({ type: "is_autocommit" }),
      () => ({ type: "not", cond: inner() }),
      () => ({ type: pick(["and", "or"], prng), conds: [inner(), inner()] }),
    ],
    prng,
  )();
}

function makeStmt(prng: Prng): unknown {
  const args = Array.from({ length: prng.integer(0, 3) }, () => makeValue(prng));
  const named = args.map((value) => ({ name: `:${makeText(prng)}`, value }));
  const shape = prng.chance(0.5) ? { args } : { named_args: named, want_rows: prng.chance(0.5) };
  return prng.chance(0.2) ? { sql_id: 1, ...shape } : { sql: makeSql(prng), ...shape };
}

function makeValue(prng: Prng): unknown {
  return pick<unknown>(
    [
      { type: "null" },
      {
        type: "integer",
        value: pick(["0", "-1", "9223372036854775807", "-9223372036854775808"], prng),
      },
      { type: "integer", value: prng.u32() },
      { type: "float", value: pick([0, -1.5, 1e300, 5e-324], prng) },
      { type: "text", value: makeText(prng) },
      {
        type: "blob",
        base64: Buffer.from(randomBytes(prng.integer(0, 9), prng)).toString("base64"),
      },
    ],
    prng,
  );
}

const fragments = [
  "SELECT",
  "INSERT INTO t VALUES",
  "(",
  ")",
  ";",
  "'a''b'",
  '"c""d"',
  "`e`",
  "[f]",
  "--x\n",
  "/*y*/",
  "?",
  "?3",
  "?32766",
  ":a",
  "@b",
  "$c::d(e)",
  "1.5e3",
  "0x1F",
  "x'ab'",
  "CREATE TRIGGER t BEGIN",
  "END",
  "WITH q AS (SELECT 1)",
  "EXPLAIN",
  "PRAGMA foreign_keys",
  "=",
  "ON",
  "BEGIN IMMEDIATE",
  "COMMIT",
  "SAVEPOINT s",
  ".",
  "\u00a0",
  "é",
  "||",
  "->>",
] as const;

function makeSql(prng: Prng): string {
  const parts = Array.from({ length: prng.integer(0, 9) }, () => pick(fragments, prng));
  return parts.join(pick([" ", "", "\n"], prng));
}

/** Statements are parts of the text, in order, and each is one statement when it is read alone. */
function playSql(prng: Prng): Outcome {
  let sql = makeSql(prng);
  if (prng.chance(0.7)) sql = mutateText(sql, makeSql(prng), prng);
  const found = probe(sql, [], () => parseScript(sql))!.value;
  let at = 0;
  for (const { text } of found) {
    const from = sql.indexOf(text, at);
    demand(from >= 0, `"${text}" is not in "${sql}" where it should be`);
    at = from + text.length;
  }
  for (const { text } of found.slice(0, -1)) {
    const alone = parseScript(text);
    demandSame(
      alone.map((s) => s.text),
      [text],
      "a statement alone is another",
    );
  }
  const requests: SqlRequest[] = [{ type: "sequence", sql }];
  probe(sql, [], () => accessOf({ requests }));
  probe(sql, [], () => [statementsOf(sql), isComplete(sql)]);
  return found.length > 0 ? "accepted" : "refused";
}

/** Cutting pieces out of JSON gives what parsing it gives. */
function playSlices(prng: Prng): Outcome {
  const value = {
    [makeText(prng).replaceAll(/[^a-z]/g, "")]: makeStmt(prng),
    result: makeBatch(prng),
    list: [makeText(prng), makeValue(prng), prng.u32(), null],
  };
  const text = JSON.stringify(value, undefined, pick([0, 2], prng));
  const parsed = probe(text, [], () => JSON.parse(fieldText(text, 0, "result")!) as unknown);
  demandSame(parsed?.value, JSON.parse(text).result, "a field cut out of JSON is another");
  const list = fieldText(text, 0, "list")!;
  const items = [...elementsAt(list, 0)].map(({ from, to }) => JSON.parse(list.slice(from, to)));
  demandSame(items, value.list, "elements cut out of JSON are others");
  demandSame(fieldText(text, 0, "absent"), undefined, "a field that is not there was found");
  return "whole";
}

function playHeaders(prng: Prng): Outcome {
  const good = pick(["stale", "bounded;maxLagMs=20", "linearizable", "42@3", "7", "a=h:1"], prng);
  const text = mutateText(good, "leader", prng);
  const consistency = probe(text, [], () => parseConsistency(text))?.value;
  const position = probe(text, [], () => parsePosition(text))?.value;
  if (consistency !== undefined) {
    demandSame(parseConsistency(formatConsistency(consistency)), consistency, "a consistency");
  }
  if (position !== undefined) {
    demandSame(parsePosition(formatPosition(position)), position, "a position");
  }
  return (consistency ?? position) ? "accepted" : "refused";
}

function playBaton(prng: Prng): Outcome {
  const seal = new BatonSeal("secret");
  const streamId = Buffer.from(randomBytes(16, prng)).toString("hex");
  const plain = prng.chance(0.5);
  const baton = {
    streamId,
    sequence: prng.u32(),
    node: makeId(prng),
    plain,
    connection: undefined,
  };
  const text = seal.seal(baton);
  demandSame(seal.open(text), baton, "a baton");
  const spoiled = mutateText(text, new BatonSeal("other").seal(baton), prng);
  const found = probe(spoiled, [], () => seal.open(spoiled))?.value;
  demand(found === undefined || spoiled === text, `a forged baton is taken: ${spoiled}`);
  return found === undefined ? "refused" : "whole";
}

function playOptions(prng: Prng): Outcome {
  const members = "a=10.0.0.1:7001,b=[::1]:7002,c=host:7003";
  const good = {
    ...{ id: "a", dir: "/d", listen: "127.0.0.1:7001", keepLog: "256M", statementTimeout: "5" },
    ...{ syncRate: "8M", readers: "2", cluster: members, moved: members },
  };
  const key = pick(Object.keys(good), prng) as keyof typeof good;
  const flags = { ...good, [key]: mutateText(good[key], pick(Object.values(good), prng), prng) };
  const text = flags[key];
  const found = probe(text, [Failure], () => nodeOptions(flags, {} as Terminal));
  if (found === undefined) return "refused";
  const { listen, logRetentionBytes, syncBytesPerSecond, readers, statementMs } = found.value;
  demand(listen.port >= 1 && listen.port <= 65_535, `port ${listen.port} from "${text}"`);
  for (const n of [logRetentionBytes, syncBytesPerSecond, readers, statementMs]) {
    demand(n !== undefined && Number.isSafeInteger(n) && n >= 0, `${n} from "${text}"`);
  }
  return "accepted";
}

export const requestTargets: readonly Target[] = [
  pipeline,
  batch,
  { name: "SQL text", weight: 1, play: playSql },
  { name: "JSON slices", weight: 0.5, play: playSlices },
  { name: "headers", weight: 0.5, play: playHeaders },
  { name: "baton", weight: 0.3, play: playBaton },
  { name: "options", weight: 0.5, play: playOptions },
];
