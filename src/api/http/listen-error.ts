/** Why a node cannot listen, in words that say what to do. */

import { type Address, formatAddress } from "../../base/address.ts";

export type ListenFailure = "in-use" | "not-allowed" | "no-such-address" | "other";

const failures: Readonly<Record<string, readonly [why: ListenFailure, say: string]>> = {
  EADDRINUSE: [
    "in-use",
    "is in use by another program, perhaps by this node started twice; stop that, or listen elsewhere with --listen",
  ],
  EACCES: ["not-allowed", "may not be used by this user; take a port above 1023"],
  EADDRNOTAVAIL: [
    "no-such-address",
    "is not an address of this machine; give --listen one that is",
  ],
  ENOTFOUND: ["no-such-address", "is not a known host; give --listen an address of this machine"],
};

export class ListenError extends Error {
  override readonly name = "ListenError";
  readonly why: ListenFailure;

  constructor(why: ListenFailure, message: string, options?: ErrorOptions) {
    super(message, options);
    this.why = why;
  }

  static from(cause: unknown, { host, port }: Address): ListenError {
    const { code, message } = cause as NodeJS.ErrnoException;
    const [why, say] = failures[code ?? ""] ?? ["other", `cannot be listened on: ${message}`];
    return new ListenError(why, `${formatAddress({ host, port })} ${say}`, { cause });
  }
}
