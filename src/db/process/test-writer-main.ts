/** For tests: main module of a writer process whose bodies are the numbers of the changed pages. */

import { Capture } from "../scratch/capture.ts";
import { runWriterChild } from "./writer-child.ts";

runWriterChild({
  openCapture: (path, pageSize) => Capture.open(path, pageSize),
  encodeOwn: (set) => Uint8Array.from(set.pgnos),
  encode: (set) => ({ body: Uint8Array.from(set.pgnos) }),
});
