/** Comparing copies by their rows, where their pages may differ: under the logical log kinds [D5]. */

import type { NodeVerdict } from "./node-status.ts";

/** Names the tables in which a copy differs from the first one that was read. */
export function compareContents(nodes: readonly NodeVerdict[]): NodeVerdict[] {
  const whole = nodes.filter((node) => node.content !== undefined && node.problem === undefined);
  const first = whole.find((node) => node.delayed !== true) ?? whole[0];
  return nodes.map((node) => {
    const { content, problem } = node;
    if (problem !== undefined || content === undefined || first?.content === undefined) return node;
    if (content.lsn !== first.content.lsn) {
      if (node.delayed === true) return node;
      const why = `its rows were read at ${content.lsn}, those of ${first.id} at ${first.content.lsn}`;
      return { ...node, problem: `${why}: verify again while fewer writes go on` };
    }
    const names = new Set([...Object.keys(content.tables), ...Object.keys(first.content.tables)]);
    const differ = [...names].filter(
      (name) => content.tables[name] !== first.content!.tables[name],
    );
    if (differ.length === 0) return node;
    const named = differ.map((name) => (name === "" ? "the schema" : `table ${name}`)).join(", ");
    return { ...node, problem: `${named} differ from those of ${first.id} at ${content.lsn}` };
  });
}
