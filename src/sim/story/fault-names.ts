/** Names of the faults, in the order of their descriptions in faults.ts. */

export const faultNames = [
  "kill",
  "power-cut",
  "kill-all",
  "power-cut-all",
  "crash-at-effect",
  "stop",
  "pause",
  "isolate",
  "split",
  "deaf",
  "mute",
  "one-way",
  "swizzle",
  "weather",
  "slow-disk",
  "hung-disk",
  "sync-error",
  "disk-full",
  "rot-at-rest",
  "rot-alive",
  "lose-disk",
  "switchover",
  "add-member",
  "remove-member",
  "kill-writer",
] as const;

export type FaultName = (typeof faultNames)[number];
