/**
 * `paceline router`: runs a router in the foreground, until it is told to stop. It holds no data and needs no secret;
 * run as many as you like.
 *
 * Not here: how a router works (router/).
 */

import type { Command } from "commander";
import { formatAddress, readAddress } from "../../base/address.ts";
import { messageOf } from "../../base/errors.ts";
import { RealClock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import type { RouterOptions } from "../../router/router.ts";
import { version } from "../../version.ts";
import { formatDuration, parseDuration } from "../archive/flags.ts";
import { Failure, misuse, type Terminal } from "../terminal.ts";

type Flags = {
  readonly listen: string;
  readonly nodes: string;
  readonly prefer?: string;
  readonly wait: string;
  readonly maxLag: string;
};

const examples = `
Any libSQL client can be given the URL of the router in place of a node's. Writes go to the leader, reads to the
followers: the fresh ones, the near ones first, the less loaded first. A client reads what it wrote.

A client that names its session in the header paceline-session, or in a cookie of that name, waits for its own writes
only. Run several routers if you like: a client then takes the header paceline-position along from one to the other, and
stays with one router for as long as it has a transaction open.

While no node leads, writes wait for up to --wait. A write that was sent to a leader which then was lost is of unknown
outcome, and is never repeated.

Examples:
  paceline router --listen 127.0.0.1:7000 --nodes http://127.0.0.1:7001
  paceline router --listen 0.0.0.0:7000 --nodes http://10.0.0.1:7001,http://10.0.0.2:7001 --prefer 10.0.0.1

Stops on Ctrl-C or SIGTERM, when what is under way has ended. Exit status: 0 after a stop, 1 when it could not start.`;

export function addRouter(program: Command, terminal: Terminal): void {
  program
    .command("router")
    .summary("run a router: writes to the leader, reads to the followers")
    .description("Runs a router in the foreground: one address for a whole cluster.")
    .requiredOption("--listen <host:port>", "where clients reach the router")
    .requiredOption("--nodes <urls>", "some nodes, separated by commas; it finds the others")
    .option("--prefer <names>", "nodes nearby, read from first: ids, hosts or HOST:PORT")
    .option(
      "--wait <time>",
      "how long to wait for a leader: 500ms, 10s",
      formatDuration(limits.requestWaitMs),
    )
    .option(
      "--max-lag <time>",
      "followers further behind are not read from while there is anything better: 500ms, 1s",
      formatDuration(limits.readLagMs),
    )
    .addHelpText("after", examples)
    .action(async (flags: Flags) => {
      await runRouter(routerOptions(flags, terminal), terminal);
    });
}

async function runRouter(options: RouterOptions, terminal: Terminal): Promise<void> {
  // Loaded only here: the other verbs start faster for it.
  const { Router } = await import("../../router/router.ts");
  const router = await Router.start(options).catch((cause: unknown) => {
    throw new Failure(`the router cannot start: ${messageOf(cause)}`, undefined, 1, { cause });
  });
  say(
    terminal,
    `the router serves at http://${formatAddress({ ...options.listen, port: router.port })}`,
  );
  if (!terminal.signal.aborted) {
    await new Promise((resolve) =>
      terminal.signal.addEventListener("abort", resolve, { once: true }),
    );
  }
  say(terminal, "the router stops");
  await router.close();
  say(terminal, "the router stopped");
}

function routerOptions(flags: Flags, terminal: Terminal): RouterOptions {
  const listen = readAddress(flags.listen.trim());
  if (listen === undefined) {
    throw misuse(`--listen: "${flags.listen}" is not HOST:PORT`, "For example 127.0.0.1:7000");
  }
  const nodes = flags.nodes.split(",").map((text) => parseUrl(text.trim()));
  return {
    listen,
    nodes,
    prefer: (flags.prefer ?? "").split(",").filter((name) => name.trim() !== ""),
    // A number alone is in the units of older versions.
    waitMs: parseDuration(flags.wait, "--wait", { min: 0, max: 3_600_000, plain: "s" }),
    maxLagMs: parseDuration(flags.maxLag, "--max-lag", { min: 0, max: 1e9, plain: "ms" }),
    ...{ version, clock: new RealClock() },
    onEvent: (line) => say(terminal, line),
    onFault: (error) => say(terminal, `fault: ${(error as Error)?.stack ?? String(error)}`),
  };
}

function parseUrl(text: string): string {
  const full = /^[a-z]+:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.parse(full);
  if (url !== null && /^https?:$/.test(url.protocol) && url.host !== "") return url.origin;
  throw misuse(`--nodes: "${text}" is not the URL of a node`, "It looks like http://10.0.0.1:7001");
}

function say(terminal: Terminal, line: string): void {
  terminal.out.write(`${new Date().toISOString()} ${line}\n`);
}
