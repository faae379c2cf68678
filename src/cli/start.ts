/**
 * `paceline start`: runs one node, in the foreground, until it is told to stop.
 *
 * What a node needs to know comes from options; the only thing that comes from the environment is the secret, so
 * that it stands in no list of processes. Not here: how a node works (node/).
 */

import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import type { Command } from "commander";
import type { NodeOptions } from "../api/serve.ts";
import { formatAddress, isLoopback, isUnspecified, readAddress } from "../base/address.ts";
import { ClientError, CorruptionError, messageOf, StorageError } from "../base/errors.ts";
import type { TlsFiles } from "../host/tls.ts";
import { limits } from "../limits.ts";
import { besideWitness } from "../node/rule/settings-change.ts";
import { upstreamId } from "../node/tree/upstream.ts";
import { type MemberKind, nodeId, nodeIdPattern, type Settings } from "../vocabulary.ts";
import {
  formatDuration,
  formatSize,
  parseAddress,
  parseDuration,
  parseMemberAddress,
  parseSize,
} from "./archive/flags.ts";
import { type MemberSpec, parseKind, parseMembers } from "./members/spec.ts";
import { completeSettings, pairsOf, parseSettings } from "./operate/settings-text.ts";
import { Failure, misuse, type Terminal } from "./terminal.ts";

/** A stop that takes longer than this is not graceful any more; the log makes up for it at the next start. */
const stopMs = 10_000;

/** A day is long enough, and a timer of more than 24 days would fire at once. */
const statementBounds = { min: 10, max: 86_400_000, plain: "s" } as const;
/** More than this on one machine is a slip of the hand. */
const readersMax = 64;

type Flags = {
  readonly id: string;
  readonly dir: string;
  readonly listen: string;
  readonly advertise?: string;
  readonly cluster?: string;
  readonly kind?: string;
  readonly moved?: string;
  readonly join?: string;
  readonly follow?: string;
  readonly tables?: string;
  readonly commitRule?: string;
  readonly settings?: string;
  readonly secretFile?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsCa?: string;
  readonly applyDelay?: string;
  readonly keepLog: string;
  readonly statementTimeout: string;
  readonly syncRate: string;
  readonly readers: string;
};

const examples = `
Required: --id, --dir and --listen.

One node alone, to try it:
  paceline start --id a --dir ./a --listen 127.0.0.1:7001

Nodes on several machines know each other by a secret. Make it once, and copy the file to every machine:
  openssl rand -hex 32 > secret && chmod 600 secret
Every start below needs --secret-file secret, or the same text in PACELINE_SECRET:
  export PACELINE_SECRET="$(cat secret)"

Three nodes on three machines; the first start of each gives all of them:
  paceline start --id a --dir /var/lib/paceline --listen 10.0.0.1:7001 --secret-file secret \\
                 --cluster a=10.0.0.1:7001,b=10.0.0.2:7001,c=10.0.0.3:7001
Later starts need --id, --dir, --listen and the secret only; the members are in the data by then.

In a container, or behind a proxy: listen on all addresses, and tell the others the one they reach:
  paceline start --id b --dir /data --listen 0.0.0.0:7001 --advertise db-b.internal:7001 --join 10.0.0.1:7001

A node that comes back at another address, with its data, tells the others by itself, as long as one of them is where it
was: start it with the new --listen (or --advertise). Only if all of them moved at once, give each of them --moved.

Two data nodes and a witness, which votes and keeps the recent log but has no database:
  paceline start --id a --dir /var/lib/paceline --listen 10.0.0.1:7001 \\
                 --cluster a=10.0.0.1:7001,b=10.0.0.2:7001,c=10.0.0.3:7001/witness

A fourth node joins, and is a member by itself when it is up:
  paceline start --id d --dir /var/lib/paceline --listen 10.0.0.4:7001 --join 10.0.0.1:7001

A new cluster that does not wait for its followers (paceline configure --help explains the rules, and changes them
later); give every node the same:
  paceline start … --cluster … --commit-rule leader

A node below others, in a tree of any depth: it serves reads, passes writes up, and does not count for the members. It
follows the first of the nodes that answers; when that one dies, another, or whoever that one follows:
  paceline start --id e --dir /var/lib/paceline --listen 10.1.0.1:7001 --follow 10.0.0.2:7001,10.0.0.3:7001

A follower that stays an hour behind: what somebody deletes by mistake is there for an hour (paceline roll-forward). It
has the log at once and applies it late; it never votes and never leads. Give --apply-delay at every start:
  paceline start --id f --dir /var/lib/paceline --listen 10.0.0.6:7001 --apply-delay 1h \\
                 --join 10.0.0.1:7001 --kind learner        (or: --follow 10.0.0.2:7001)

A node below others with the rows of two tables only; reads of others are refused there. It needs log kind rows or
triggers:
  paceline start … --follow 10.0.0.2:7001 --tables items,orders

The port accepts SQL and administration without authentication: keep it on a private network.

Nodes across a network that others listen to: with these, what nodes say to each other is encrypted, and a node without
a certificate of the CA is refused. All nodes of a cluster need them, or none. Files that are replaced count from the
next connection on.
  paceline start … --tls-cert a.pem --tls-key a.key --tls-ca cluster-ca.pem

Stops on Ctrl-C or SIGTERM; a second one ends it at once. SIGHUP is ignored, and so is a standard output that nobody
reads. Exit status: 0 after a stop, 1 when the node could not start or had to stop itself.`;

