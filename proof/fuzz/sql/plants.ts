/**
 * Bugs that are planted in the nodes, to see that the fuzzer notices them. This file is loaded first by every process
 * of a node (NODE_OPTIONS), and replaces methods there when PACELINE_SQL_PLANT names a bug.
 */

import { fileURLToPath } from "node:url";

export const plants: Readonly<Record<string, { readonly why: string; plant(): Promise<void> }>> =
  {};

const name = process.env["PACELINE_SQL_PLANT"];
if (name !== undefined) await plants[name]?.plant();

/** Breaks every node that is started from now on. */
export function plantIn(plant: string): void {
  const options = process.env["NODE_OPTIONS"] ?? "";
  process.env["NODE_OPTIONS"] = `${options} --import ${fileURLToPath(import.meta.url)}`.trim();
  process.env["PACELINE_SQL_PLANT"] = plant;
}
