/**
 * Main module of the writer process: joins the database's part (run SQL, read back pages) with the payload's
 * (encode them as the body of an entry).
 */

import { runWriterChild } from "../../db/process/writer-child.ts";
import { Capture } from "../../db/scratch/capture.ts";
import { encodePages } from "../../payload/pages.ts";

runWriterChild({
  openCapture: (path, pageSize) => Capture.open(path, pageSize),
  encode: (set, committedAtMs) => encodePages(set, committedAtMs, true),
});