export function addStart(program: Command, terminal: Terminal): void {
  program
    .command("start")
    .summary("run one node of a cluster")
    .description(
      "Runs one node in the foreground. Programs reach it, and the other nodes too, at --listen.",
    )
    .requiredOption("--id <id>", "name of this node: 1 to 32 characters of a-z 0-9 _ -")
    .requiredOption("--dir <dir>", "where the node keeps its log and database; made if missing")
    .requiredOption("--listen <host:port>", "where to listen")
    .option(
      "--advertise <host:port>",
      "where the other nodes and clients reach this node, if not at --listen",
    )
    .option(
      "--cluster <members>",
      "all members of a new cluster: a=HOST:PORT,b=HOST:PORT,c=HOST:PORT/witness,…",
    )
    .option(
      "--kind <kind>",
      "what this node is, when it joins: voter, learner (no vote), witness (no database)",
    )
    .option("--moved <members>", "where members are now, if the whole cluster has new addresses")
    .option("--join <host:port>", "a member of the cluster that this new node joins")
    .option(
      "--follow <nodes>",
      "nodes to follow without being a member, first choice first: HOST:PORT,…",
    )
    .option("--tables <names>", "of a node that follows: keep the rows of these tables only: a,b,…")
    .option("--commit-rule <rule>", "of a new cluster: quorum, all, one or leader")
    .option("--settings <key=value,…>", "more settings of a new cluster; see paceline configure")
    .option(
      "--secret-file <file>",
      "file that holds the secret of the cluster (or PACELINE_SECRET)",
    )
    .option(
      "--tls-cert <file>",
      "certificate of this node, PEM: nodes talk to each other under TLS",
    )
    .option("--tls-key <file>", "private key of that certificate, PEM without a passphrase")
    .option("--tls-ca <file>", "CA that signs the certificates of all nodes of this cluster, PEM")
    .option(
      "--apply-delay <time>",
      "stay so far behind the leader: 30s, 15m, 1h, 2d; for a learner, or with --follow",
    )
    .option(
      "--keep-log <size>",
      "log kept for nodes that are behind; further back they copy pages",
      formatSize(limits.logRetentionBytes),
    )
    .option(
      "--statement-timeout <time>",
      "a statement that runs longer is stopped: 500ms, 5s, 1m",
      formatDuration(limits.statementMs),
    )
    .option(
      "--sync-rate <size>",
      "bytes per second that copying pages to another node may take",
      formatSize(limits.syncBytesPerSecond),
    )
    .option(
      "--readers <n>",
      "processes that run reads",
      String(Math.min(4, Math.max(2, availableParallelism()))),
    )
    .addHelpText("after", examples)
    .action(async (flags: Flags) => {
      await runNode(nodeOptions(flags, terminal), terminal);
    });
}

async function runNode(options: NodeOptions, terminal: Terminal): Promise<void> {
  // Loaded only here: the other verbs do without a node and start faster for it.
  const { startNode } = await import("../api/serve.ts");
  const starting = startNode(options).catch((error: unknown) => {
    throw cannotStart(error, options);
  });
  // Whatever it is at, a start that is cut off is what a crash would have left.
  const node = await Promise.race([starting, interruption(terminal.signal)]);
  if (node === undefined) throw new Failure(`${options.id} was stopped before it had started`);
  say(terminal, `${options.id} serves at ${node.url}${listensToo(options, node.url)}`);
  const reason = await Promise.race([node.failed, interruption(terminal.signal)]);
  say(terminal, `${options.id} stops`);
  const late = setTimeout(() => {
    say(terminal, `${options.id} did not stop within ${stopMs / 1000} s; leaving, nothing is lost`);
    process.exit(1);
  }, stopMs);
  await node.stop();
  clearTimeout(late);
  if (reason instanceof Error) throw hadToStop(options.id, reason);
  say(terminal, `${options.id} stopped`);
}

/** Where it listens, if that is not what its URL says. */
function listensToo({ listen }: NodeOptions, url: string): string {
  const place = formatAddress(listen);
  if (url.endsWith(`//${place}`)) return "";
  const isLocal = isUnspecified(listen.host) && isLoopback(readAddress(url.slice(7))?.host ?? "");
  const more = "; before other nodes join, start it with --advertise and the address they reach";
  return ` and listens on ${place}${isLocal ? more : ""}`;
}

