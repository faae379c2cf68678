/**
 * What a statement or a dot command does and prints.
 *
 * A transaction that BEGIN opens stays open until COMMIT or ROLLBACK, over as many statements as it takes; the
 * cluster ends it when it stays idle too long. Results go to `out`; what is said about them goes to `err` when `out`
 * is not a terminal, so that a pipe gets results only.
 */

import type { Value } from "../../db/sql/request.ts";
import { Hrana, type HranaOptions, type WireResult } from "../remote/hrana.ts";
import type { Remote } from "../remote/remote.ts";
import { formatStatus } from "../status.ts";
import { formatTable } from "../table.ts";
import { Failure, plural, type Terminal } from "../terminal.ts";

const help = `.tables           tables and views
.schema [NAME]    how they were created
.status           the nodes of the cluster
.quit             leave (or Ctrl-D)
Everything else is SQL and ends with a semicolon. BEGIN … COMMIT works over several statements.`;

export class ShellSession {
  readonly #remote: Remote;
  readonly #hrana: Hrana;
  readonly #terminal: Terminal;
  /** Id of the node we talk to; its address until we know. */
  #node: string;
  #isNamed = false;
  /** `.quit` was said. */
  ended = false;

  constructor(
    remote: Remote,
    terminal: Terminal,
    wishes: Pick<HranaOptions, "consistency" | "ack">,
  ) {
    this.#remote = remote;
    this.#hrana = new Hrana(remote, wishes);
    this.#terminal = terminal;
    this.#node = new URL(remote.url).host;
  }

  get inTransaction(): boolean {
    return this.#hrana.inTransaction;
  }

  async greeting(): Promise<string> {
    const { leader, nodes } = await this.#remote.status();
    const own = nodes.find((node) => new URL(node.url).host === this.#node);
    if (own !== undefined) this.#node = own.id;
    this.#isNamed = own !== undefined;
    return `Connected to ${this.#node}; the leader is ${leader ?? "not elected yet"}. .help helps.`;
  }

  /** Asks for the id once; a router has none. */
  async #learnName(): Promise<void> {
    if (this.#isNamed) return;
    this.#isNamed = true;
    const { body } = await this.#remote.call("GET", "/node", undefined, 1_000).catch(() => noBody);
    const id = (body as { id?: unknown } | undefined)?.id;
    if (typeof id === "string") this.#node = id;
  }

  prompt(): string {
    return `${this.#node}${this.inTransaction ? "*" : ""}> `;
  }

  /** Runs one statement or dot command and prints what it gives. Throws Failure. */
  async run(statement: string): Promise<void> {
    if (statement.startsWith(".")) await this.#dot(statement);
    else await this.#sql(statement);
  }

  /** Rolls back what is open. */
  async end(): Promise<void> {
    if (this.inTransaction) this.#say("the open transaction is rolled back");
    await this.#hrana.rollback();
  }

  async #sql(sql: string): Promise<void> {
    const startMs = performance.now();
    const opens = /^(?:BEGIN|SAVEPOINT)\b/i.test(sql);
    const result = await this.#hrana.execute({ sql }, opens);
    const ms = performance.now() - startMs;
    if (result.cols.length > 0) this.#print(result);
    const what =
      result.cols.length > 0
        ? plural(result.rows.length, "row")
        : result.affected_row_count > 0
          ? `${plural(result.affected_row_count, "row")} changed`
          : "ok";
    const at = this.#hrana.position === undefined ? "" : ` at ${this.#hrana.position}`;
    await this.#learnName();
    this.#say(`${what} (${this.#node}${at}, ${ms.toFixed(1)} ms)`);
  }

  async #dot(line: string): Promise<void> {
    const [command, name] = line.split(/\s+/, 2);
    switch (command) {
      case ".tables":
        return this.#list(
          "SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view')",
          [],
        );
      case ".schema":
        return this.#schema(name?.replace(/;$/, ""));
      case ".status":
        return this.#write(formatStatus(await this.#remote.status()).join("\n"));
      case ".help":
        return this.#write(help);
      case ".quit":
      case ".exit":
        this.ended = true;
        return;
      default:
        throw new Failure(`there is no ${command}`, ".help lists the dot commands");
    }
  }

  async #list(query: string, args: readonly Value[]): Promise<void> {
    const sql = `${query} AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name`;
    const result = await this.#hrana.execute({ sql, args });
    if (result.rows.length === 0) this.#say("there are none");
    else this.#print(result);
  }

  async #schema(name: string | undefined): Promise<void> {
    const sql =
      "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'" +
      " AND (?1 IS NULL OR tbl_name = ?1 COLLATE NOCASE OR name = ?1 COLLATE NOCASE) ORDER BY rowid";
    const wanted: Value = name === undefined ? { type: "null" } : { type: "text", value: name };
    const { rows } = await this.#hrana.execute({ sql, args: [wanted] });
    if (rows.length === 0) this.#say(name === undefined ? "there are none" : `there is no ${name}`);
    for (const [value] of rows) this.#write(`${formatValue(value!)};`);
  }

  #print({ cols, rows }: WireResult): void {
    const isNumber = (i: number): boolean =>
      rows.some((row) => row[i]!.type === "integer" || row[i]!.type === "float") &&
      rows.every((row) => ["integer", "float", "null"].includes(row[i]!.type));
    const right = cols.map((_, i) => i).filter(isNumber);
    // Only a terminal has a right edge; a pipe gets everything.
    const cellMax = this.#terminal.out.isTTY ? 60 : Number.MAX_SAFE_INTEGER;
    const head = cols.map((col) => col.name ?? "");
    const cells = rows.map((row) => row.map(formatValue));
    this.#write(formatTable(head, cells, { right, cellMax }).join("\n"));
  }

  #write(text: string): void {
    this.#terminal.out.write(`${text}\n`);
  }

  #say(text: string): void {
    (this.#terminal.out.isTTY ? this.#terminal.out : this.#terminal.err).write(`${text}\n`);
  }
}

const noBody = { body: undefined };

function formatValue(value: Value): string {
  switch (value.type) {
    case "null":
      return "NULL";
    case "blob": {
      const bytes = Buffer.from(value.base64, "base64");
      const shown = bytes.subarray(0, 16).toString("hex");
      return bytes.length > 16 ? `x'${shown}…' (${plural(bytes.length, "byte")})` : `x'${shown}'`;
    }
    case "float":
      return Number.isInteger(value.value) ? value.value.toFixed(1) : String(value.value);
    default:
      return value.value;
  }
}
