/**
 * Where a node is: `HOST:PORT`, IPv6 hosts in brackets. The one place that reads and writes such an address.
 *
 * Not here: looking names up, and what to tell the user about an address that is none.
 */

/** `host` is without brackets, as sockets want it. */
export type Address = { readonly host: string; readonly port: number };

const pattern = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9._-]{1,253})):(\d{1,5})$/;

/** Undefined when `text` is no address. Port 0 is one: whatever is free. */
export function readAddress(text: string): Address | undefined {
  const match = pattern.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || port > 65_535 ? undefined : { host, port };
}

/** What readAddress reads, and what stands in a URL. */
export function formatAddress({ host, port }: Address): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** A host to listen on that stands for every address of the machine. Nobody can connect to it from elsewhere. */
export function isUnspecified(host: string): boolean {
  return /^(0+(\.0+){3}|[0:]*::?[0:]*|::(ffff:)?0+(\.0+){3})$/i.test(host);
}

/** A host that only this machine can reach. */
export function isLoopback(host: string): boolean {
  return /^(127(\.\d+){3}|localhost|::1|(0+:){7}0*1|::ffff:127(\.\d+){3})$/i.test(host);
}
