/**
 * For tests: certificates of a CA that is made for the test, by the program `openssl`, as an operator would.
 */

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TlsFiles } from "./tls.ts";

export class TestAuthority {
  readonly #dir: string;
  readonly #name: string;
  readonly ca: string;
  #count = 0;

  /** `dir` must exist, and is not cleaned. */
  constructor(dir: string, name: string) {
    this.#dir = dir;
    this.#name = name;
    this.ca = join(dir, `${name}.pem`);
    this.#openssl(
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-keyout", this.#keyPath, "-out", this.ca, "-days", "2", "-subj", `/CN=${name}`],
    );
  }

  /** Files of a new node. `days` may be negative: then the certificate is over. */
  issue(options: { days?: number; usage?: string; trusts?: string } = {}): TlsFiles {
    const path = join(this.#dir, `${this.#name}-${++this.#count}`);
    const [key, request, cert, ext] = [".key", ".csr", ".pem", ".ext"].map((end) => path + end) as [
      string,
      string,
      string,
      string,
    ];
    writeFileSync(ext, options.usage === undefined ? "" : `extendedKeyUsage=${options.usage}\n`);
    this.#openssl(
      ...["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-keyout", key, "-out", request, "-subj", `/CN=node-${this.#count}`],
    );
    this.#openssl(
      ...["x509", "-req", "-in", request, "-CA", this.ca, "-CAkey", this.#keyPath],
      ...["-set_serial", String(this.#count), "-days", String(options.days ?? 1)],
      ...["-extfile", ext, "-out", cert],
    );
    return { cert, key, ca: options.trusts ?? this.ca };
  }

  get #keyPath(): string {
    return join(this.#dir, `${this.#name}.key`);
  }

  #openssl(...args: readonly string[]): void {
    execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
  }
}
