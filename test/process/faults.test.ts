/** A few faults of each kind on real processes. `npm run proof` runs many more and prints the figures. */

import { test } from "node:test";
import { runFaults } from "./faults.ts";

test("SIGKILL of the leader under load loses no acknowledged write", {
  timeout: 90_000,
}, async () => {
  await runFaults("killLeader", { clients: 16, times: 2 });
});

test("SIGKILL of a follower under load loses no acknowledged write", {
  timeout: 60_000,
}, async () => {
  await runFaults("killFollower", { clients: 16, times: 1 });
});

test("SIGKILL of all nodes at once loses no acknowledged write", { timeout: 60_000 }, async () => {
  await runFaults("killAll", { clients: 16, times: 1 });
});

test("a leader that was stopped for 5 s wakes without a stale answer", {
  timeout: 60_000,
}, async () => {
  await runFaults("pauseLeader", { clients: 16, times: 1 });
});
