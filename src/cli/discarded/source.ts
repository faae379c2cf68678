/**
 * Where discarded writes are read from: the nodes of a cluster that runs, or the data directory of a node, running or
 * not.
 */

import { Readable } from "node:stream";
import { json } from "node:stream/consumers";
import { RealDisk } from "../../host/disk.ts";
import {
  type DiscardedContents,
  type DiscardedManifest,
  DiscardedStore,
} from "../../node/discarded/discarded-store.ts";
import { Remote } from "../remote/remote.ts";
import { Failure, misuse } from "../terminal.ts";

export interface DiscardedSource {
  /** Of all nodes that answer. */
  list(): Promise<readonly DiscardedManifest[]>;
  /** Throws Failure when there is none of that name. */
  read(name: string, node: string | undefined): Promise<DiscardedContents>;
}

/** `dir` goes before `url`. */
export function discardedSource(url: string, dir: string | undefined): DiscardedSource {
  return dir === undefined ? new ClusterSource(new Remote(url)) : new DirectorySource(dir);
}

class DirectorySource implements DiscardedSource {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  async list(): Promise<readonly DiscardedManifest[]> {
    return (await DiscardedStore.open(new RealDisk(), this.#dir)).list();
  }

  async read(name: string): Promise<DiscardedContents> {
    const store = await DiscardedStore.open(new RealDisk(), this.#dir);
    const contents = store.read(name) ?? notThere(name);
    return (await json(Readable.from(contents))) as DiscardedContents;
  }
}

class ClusterSource implements DiscardedSource {
  readonly #remote: Remote;

  constructor(remote: Remote) {
    this.#remote = remote;
  }

  async list(): Promise<readonly DiscardedManifest[]> {
    const { nodes } = await this.#remote.status();
    const lists = nodes.map(async ({ url, reachable }) => {
      if (!reachable) return [];
      const { body } = await new Remote(url).call("GET", "/admin/discarded");
      return (body as { discarded: DiscardedManifest[] }).discarded;
    });
    return (await Promise.all(lists)).flat();
  }

  async read(name: string, node: string | undefined): Promise<DiscardedContents> {
    const all = await this.list();
    const found = all.filter((each) => each.name === name && (node ?? each.node) === each.node);
    const [first, second] = found;
    if (first === undefined) return notThere(name);
    if (second !== undefined) {
      const ids = found.map((each) => each.node).join(", ");
      throw misuse(`${ids} have a ${name}`, `Say which with --node ${first.node}`);
    }
    const { nodes } = await this.#remote.status();
    const url = nodes.find((each) => each.id === first.node)!.url;
    const { body } = await new Remote(url).call("GET", `/admin/discarded/${name}`);
    return body as DiscardedContents;
  }
}

function notThere(name: string): never {
  throw new Failure(`nothing was discarded under ${name}`, "paceline discarded list");
}
