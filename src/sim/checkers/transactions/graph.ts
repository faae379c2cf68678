/**
 * A directed graph with kinds of edges, for up to millions of them: nodes are integers, edges are packed by source.
 * Every search takes a mask of the kinds it may use.
 *
 * Not here: what nodes and kinds mean, except their names.
 */

import { assert } from "../../../base/assert.ts";

/**
 * Why one transaction comes before another.
 *   ww        it wrote the version that the other replaced
 *   wr        it wrote the version that the other read
 *   rw        it read the version that the other replaced
 *   process   the same client did it before
 *   realtime  it had ended when the other started
 */
export const edgeKinds = { ww: 1, wr: 2, rw: 4, process: 8, realtime: 16 } as const;

/** One step of a path. */
export type Edge = { readonly from: number; readonly to: number; readonly kind: number };

/** Collects edges, then is built. Edges from a node to itself are left out: a transaction may see its own writes. */
export class GraphBuilder {
  #nodes: number;
  #from = new Int32Array(1024);
  #to = new Int32Array(1024);
  #kind = new Uint8Array(1024);
  #count = 0;

  constructor(nodes: number) {
    this.#nodes = nodes;
  }

  /** One node more; gives its number. */
  addNode(): number {
    return this.#nodes++;
  }

  add(from: number, to: number, kind: number): void {
    assert(from >= 0 && from < this.#nodes && to >= 0 && to < this.#nodes, "no such node");
    if (from === to) return;
    if (this.#count === this.#from.length) this.#grow();
    this.#from[this.#count] = from;
    this.#to[this.#count] = to;
    this.#kind[this.#count++] = kind;
  }

  build(): Graph {
    const first = new Int32Array(this.#nodes + 1);
    for (let i = 0; i < this.#count; i++) first[this.#from[i]! + 1]!++;
    for (let node = 0; node < this.#nodes; node++) first[node + 1]! += first[node]!;
    const place = first.slice();
    const to = new Int32Array(this.#count);
    const kind = new Uint8Array(this.#count);
    for (let i = 0; i < this.#count; i++) {
      const at = place[this.#from[i]!]!++;
      to[at] = this.#to[i]!;
      kind[at] = this.#kind[i]!;
    }
    return new Graph(first, to, kind);
  }

  #grow(): void {
    const size = this.#count * 2;
    const larger = <A extends Int32Array | Uint8Array>(target: A, source: A): A => {
      target.set(source);
      return target;
    };
    this.#from = larger(new Int32Array(size), this.#from);
    this.#to = larger(new Int32Array(size), this.#to);
    this.#kind = larger(new Uint8Array(size), this.#kind);
  }
}

export class Graph {
  /** Edges of node n are those from #first[n] to before #first[n + 1]. */
  readonly #first: Int32Array;
  readonly #to: Int32Array;
  readonly #kind: Uint8Array;

  constructor(first: Int32Array, to: Int32Array, kind: Uint8Array) {
    this.#first = first;
    this.#to = to;
    this.#kind = kind;
  }

  get nodes(): number {
    return this.#first.length - 1;
  }

  /** All edges of the kinds in the mask. */
  *edges(mask: number): Generator<Edge> {
    for (let from = 0; from < this.nodes; from++) {
      for (let at = this.#first[from]!; at < this.#first[from + 1]!; at++) {
        const kind = this.#kind[at]!;
        if ((kind & mask) !== 0) yield { from, to: this.#to[at]!, kind };
      }
    }
  }

  /**
   * Strongly connected components of more than one node, over the kinds in the mask: Tarjan's algorithm with a stack
   * of its own, because a chain of a million transactions is no rarity.
   */
  components(mask: number): number[][] {
    const n = this.nodes;
    const order = new Int32Array(n);
    const low = new Int32Array(n);
    const onStack = new Uint8Array(n);
    const place = this.#first.slice(0, n);
    const stack: number[] = [];
    const path: number[] = [];
    const found: number[][] = [];
    let count = 0;
    const enter = (node: number): void => {
      order[node] = low[node] = ++count;
      onStack[node] = 1;
      stack.push(node);
      path.push(node);
    };
    for (let root = 0; root < n; root++) {
      if (order[root] !== 0) continue;
      enter(root);
      while (path.length > 0) {
        const node = path[path.length - 1]!;
        const at = place[node]!;
        if (at < this.#first[node + 1]!) {
          place[node] = at + 1;
          if ((this.#kind[at]! & mask) === 0) continue;
          const to = this.#to[at]!;
          if (order[to] === 0) enter(to);
          else if (onStack[to] === 1) low[node] = Math.min(low[node]!, order[to]!);
          continue;
        }
        path.pop();
        const parent = path[path.length - 1];
        if (parent !== undefined) low[parent] = Math.min(low[parent]!, low[node]!);
        if (low[node] !== order[node]) continue;
        const component = stack.splice(stack.lastIndexOf(node));
        for (const member of component) onStack[member] = 0;
        if (component.length > 1) found.push(component);
      }
    }
    return found;
  }

  /** The graph of these nodes alone, numbered by their place in the list. */
  induced(nodes: readonly number[]): Graph {
    const rank = new Map(nodes.map((node, i) => [node, i]));
    const builder = new GraphBuilder(nodes.length);
    for (const [i, node] of nodes.entries()) {
      for (let at = this.#first[node]!; at < this.#first[node + 1]!; at++) {
        const to = rank.get(this.#to[at]!);
        if (to !== undefined) builder.add(i, to, this.#kind[at]!);
      }
    }
    return builder.build();
  }

  /** A shortest path over the kinds in the mask; undefined when there is none. `from` and `to` differ. */
  path(from: number, to: number, mask: number): Edge[] | undefined {
    const cameBy = new Map<number, Edge>();
    const queue = [from];
    for (const node of queue) {
      for (let at = this.#first[node]!; at < this.#first[node + 1]!; at++) {
        const next = this.#to[at]!;
        const kind = this.#kind[at]!;
        if ((kind & mask) === 0 || next === from || cameBy.has(next)) continue;
        cameBy.set(next, { from: node, to: next, kind });
        if (next === to) return trace(cameBy, from, to);
        queue.push(next);
      }
    }
    return undefined;
  }
}

function trace(cameBy: ReadonlyMap<number, Edge>, from: number, to: number): Edge[] {
  const edges: Edge[] = [];
  for (let node = to; node !== from; ) {
    const edge = cameBy.get(node)!;
    edges.push(edge);
    node = edge.from;
  }
  return edges.reverse();
}