/** What ended a node that was running: the disk, what an operator must settle, or a mistake of ours. */
export function hadToStop(id: string, reason: Error): Error {
  const text = `node ${id} had to stop: ${reason.message}`;
  const { errno, code } = reason as { errno?: unknown; code?: unknown };
  const isSystem = typeof errno === "number" || code === "ERR_SQLITE_ERROR";
  if (isSystem || reason instanceof StorageError || reason instanceof CorruptionError) {
    return new Failure(text, "Look at its disk, then start it again.", 1, { cause: reason });
  }
  if (reason instanceof ClientError) return new Failure(text, undefined, 1, { cause: reason });
  const bug = new Error(text, { cause: reason });
  if (reason.stack !== undefined) bug.stack = reason.stack;
  return bug;
}

function cannotStart(error: unknown, options: NodeOptions): Error {
  const text = `node ${options.id} cannot start: ${messageOf(error)}`;
  return new Failure(text, startHint(error, options), 1, { cause: error });
}

async function interruption(signal: AbortSignal): Promise<undefined> {
  if (signal.aborted) return undefined;
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  return undefined;
}

function startHint(error: unknown, { dir }: NodeOptions): string | undefined {
  const cause = (error as { cause?: { code?: string } }).cause;
  const code = (error as { code?: string }).code ?? cause?.code ?? "";
  const isDenied = ["EACCES", "EPERM", "EROFS"].includes(code);
  if (isDenied || /unable to open database file|readonly database/.test(messageOf(error))) {
    return `Can this user read and write ${dir} and all that is in it?`;
  }
  return undefined;
}

/** Checks what can be checked before anything is touched. */
export function nodeOptions(flags: Flags, terminal: Terminal): NodeOptions {
  if (!nodeIdPattern.test(flags.id) || flags.id === upstreamId) {
    throw misuse(`"${flags.id}" cannot be the id of a node`, "1 to 32 characters of a-z 0-9 _ -");
  }
  if (flags.follow !== undefined && (flags.cluster ?? flags.join) !== undefined) {
    throw misuse(
      "--follow excludes --cluster and --join",
      "A node that follows is no member: it never votes, and nobody waits for it.",
    );
  }
  if (flags.cluster !== undefined && flags.join !== undefined) {
    throw misuse(
      "--cluster and --join exclude each other",
      "--cluster begins a new cluster, --join enters one that exists",
    );
  }
  const kind = flags.kind === undefined ? undefined : parseKind(flags.kind, "--kind");
  const cluster =
    flags.cluster === undefined ? undefined : parseMembers(flags.cluster, "--cluster", flags.id);
  return {
    id: flags.id,
    dir: flags.dir,
    listen: parseAddress(flags.listen, "--listen"),
    advertise: advertised(flags, cluster),
    cluster,
    kind: kindOf(flags.id, kind, cluster),
    moved: flags.moved === undefined ? undefined : parseMembers(flags.moved, "--moved", flags.id),
    join: flags.join === undefined ? undefined : parseNode(flags.join, "--join"),
    follow: flags.follow?.split(",").map((part) => parseNode(part, "--follow")),
    tables: chosenTables(flags),
    settings: agreeing(initialSettings(flags), cluster),
    secret: readSecret(flags.secretFile),
    tls: tlsFiles(flags),
    applyDelayMs: applyDelay(flags, kind, cluster),
    logRetentionBytes: parseSize(flags.keepLog, "--keep-log"),
    statementMs: parseDuration(flags.statementTimeout, "--statement-timeout", statementBounds),
    syncBytesPerSecond: parseSize(flags.syncRate, "--sync-rate"),
    readers: Math.round(parseNumber(flags.readers, "--readers", { min: 1, max: readersMax })),
    onEvent: (line) => say(terminal, line),
  };
}

/** What contradicts a delay by the flags alone; what the cluster says is looked at when the node opens. */
function applyDelay(
  { applyDelay: text, id, join }: Flags,
  kind: MemberKind | undefined,
  cluster: readonly MemberSpec[] | undefined,
): number | undefined {
  if (text === undefined) return undefined;
  const delayMs = parseDuration(text, "--apply-delay", { max: limits.applyDelayMsMax });
  const is = kindOf(id, kind, cluster) ?? (join === undefined ? undefined : "voter");
  if (is === undefined || is === "learner") return delayMs;
  throw misuse(
    `--apply-delay is not for a ${is}: ${id} might have to lead, or has nothing to apply`,
    "Only a learner (--join HOST:PORT --kind learner) or a node outside the membership (--follow) can be delayed.",
  );
}

