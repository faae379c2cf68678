/** Comparing copies by their rows, where their pages may differ: under the logical log kinds [D5]. */

import type { NodeId } from "../../vocabulary.ts";
import type { NodeVerdict } from "./node-status.ts";

export type Compared = {
  readonly id: NodeId;
  readonly verdict: NodeVerdict;
  /** Its rows are not those of the leader, at the same position. */
  readonly differs: boolean;
};

/**
 * Names the tables in which a copy differs from the leader's, or from that of the first node whose rows were read when
 * the leader's were not.
 */
export function compareContents(
  nodes: readonly NodeVerdict[],
  leader: NodeId | undefined,
): Compared[] {
  const read = nodes.filter((node) => node.content?.tables !== undefined);
  const reference = read.find(({ id }) => id === leader) ?? read[0];
  const isLeader = reference?.id === leader;
  return nodes.map((node) => {
    const compared = compare(node, reference);
    return { ...compared, differs: compared.differs && isLeader };
  });
}

function compare(node: NodeVerdict, reference: NodeVerdict | undefined): Compared {
  const { id, content, problem, delayed } = node;
  const as = (verdict: NodeVerdict, differs = false): Compared => ({ id, verdict, differs });
  if (problem !== undefined || node.lsn === undefined) return as(node);
  const there = reference?.content;
  const tables = there?.tables;
  if (tables === undefined || content?.tables === undefined || content.lsn !== there?.lsn) {
    if (delayed === true) return as(node);
    const why = "its rows could not be read at the position of the others";
    return as({ ...node, problem: `${why}: verify again while fewer writes go on` });
  }
  const comparedAt = content.lsn;
  const here = content.tables;
  const names = new Set([...Object.keys(here), ...Object.keys(tables)]);
  const differ = [...names].filter((name) => here[name] !== tables[name]);
  if (differ.length === 0) return as({ ...node, comparedAt });
  const named = differ.map((name) => (name === "" ? "the schema" : `table ${name}`)).join(", ");
  const why = `differs from ${reference!.id} at ${comparedAt} in ${named}`;
  return as({ ...node, comparedAt, problem: why }, true);
}
