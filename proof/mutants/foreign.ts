/** Other processes at a served database, for the mutants that only they notice. */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";

const readerProgram = `
  const { DatabaseSync } = require("node:sqlite");
  const c = new DatabaseSync(process.argv[1], { readOnly: true });
  // Nearly no cache: what it reads again, it reads from the files.
  c.exec("PRAGMA cache_size = 1; BEGIN");
  const rows = c.prepare("SELECT id, balance, hex(pad) FROM account ORDER BY id");
  const tell = () => {
    try { console.log(require("node:crypto").hash("sha256", JSON.stringify(rows.all()))); }
    catch (error) { console.log(error.message); }
  };
  tell();
  process.stdin.on("data", tell);
  process.stdin.on("end", () => process.exit(0));
`;

/** A process that holds one read transaction. */
export class ForeignReader {
  #child: ChildProcess | undefined;

  /** What the transaction sees at its start. */
  async begin(path: string): Promise<string> {
    const stdio = ["pipe", "pipe", "ignore"] as const;
    this.#child = spawn(process.execPath, ["-e", readerProgram, path], { stdio: [...stdio] });
    return this.#answer();
  }

  /** What it sees now; the same, if all is well. */
  async again(): Promise<string> {
    this.#child!.stdin!.write("again\n");
    return this.#answer();
  }

  end(): void {
    this.#child?.kill("SIGKILL");
  }

  async #answer(): Promise<string> {
    const [chunk] = await once(this.#child!.stdout!, "data");
    return String(chunk).trim();
  }
}

/** Whether another process can write to the database of accounts. */
export function foreignWrite(path: string): boolean {
  const sql = "UPDATE account SET balance = balance + 1 WHERE id = 1";
  const program = `const { DatabaseSync } = require("node:sqlite");
    new DatabaseSync(process.argv[1], { timeout: 0 }).exec(${JSON.stringify(sql)})`;
  return spawnSync(process.execPath, ["-e", program, path]).status === 0;
}
