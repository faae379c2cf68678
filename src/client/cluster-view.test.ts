import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { RealClock } from "../host/clock.ts";
import { ClusterView } from "./cluster-view.ts";

test("those who wait through an outage leave nothing behind", async (t) => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const view = new ClusterView({
    ...{ urls: ["http://127.0.0.1:9"], clock: new RealClock(), prefer: [], connections: 1 },
    onEvent: () => {},
  });
  t.after(() => view.close());
  const waits = async (times: number) => {
    for (let i = 0; i < times; i++) {
      await Promise.all(Array.from({ length: 1_000 }, () => view.change(0)));
    }
    collect();
    return process.memoryUsage().heapUsed;
  };
  const before = await waits(5);
  const after = await waits(40);
  assert.ok(after - before < 4_000_000, `${after - before} bytes more after 40,000 waits`);
});
