/**
 * The links between nodes, as the run sees them: breaks and mends them by orders to the proxy process.
 *
 * Every method resolves when it has taken effect. `heal` undoes everything.
 */

import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { openRule, type Rule } from "./flow.ts";
import type { Order } from "./proxy-main.ts";

const proxyMain = fileURLToPath(new URL("proxy-main.ts", import.meta.url));

export class Links {
  readonly #ids: readonly string[];
  readonly #child: ChildProcess;
  readonly #settleByNumber = new Map<number, () => void>();
  #n = 0;

  constructor(ids: readonly string[]) {
    this.#ids = ids;
    this.#child = fork(proxyMain, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.#child.on("message", ({ n }: { n: number }) => {
      this.#settleByNumber.get(n)?.();
      this.#settleByNumber.delete(n);
    });
  }

  /** Opens the port that stands for a node; connections go on to the node's own. */
  async listen(id: string, port: number, to: number): Promise<void> {
    await this.#order({ type: "listen", id, port, to });
  }

  /** Tells whose connections are a node's. */
  async owner(id: string, pid: number | undefined): Promise<void> {
    await this.#order({ type: "pid", id, pid });
  }

  /** One direction. */
  async rule(from: string, to: string, rule: Partial<Rule>): Promise<void> {
    await this.#order({ type: "rule", from, to, rule: { ...openRule, ...rule } });
  }

  /** Both directions between a node and all others. */
  async ruleAround(id: string, rule: Partial<Rule>): Promise<void> {
    for (const other of this.#others(id)) {
      await this.rule(id, other, rule);
      await this.rule(other, id, rule);
    }
  }

  /** Resets what is open between a node and all others and refuses what is new. */
  async cutAround(id: string): Promise<void> {
    for (const other of this.#others(id)) {
      await this.#order({ type: "refuse", pair: [id, other], refuse: true });
      await this.#order({ type: "reset", pair: [id, other] });
    }
  }

  /** As `cutAround`, between two. */
  async cut(a: string, b: string): Promise<void> {
    await this.#order({ type: "refuse", pair: [a, b], refuse: true });
    await this.#order({ type: "reset", pair: [a, b] });
  }

  async resetAll(): Promise<void> {
    for (const [a, b] of this.#pairs()) await this.#order({ type: "reset", pair: [a, b] });
  }

  async heal(): Promise<void> {
    for (const [a, b] of this.#pairs()) {
      await this.rule(a, b, openRule);
      await this.rule(b, a, openRule);
      await this.#order({ type: "refuse", pair: [a, b], refuse: false });
    }
  }

  close(): void {
    this.#child.kill("SIGKILL");
  }

  #others(id: string): string[] {
    return this.#ids.filter((other) => other !== id);
  }

  #pairs(): [string, string][] {
    return this.#ids.flatMap((a, i) => this.#ids.slice(i + 1).map((b): [string, string] => [a, b]));
  }

  #order(order: Order): Promise<void> {
    const n = this.#n++;
    return new Promise((resolve, reject) => {
      if (!this.#child.connected) return reject(new Error("the proxy process is gone"));
      this.#settleByNumber.set(n, resolve);
      this.#child.send({ n, order });
    });
  }
}
