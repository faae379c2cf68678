/** The thread that checks windows of the history, one after the other. */

import { parentPort } from "node:worker_threads";
import { checkWindow } from "./verdicts.ts";
import type { Window } from "./windows.ts";

parentPort!.on("message", (window: Window) => parentPort!.postMessage(checkWindow(window)));
