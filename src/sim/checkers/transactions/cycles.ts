/**
 * Which anomaly a cycle is [Adya 1999; Elle]. For each strongly connected component, the weakest evidence that makes a
 * cycle names it:
 *
 *   G0        ww edges only: writes of two transactions interleave
 *   G1c       ww and wr: two transactions saw each other
 *   G-single  one rw: a transaction missed what it, or what it saw, depended on (read skew, stale read)
 *   G2        several rw (write skew)
 *
 * and the same with `-process` or `-realtime` behind it when the cycle needs the order of one client, or of the clock.
 * Once a component has cycles at one of these three levels, the levels after it add nothing and are not searched.
 */

import { type Edge, edgeKinds, type Graph } from "./graph.ts";

type Shape = "G0" | "G1c" | "G-single" | "G2";

export type CycleName = `${Shape}${"" | "-process" | "-realtime"}`;

/** A cycle in a graph: its edges in order, from a node back to it. */
export type Cycle = { readonly name: CycleName; readonly edges: readonly Edge[] };

const { ww, wr, rw, process, realtime } = edgeKinds;

const levels = [
  { suffix: "", extra: 0 },
  { suffix: "-process", extra: process },
  { suffix: "-realtime", extra: process | realtime },
] as const;

/** Paths searched for one G-single; a component with more rw edges is badly broken and has shown so long before. */
const triesMax = 2000;

/** One cycle of each name that each component has. */
export function findCycles(graph: Graph): Cycle[] {
  return graph.components(~0).flatMap((nodes) => {
    const part = graph.induced(nodes);
    for (const { suffix, extra } of levels) {
      const cycles = cyclesOf(part, extra);
      if (cycles.length === 0) continue;
      return cycles.map(({ shape, edges }) => ({
        name: `${shape}${suffix}` as const,
        edges: edges.map(({ from, to, kind }) => ({ from: nodes[from]!, to: nodes[to]!, kind })),
      }));
    }
    return [];
  });
}

function cyclesOf(graph: Graph, extra: number): { shape: Shape; edges: Edge[] }[] {
  const found: { shape: Shape; edges: Edge[] }[] = [];
  const add = (shape: Shape, edges: Edge[] | undefined): void => {
    if (edges !== undefined) found.push({ shape, edges });
  };
  add("G0", cycleThrough(graph, { first: ww, mask: ww | extra }));
  add("G1c", cycleThrough(graph, { first: wr, mask: ww | wr | extra }));
  add("G-single", singleCycle(graph, ww | wr | extra));
  if (found.length === 0) add("G2", cycleThrough(graph, { first: rw, mask: ww | wr | rw | extra }));
  return found;
}

/** A cycle over the mask that has an edge of kind `first`, if there is one. */
function cycleThrough(
  graph: Graph,
  { first, mask }: { readonly first: number; readonly mask: number },
): Edge[] | undefined {
  const componentOf = new Map<number, number>();
  for (const [i, nodes] of graph.components(mask).entries()) {
    for (const node of nodes) componentOf.set(node, i);
  }
  for (const edge of graph.edges(first)) {
    const component = componentOf.get(edge.from);
    if (component === undefined || component !== componentOf.get(edge.to)) continue;
    return [edge, ...graph.path(edge.to, edge.from, mask)!];
  }
  return undefined;
}

/** A cycle of one rw edge and a path over the mask. */
function singleCycle(graph: Graph, mask: number): Edge[] | undefined {
  let tries = 0;
  for (const edge of graph.edges(rw)) {
    if (++tries > triesMax) return undefined;
    const path = graph.path(edge.to, edge.from, mask);
    if (path !== undefined) return [edge, ...path];
  }
  return undefined;
}
