/** Main module of the writer process. */

import { runWriterChild } from "../../db/process/writer-child.ts";
import { writerPorts } from "./writer-ports.ts";

runWriterChild(writerPorts);