/** Undefined: all. */
function chosenTables({ tables, follow }: Flags): readonly string[] | undefined {
  if (tables === undefined) return undefined;
  if (follow === undefined) {
    throw misuse(
      "--tables needs --follow",
      "A member may have to lead, and then it needs all tables; a node that follows never leads.",
    );
  }
  const names = tables.split(",").map((name) => name.trim());
  if (names.every((name) => name !== "")) return [...new Set(names)];
  throw misuse(`--tables: "${tables}" has an empty name`, "For example --tables items,orders");
}

/** Undefined when the flags say nothing. Every node of a new cluster is given the same. */
function initialSettings({ commitRule, settings, join }: Flags): Settings | undefined {
  const pairs = pairsOf(settings);
  if (commitRule !== undefined) pairs.push(`commitRule=${commitRule}`);
  if (pairs.length === 0) return undefined;
  if (join !== undefined) {
    throw misuse(
      "settings belong to the cluster, which has them already",
      "Leave --commit-rule and --settings out, or change them: paceline configure --help",
    );
  }
  return completeSettings(parseSettings(pairs));
}

/** Settings of a new cluster must make sense for its members. */
function agreeing(
  settings: Settings | undefined,
  cluster: readonly MemberSpec[] | undefined,
): Settings | undefined {
  const members = cluster?.map(({ id, address, kind }) => ({
    ...{ id: nodeId(id), address, kind: kind ?? "voter" },
  }));
  const witness = members?.find((m) => m.kind === "witness");
  if (settings === undefined || members === undefined || witness === undefined) return settings;
  if (settings.coordinator === "manual") {
    throw misuse(
      `coordinator=manual and the witness ${witness.id} exclude each other`,
      "A witness is there so that a leader can be elected; with one, leave the coordinator as it is.",
    );
  }
  const exclusion = besideWitness(settings, members);
  if (exclusion === undefined) return settings;
  const rule = `commitRule=${settings.commitRule}`;
  throw misuse(`${rule} and the witness ${witness.id} exclude each other`, exclusion);
}

/** What this node is by its own word and by that of the list, which must not contradict each other. */
function kindOf(
  own: string,
  kind: MemberKind | undefined,
  cluster: readonly MemberSpec[] | undefined,
): MemberKind | undefined {
  if (cluster === undefined) return kind;
  const listed = cluster.find((m) => m.id === own)?.kind ?? "voter";
  if (kind === undefined || kind === listed) return listed;
  throw misuse(
    `--kind says ${kind}, --cluster says ${listed}`,
    `In the list, which is the same for all nodes, write ${own}=HOST:PORT/${kind}`,
  );
}

/** A URL is what people copy; the node wants host and port. */
function parseNode(text: string, flag: string): string {
  const place = text
    .trim()
    .replace(/^https?:\/\//, "")
    .replace(/\/$/, "");
  return formatAddress(parseAddress(place, flag));
}

/** What the others are told, which must be what the list of members says. */
function advertised(
  { id, advertise }: Flags,
  cluster: readonly MemberSpec[] | undefined,
): string | undefined {
  if (advertise === undefined) return undefined;
  const address = parseMemberAddress(advertise, "--advertise");
  const listed = cluster?.find((member) => member.id === id)?.address ?? address;
  if (listed === address) return address;
  throw misuse(
    `--advertise says ${address}, --cluster says ${id}=${listed}`,
    "Give both the address that the other nodes reach, or leave --advertise out.",
  );
}

function parseNumber(text: string, flag: string, bounds: { min: number; max: number }): number {
  const n = Number(text);
  const { min, max } = bounds;
  if (text.trim() === "" || !Number.isFinite(n) || n < min || n > max) {
    throw misuse(`${flag}: "${text}" is not a number from ${min} to ${max}`);
  }
  return n;
}

/** All three, or none. */
function tlsFiles({ tlsCert: cert, tlsKey: key, tlsCa: ca }: Flags): TlsFiles | undefined {
  if (cert !== undefined && key !== undefined && ca !== undefined) return { cert, key, ca };
  if ((cert ?? key ?? ca) === undefined) return undefined;
  throw misuse(
    "--tls-cert, --tls-key and --tls-ca belong together",
    "A node shows its own certificate and checks those of the others.",
  );
}

const howToMakeOne = "Make the file once, and copy it to the others: openssl rand -hex 32 > secret";

function readSecret(file: string | undefined): string | undefined {
  if (file === undefined) return process.env["PACELINE_SECRET"];
  try {
    const secret = readFileSync(file, "utf8").trim();
    if (secret !== "") return secret;
  } catch (error) {
    throw new Failure(`cannot read the secret: ${messageOf(error)}`, howToMakeOne);
  }
  throw new Failure(`${file} is empty`, howToMakeOne);
}

function say(terminal: Terminal, line: string): void {
  terminal.out.write(`${new Date().toISOString()} ${line}\n`);
}
